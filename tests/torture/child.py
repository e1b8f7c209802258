"""A kpig command in a forked child, and the trouble that it meets: a kill, a full disk, a signal."""

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
from kpig.cli.failures import TRACEBACK

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
"""What Python tells its audit hooks before it changes a folder; files opened to be written come on top."""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
LONGEST = 120.0
"""Seconds until a child counts as hanging."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative: the signal), what it said, file operations it began."""

    code: int
    said: str
    operations: int


@dataclass(frozen=True)
class Trouble:
    """What happens to the child. `act` is called before file operation number `at` of its folder, from 1.

    With `lasting`, before every later one too. `limit` is the size in bytes that no file may outgrow.
    """

    at: int = 0
    act: Callable[[], None] | None = None
    lasting: bool = False
    limit: int | None = None


def killed() -> None:
    """As by `kill -9`: nothing after this line runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing(number: int) -> Callable[[], None]:
    """The system refuses the operation, with one of `errno`'s numbers."""

    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def stopping(number: signal.Signals) -> Callable[[], None]:
    """A signal, as Ctrl-C in a terminal or the scheduler of a cluster sends it."""
    return lambda: os.kill(os.getpid(), number)


FULL = failing(errno.ENOSPC)
READ_ONLY = failing(errno.EROFS)
BROKEN = failing(errno.EIO)


def run(arguments: Sequence[str], folder: Path, trouble: Trouble | None = None) -> Ended:
    """The command in a child that shares what this process has imported; at most LONGEST seconds.

    Only operations below `folder` count. Raises AssertionError where the child hangs.
    """
    count = folder.parent / f"{folder.name}.count"
    with count.open("w") as counted:
        process = forked.start(
            *arguments, first=lambda: _meet(trouble or Trouble(), folder, counted.fileno())
        )
        done = process.ended(LONGEST)
    return Ended(done.returncode, done.stdout + done.stderr, count.stat().st_size)


def _meet(trouble: Trouble, folder: Path, count: int) -> None:
    """Have the trouble happen. A byte is written to the file `count` for every operation."""
    place, number = str(folder), 0
    os.environ.pop(TRACEBACK, None)
    if trouble.limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (trouble.limit, trouble.limit))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        if not _changes(event, arguments) or not _below(place, arguments[0]):
            return
        number += 1
        os.write(count, b".")
        if trouble.act and (number == trouble.at or (trouble.lasting and number > trouble.at)):
            trouble.act()

    sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & WRITES)
    return event in CHANGES


def _below(place: str, path: object) -> bool:
    return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(place)
