"""One lock file per run, so that two sweeps in one folder never do the same run at once. No torch.

The lock names its process and is touched every few seconds. It is taken over when that process is gone
from this machine, or, whatever the machine, when nothing has touched it for STALE_SECONDS.
"""

import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpig.errors import RunError
from kpig.processes import here, is_gone

BUSY = 75
"""The exit code of a process that found its run in the hands of another."""

BEAT_SECONDS = 10.0

STALE_SECONDS = 300.0
"""Thirty beats missed: no hiccup of a network folder (its clients may see a file's time a minute late) nor of
a machine that swaps lasts so long, and it is little beside the runs that a dead machine would hold up."""

GUARD_SECONDS = 60.0
"""A takeover reads one file and renames one: a minute is long for that even on a network folder."""


@dataclass(frozen=True)
class Claim:
    """A lock that this process holds."""

    path: Path
    token: str

    def beat(self) -> bool:
        """Touch the lock; False where another process has taken it over."""
        if (_read(self.path) or {}).get("token") != self.token:
            return False
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return True

    def release(self) -> None:
        """Give the lock back, unless another process has taken it over."""
        if (_read(self.path) or {}).get("token") == self.token:
            self.path.unlink(missing_ok=True)


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
    return Claim(path, owner["token"]) if taken else None


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


def _create(path: Path, owner: dict[str, Any]) -> bool:
    """Write a file that must not be there yet; of several processes that try, one succeeds."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(owner, file, allow_nan=False)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_over(path: Path, owner: dict[str, Any]) -> bool:
    """Replace a stale lock. A guard file lets one process at a time look and replace.

    The guard's own time is the clock: on a network folder, it is the clock that the lock's time is from.
    """
    guard = path.with_name(path.name + ".takeover")
    if not _create(guard, owner):
        _drop_dead(guard)
        return False
    try:
        if path.exists() and holder(path, guard.stat().st_mtime) is None:
            os.replace(guard, path)
            return True
        return False
    finally:
        if (_read(guard) or {}).get("token") == owner["token"]:
            guard.unlink(missing_ok=True)


def _drop_dead(guard: Path) -> None:
    """Remove the guard of a process that was killed in the middle of a takeover."""
    probe = guard.with_name(f"{guard.name}.{secrets.token_hex(4)}")
    probe.touch()
    try:
        if probe.stat().st_mtime - guard.stat().st_mtime > GUARD_SECONDS or is_gone(_read(guard) or {}):
            guard.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    finally:
        probe.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The owner that a lock names; None where it is missing or being written just now."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
