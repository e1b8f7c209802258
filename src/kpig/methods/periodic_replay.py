"""Periodic replay: the past comes back in whole batches, every few updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Count
from kpig.methods.base import Clock, Method, Settings
from kpig.methods.parts.memory import Memory
from kpig.records import Example

if TYPE_CHECKING:
    from kpig.model.learner import Learner


class PeriodicReplaySettings(Settings):
    """A whole batch of past examples every few updates."""

    every: Count = Field(8, description="updates between batches of past examples (k)")


class PeriodicReplay(Method):
    """Every `every` updates, what uniform replay would have drawn since the last time, in one update.

    A working definition, unverified. The examples join those of the current step in that update, so
    neither the number of updates nor that of replayed examples differs from `replay`.
    """

    Settings = PeriodicReplaySettings
    settings: PeriodicReplaySettings
    memory: Memory
    shards = True

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.memory = Memory(config.replay.memory_per_task, config.seed)

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        rng, turns = clock.rng("replay"), num_due(clock.update, clock.num_updates, self.settings.every)
        due = [replace(clock, update=clock.update - back) for back in range(turns)]
        return [example for one in due for example in self.memory.draw(self.num_replayed(one), rng)]


def num_due(update: int, num_updates: int, every: int) -> int:
    """Updates whose replay falls into this one: `every` at each multiple, what is left over at the last."""
    left = (update + 1) % every
    if left == 0:
        return every
    return left if update + 1 == num_updates else 0
