"""One lock file per run, so that two processes never do the same run at once. No torch.

The lock names its process and is touched every few seconds. It is taken over when that process is gone
from this machine, or, whatever the machine, when nothing has touched it for STALE_SECONDS.
"""

import contextlib
import errno
import glob
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpig.errors import RunError
from kpig.files import disk_error, true_path
from kpig.processes import here, is_gone
from kpig.training.notice import UNFINISHED

BUSY = UNFINISHED
"""The exit code of a process that found its run in the hands of another: it may be tried again later."""

BEAT_SECONDS = 10.0

STALE_SECONDS = 300.0
"""Thirty beats missed: no hiccup of a network folder (its clients may see a file's time a minute late) nor of
a machine that swaps lasts so long, and it is little beside the runs that a dead machine would hold up."""

INSIDE = ".lock"
"""The lock's name inside the run folder."""

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EINVAL)
"""How file systems say that they have no hard links."""

GUARD_SECONDS = 60.0
"""A takeover reads one file and renames one: a minute is long for that even on a network folder."""


class BusyError(RunError):
    """A run that another process is doing."""

    exit_code = BUSY


@dataclass(frozen=True)
class Claim:
    """A lock that this process holds, or has held: `lost` is set once another one is seen to have it."""

    path: Path
    token: str
    lost: threading.Event = field(default_factory=threading.Event, compare=False)

    def beat(self) -> bool:
        """Touch the lock; False where another process has taken it over."""
        if (_read(self.path) or {}).get("token") != self.token:
            self.lost.set()
            return False
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return True

    def check(self) -> None:
        """Raise BusyError once the lock is lost: nothing may be written any more."""
        if self.lost.is_set():
            who = "another process took the run over while this one slept, or its lock file was removed"
            raise BusyError(f"{self.path}: {who}; this one ends, and nothing is lost")

    def release(self) -> None:
        """Give the lock back, unless another process has taken it over."""
        if (_read(self.path) or {}).get("token") == self.token:
            self.path.unlink(missing_ok=True)


def path_of(folder: Path) -> Path:
    """The lock of the run in a folder: beside it, or inside where the folder around it is read-only."""
    folder = true_path(folder)
    beside = not folder.parent.exists() or os.access(folder.parent, os.W_OK)
    return folder.parent / f"{folder.name}.lock" if beside else folder / INSIDE


def check_idle(folder: Path) -> None:
    """Raise BusyError where another process does the run in a folder; writes nothing but `redate`."""
    who = holder(path_of(folder), time.time())
    if who is not None:
        redate(path_of(folder))
        raise _busy(folder, who)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Claim]:
    """Hold the lock of the run in a folder, touched every few seconds, as long as the block lasts.

    Raises BusyError where another process holds it, RunError where the disk does not take it.
    """
    path = path_of(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    claimed = claim(path)
    if claimed is None:
        raise _busy(folder, holder(path, time.time()) or "another process")
    ended = threading.Event()
    threading.Thread(target=_keep, args=(claimed, ended), daemon=True).start()
    try:
        yield claimed
    finally:
        ended.set()
        claimed.release()


def drop_left(folder: Path) -> None:
    """Remove the lock that a process left when it was killed at the end of its run; nothing where it lives.

    It is taken over and given back, as by one that goes on. On a disk that does not take that, it stays.
    """
    if path_of(folder).exists():
        with contextlib.suppress(RunError), held(folder):
            pass


def _keep(claimed: Claim, ended: threading.Event) -> None:
    """Touch the lock now and then until the run has ended or its lock is lost."""
    while not ended.wait(BEAT_SECONDS) and claimed.beat():
        pass


def _busy(folder: Path, who: str) -> BusyError:
    return BusyError(
        f"{folder}: {who} is doing this run; wait until it ends, or give --out another folder. The lock of "
        "a process that was killed is taken over by itself."
    )


def claim(path: Path) -> Claim | None:
    """Take the lock, from a process that is gone too; None where another one holds it.

    Raises RunError where the folder cannot be written.
    """
    owner = {"token": secrets.token_hex(8)} | here()
    try:
        taken = _create(path, owner) or _take_over(path, owner)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); mend that, try again"
        ) from error
    if not taken:
        return None
    _drop_unlinked(path)
    return Claim(path, owner["token"])


def holder(path: Path, now: float) -> str | None:
    """The living process that holds the lock, in words; None where it is free. `now` in seconds."""
    try:
        age = now - path.stat().st_mtime
    except OSError:
        return None
    owner = _read(path) or {}
    if age > STALE_SECONDS or is_gone(owner):
        return None
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"


def redate(path: Path) -> None:
    """Give a lock that is dated in the future the present time, so that it grows stale like any other.

    Its process touches it on if it lives, whatever its clock says. The present is that of the disk: on a
    network folder it need not be this machine's.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_mtime - _disk_time(path) > STALE_SECONDS:
            os.utime(path)


def _disk_time(beside: Path) -> float:
    """What the disk holds for the present, in seconds. Raises OSError."""
    probe = beside.with_name(f"{beside.name}.{secrets.token_hex(4)}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _create(path: Path, owner: dict[str, Any]) -> bool:
    """Make a file that must not be there yet; of several processes that try, one succeeds.

    It is written under another name and linked: a kill leaves no lock that names nobody.
    """
    written = path.with_name(f".{path.name}.{owner['token']}")
    try:
        with written.open("x", encoding="utf-8") as file:
            json.dump(owner, file, allow_nan=False)
        os.link(written, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _create_unlinked(path, owner)
    finally:
        with contextlib.suppress(OSError):
            written.unlink(missing_ok=True)
    return True


def _create_unlinked(path: Path, owner: dict[str, Any]) -> bool:
    """The same where the file system has no links (FAT): a kill may leave it empty, for STALE_SECONDS."""
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(owner, file, allow_nan=False)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _drop_unlinked(path: Path) -> None:
    """Remove what processes that were killed while they wrote a lock left beside it."""
    for written in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if is_gone(_read(written) or {}):
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)


def _take_over(path: Path, owner: dict[str, Any]) -> bool:
    """Replace a stale lock. A guard file lets one process at a time look and replace.

    The guard's own time is the clock: on a network folder, it is the clock that the lock's time is from.
    """
    guard = path.with_name(path.name + ".takeover")
    if not _create(guard, owner) and not (_drop_dead(guard) and _create(guard, owner)):
        return False
    try:
        if path.exists() and holder(path, guard.stat().st_mtime) is None:
            os.replace(guard, path)
            return True
        return False
    finally:
        if (_read(guard) or {}).get("token") == owner["token"]:
            guard.unlink(missing_ok=True)


def _drop_dead(guard: Path) -> bool:
    """Remove the guard of a process that was killed in the middle of a takeover; whether it was one.

    It is moved aside first, so that of several processes that look at once only one removes it, and none
    the guard that another has made meanwhile.
    """
    aside = guard.with_name(f"{guard.name}.{secrets.token_hex(4)}")
    aside.touch()
    try:
        owner = _read(guard) or {}
        late = abs(aside.stat().st_mtime - guard.stat().st_mtime) > GUARD_SECONDS
        if not (late or is_gone(owner)):
            return False
        os.replace(guard, aside)
        dead = (_read(aside) or {}).get("token") == owner.get("token")
        if not dead:
            os.replace(aside, guard)
        return dead
    except FileNotFoundError:
        return False
    finally:
        aside.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The owner that a lock names; None where it is missing or being written just now."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
