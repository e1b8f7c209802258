"""Answers kept by content, so that an interrupted job goes on and no prompt is paid twice.

`answers.sqlite` holds for each answer its key, the model's name, the text and its cost. Neither prompts nor
keys of a service nor headers are written. Several processes may use one folder: before one asks, it claims
the keys in the file, and the others wait for its answers instead of paying too. The claim of a process that
has ended counts no longer: at once on the same machine, elsewhere after LEASE_SECONDS, for a living one
renews it.

`answers.jsonl`, in which earlier versions kept a line per answer, is read in when its folder is opened, and
again when it has grown; it stays as it is.
"""

import contextlib
import hashlib
import json
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kpig.errors import RunError
from kpig.llm.database import Database
from kpig.llm.exchange import MAX_COUNT, Answer, Request, sendable
from kpig.processes import here, is_gone

FILE_NAME = "answers.sqlite"
OLD_FILE_NAME = "answers.jsonl"
TABLES = (
    "answers (key TEXT PRIMARY KEY, model TEXT NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID",
    "claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID",
    "imports (file TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID",
)

LEASE_SECONDS = 60.0
"""A machine that stands still for less keeps its claims; one that is lost holds others up for so long."""

BEAT_SECONDS = 10.0

UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading JSON of any content as an answer raises where it is none."""

KEY = re.compile(r"[\x21-\x7e]+")
"""What a key may consist of."""


def content_key(model: str, request: Request) -> str:
    """SHA-256 over the canonical JSON of a model's name and everything in the request, as hex."""
    content = {"model": model, **asdict(request)}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class AnswerCache:
    """Answers by key, in a folder, or in memory only without one. Safe with threads, processes and kills.

    An answer is on the disk when `put` returns. Raises RunError when the folder cannot be read or written.
    """

    def __init__(self, folder: Path | None = None):
        self._database = Database(None if folder is None else Path(folder) / FILE_NAME, TABLES)
        self._owner = json.dumps({"token": secrets.token_hex(8)} | here(), allow_nan=False)
        if folder is not None:
            self._import(Path(folder) / OLD_FILE_NAME)

    def __len__(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0])

    def get(self, key: str) -> Answer | None:
        """The kept answer, marked as cached."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        try:
            return None if row is None else _answer(json.loads(row[0]))
        except UNREADABLE as error:
            raise self._database.damaged(f"the answer {key[:12]} cannot be read") from error

    def put(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer, and give the claim on its key back; the first answer under a key stays."""
        with self._database.writing() as connection:
            _insert(connection, key, model, answer)
            connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._owner))

    def drop(self, keys: Sequence[str]) -> None:
        """Keep the answers under these keys no longer, where there are any."""
        if keys:
            with self._database.writing() as connection:
                connection.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])

    def claim(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that are this object's to ask now: without an answer, and nobody else's.

        They stay claimed until `put`, `release` or the end of `asking`, in which this is called.
        """
        until = time.time() + LEASE_SECONDS
        with self._database.writing() as connection:
            _drop_lapsed(connection)
            return [
                key
                for key in keys
                if connection.execute(
                    "INSERT OR IGNORE INTO claims SELECT ?, ?, ? "
                    "WHERE NOT EXISTS (SELECT 1 FROM answers WHERE key = ?)",
                    (key, self._owner, until, key),
                ).rowcount
            ]

    def release(self, key: str) -> None:
        """Give the claim on a key back; for an answer that is not to come."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._owner))

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While this lasts, claims are renewed every BEAT_SECONDS; at its end those left are given back."""
        end = threading.Event()
        beat = threading.Thread(target=self._renew, args=(end,), name="kpig-llm-claims", daemon=True)
        beat.start()
        try:
            yield
        finally:
            end.set()
            beat.join()
            with self._database.writing() as connection:
                connection.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))

    def _renew(self, end: threading.Event) -> None:
        """A claim that cannot be renewed may be paid twice, but no answer is lost: no reason to stop."""
        while not end.wait(BEAT_SECONDS):
            until = time.time() + LEASE_SECONDS
            with contextlib.suppress(RunError), self._database.writing() as connection:
                connection.execute("UPDATE claims SET until = ? WHERE owner = ?", (until, self._owner))

    def _import(self, path: Path) -> None:
        """Take over the lines of an earlier version's file; damaged and foreign ones are passed over."""
        size = path.stat().st_size if path.is_file() else 0
        with self._database.reading() as connection:
            row = connection.execute("SELECT size FROM imports WHERE file = ?", (path.name,)).fetchone()
        if size in (0, row[0] if row else 0):
            return
        entries = [_entry(line) for line in _read(path).split(b"\n")]
        with self._database.writing() as connection:
            for key, model, answer in filter(None, entries):
                _insert(connection, key, model, answer)
            connection.execute("INSERT OR REPLACE INTO imports VALUES (?, ?)", (path.name, size))


def _insert(connection: sqlite3.Connection, key: str, model: str, answer: Answer) -> None:
    fields = asdict(answer)
    del fields["cached"]
    values = (key, sendable(model), json.dumps(fields, allow_nan=False))
    connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", values)


def _drop_lapsed(connection: sqlite3.Connection) -> None:
    """Remove the claims of processes that have ended, and those that nobody renewed."""
    connection.execute("DELETE FROM claims WHERE until < ?", (time.time(),))
    owners = [owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM claims")]
    gone = [(owner,) for owner in owners if _has_ended(owner)]
    connection.executemany("DELETE FROM claims WHERE owner = ?", gone)


def _has_ended(owner: str) -> bool:
    """Whether a claim's owner is a process that has ended, or no process at all."""
    try:
        return is_gone(json.loads(owner))
    except (*UNREADABLE, AttributeError):
        return True


def _entry(line: bytes) -> tuple[str, str, Answer] | None:
    """Key, model and answer in a line of an earlier version's file; None for any other line."""
    try:
        entry = json.loads(line)
        key, answer = entry["key"], _answer(entry)
        return (key, str(entry.get("model", "")), answer) if KEY.fullmatch(key) else None
    except UNREADABLE:
        return None


def _answer(entry: dict[str, Any]) -> Answer:
    text, counts = entry["text"], (entry["prompt_tokens"], entry["completion_tokens"])
    if not isinstance(text, str) or not all(type(one) is int and 0 <= one <= MAX_COUNT for one in counts):
        raise TypeError("not an answer")
    return Answer(text, *counts, True, bool(entry.get("truncated")))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror or error}); give another cache folder or mend this one"
        ) from error
