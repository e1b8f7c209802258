"""A scheduler's notice that this process must end soon: it waits for the checkpoint of the present update.

Whoever receives signals (the command line, the process of a sweep's run) makes a `Stopped` of them; the loop
holds notices back while it learns, and ends with them once their checkpoint is written. No torch.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kpig import ranks

UNFINISHED = 75
"""The exit code that says "start me again": EX_TEMPFAIL of sysexits.h."""

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1")  # Windows has no SIGUSR1
    if hasattr(signal, name)
)
"""What schedulers send before they take the machine away."""


class Stopped(BaseException):
    """A signal asked the process to end.

    It is no KeyboardInterrupt, of which typer would make an exit without a word.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    @property
    def is_notice(self) -> bool:
        """Whether a scheduler gave notice, and no person who waits."""
        return self.number in SIGNALS


@dataclass
class _Now:
    """Whether notices are held back at the moment, and the first that was."""

    holds_back: bool = False
    given: Stopped | None = None


_now = _Now()
"""Signals are the process's, and so is this."""


@contextmanager
def held_back() -> Iterator[None]:
    """Within the block a notice waits for `heed`; at the block's end it waits no longer.

    Raises Stopped at the end, where a notice came.
    """
    _now.holds_back, _now.given = True, None
    try:
        yield
    finally:
        _now.holds_back = False
    heed()


def holds(stop: Stopped) -> bool:
    """Take a notice in where notices are held back; False where the process is to end with it at once."""
    if not (stop.is_notice and _now.holds_back):
        return False
    _now.given = _now.given or stop
    return True


def is_given() -> bool:
    """Whether a notice waits to be heeded."""
    return _now.given is not None


def is_given_to_any() -> bool:
    """Whether a notice waits in one of the processes that share the job; from then on it waits in all."""
    numbers = ranks.united(lambda: None if _now.given is None else _now.given.number)
    first = next((number for number in numbers if number is not None), None)
    if first is not None:
        _now.given = _now.given or Stopped(first)
    return first is not None


def heed() -> None:
    """Raise Stopped where a notice waits."""
    given, _now.given = _now.given, None
    if given is not None:
        raise given
