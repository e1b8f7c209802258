"""`kpig` in several processes that share a job, as a launcher starts them: forked, so they begin at once."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import forked
from forked import Child
from kpig.testing.several import environment, free_port


def begin(*arguments: object, size: int = 2, **more: str) -> list[Child]:
    """The command in each process, the main one first, with `more` of an environment."""
    port = free_port()
    return [
        forked.start(
            *arguments, first=lambda own=environment(number, size, port): os.environ.update(own | more)
        )
        for number in range(size)
    ]


def ended(children: Sequence[Child], longest: float = 60.0) -> list[subprocess.CompletedProcess[str]]:
    """Waits for all of them; AssertionError where one hangs."""
    return [child.ended(longest) for child in children]


def at_work(children: Sequence[Child], run: Path, longest: float = 120.0) -> None:
    """Waits until a run logs; AssertionError, with what was said, where a process ends before."""
    deadline = time.monotonic() + longest
    while not (run / "events.jsonl").exists():
        over = [child for child in children if not child.is_running]
        assert not over, [child.ended().stderr for child in over]
        assert time.monotonic() < deadline, f"nothing was logged within {longest:.0f} seconds"
        time.sleep(0.05)


def kpig(*arguments: object, size: int = 2, **more: str) -> list[subprocess.CompletedProcess[str]]:
    """The command in all processes, waited for."""
    return ended(begin(*arguments, size=size, **more))
