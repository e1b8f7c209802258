"""A private SQLite file that several threads and processes read and write; its errors say what to do."""

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from kpig.errors import RunError

PATIENCE_SECONDS = 60.0
"""How long a write waits for those of other processes. Each takes as long as the disk needs to sync."""


class Database:
    """The tables of a file that only its owner may read, made where they are missing; `path` None: in memory.

    Whoever may not write the file may still read it. Raises RunError, here and everywhere, where the file
    cannot be read or written, and where it is damaged.
    """

    def __init__(self, path: Path | None, tables: Sequence[str]):
        self.path = path
        self._lock = threading.RLock()
        with self._explained():
            if path is not None:
                _make_private(path)
            self._connection = sqlite3.connect(
                path or ":memory:", PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
            )
            weakref.finalize(self, self._connection.close)
            self._connection.execute("PRAGMA synchronous = FULL")
        self._make(tables)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time."""
        with self._lock, self._explained():
            yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one process at a time; what it did is on the disk at the end, or undone."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _make(self, tables: Sequence[str]) -> None:
        with self.reading() as connection:
            (found,) = connection.execute(
                "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'"
            ).fetchone()
        if found < len(tables):
            with self.writing() as connection:
                for table in tables:
                    connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        except sqlite3.OperationalError as error:
            raise self._unusable(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(str(error)) from error

    def damaged(self, why: str) -> RunError:
        """What to tell a user about a file that does not hold what was written there."""
        return RunError(
            f"{self.path}: is damaged ({why}); put a copy of it back, or move it away and pay for its "
            "answers again"
        )

    def _unusable(self, why: str) -> RunError:
        return RunError(f"{self.path}: cannot be used ({why}); give another cache folder or mend this one")


def _make_private(path: Path) -> None:
    """An empty file that nobody else can read, unless there is one; SQLite's side files get the same mode.

    One that is there is not opened: closing it would drop the locks that this process holds on it (POSIX).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
