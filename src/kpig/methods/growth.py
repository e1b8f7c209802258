"""Streams that grow: what a method learns after the steps of a shorter one. No torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kpig.errors import ConfigError
from kpig.records import Task

if TYPE_CHECKING:
    from kpig.methods.base import Method

Steps = Sequence[tuple[Task, ...]]


def arranged(method: "Method", steps: Steps, lengths: Sequence[int] = ()) -> list[tuple[Task, ...]]:
    """The task sets that a method learns of `steps`, one after the other.

    `lengths` are the steps that were known at each start but the last: the method is asked about every one of
    these shorter streams first, as it was when they were learned. Raises ConfigError where it refuses a
    stream, and where it would have learned the earlier steps otherwise, had it known the later ones.
    """
    earlier: list[tuple[Task, ...]] = []
    for length in (*lengths, len(steps)):
        found = method.arrange(steps[:length])
        if _names(found[: len(earlier)]) != _names(earlier) or (earlier and len(found) == len(earlier)):
            raise ConfigError(
                f"[method] {method.config.method.name} learns a stream as a whole and cannot go on with more "
                "of it: what it learned would have been another thing. Run it again with all tasks"
            )
        earlier = found
    return earlier


def _names(steps: Steps) -> list[list[str]]:
    return [[task.name for task in step] for step in steps]
