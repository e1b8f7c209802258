"""Which process is meant, and whether it has ended: its machine, its number and when it began.

psutil tells when a process began and whether it is a zombie, on every system. What it does not tell is which
start of the machine, and which space of process numbers (containers have their own), a number is from: that
is read from the kernel, where the kernel says it.
"""

import contextlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

SAME_BIRTH_SECONDS = 2.0
"""Two readings of one birth differ by the ticks of the clocks they come from. A number comes back only after
all the others, which takes longer."""


def here() -> dict[str, Any]:
    """This process, as JSON values that another process can be asked about: see `is_gone`."""
    pid = os.getpid()
    return {"host": platform.node(), "pid": pid, "machine": _machine(), "born": _born(pid)}


def is_gone(process: Mapping[str, Any]) -> bool:
    """Whether what `here` told once was a process of this machine that has ended.

    False for one of another machine, which cannot be asked. A process that was given an old number is another
    one: its birth tells the two apart. Where no birth is known, the number alone counts.
    """
    pid, then = process.get("pid"), process.get("born")
    if process.get("machine") != _machine() or type(pid) is not int or pid < 1:
        return False
    try:
        born = _born(pid)
    except psutil.NoSuchProcess:
        return True
    return isinstance(then, float) and born is not None and abs(born - then) > SAME_BIRTH_SECONDS


def has_ended(pid: int) -> bool:
    """Whether a child of this process has ended, be it that nobody has waited for it yet."""
    try:
        _born(pid)
    except psutil.NoSuchProcess:
        return True
    return False


def _born(pid: int) -> float | None:
    """Seconds from the start of the machine to that of a process; None where the system keeps it secret.

    Counted from the machine's start because the hour of birth itself moves when the clock is set. Raises
    psutil.NoSuchProcess for one that has ended, be it that its parent has not looked yet (a zombie).
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            raise psutil.NoSuchProcess(pid)
        return float(round(process.create_time() - psutil.boot_time(), 2))
    except psutil.AccessDenied:
        return None


def _machine() -> str:
    """This machine since its last start, and the space that its process numbers are from."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
