"""Gains read off the passes that train: for each task the mean over the last of its examples. No torch.

No pass is made for them. Each example has the gain it had when it was read, so a mean is over some updates.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from kpig.records import Gain

Read = tuple[Gain, ...]
"""The gains of a task's examples in one update, in their order there."""

Running = Mapping[str, tuple[Read, ...]]
"""By task what was read of it in each of its last updates, the oldest first."""


def grown(
    running: Running, read: Iterable[tuple[str, Gain]], num_examples: int
) -> dict[str, tuple[Read, ...]]:
    """With the examples of one more update, each a task and a gain.

    Of a task, the oldest updates are dropped as long as at least `num_examples` are left.
    """
    new: dict[str, Read] = {}
    for task, gain in read:
        new[task] = (*new.get(task, ()), gain)
    return dict(running) | {
        task: _last((*running.get(task, ()), gains), num_examples) for task, gains in new.items()
    }


def examples(updates: Sequence[Read]) -> list[Gain]:
    """All gains of a task, for their mean."""
    return [gain for read in updates for gain in read]


def as_state(running: Running) -> dict[str, Any]:
    """JSON values: for each task its updates, for each of these its gains as lists of numbers."""
    return {
        task: [[list(astuple(gain)) for gain in read] for read in updates]
        for task, updates in running.items()
    }


def from_state(state: Mapping[str, Any]) -> dict[str, tuple[Read, ...]]:
    """What `as_state` returned, read back."""
    return {
        task: tuple(tuple(Gain(*values) for values in read) for read in updates)
        for task, updates in state.items()
    }


def _last(updates: tuple[Read, ...], num_examples: int) -> tuple[Read, ...]:
    while sum(map(len, updates[1:])) >= num_examples:
        updates = updates[1:]
    return updates
