"""Methods that mix examples of past tasks into every update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kpig.config import RunConfig
from kpig.methods.base import Clock, Method
from kpig.methods.parts.memory import Memory
from kpig.records import Example

if TYPE_CHECKING:
    from kpig.model.learner import Learner


class Replay(Method):
    """Uniform replay over everything in memory (Chaudhry et al., 2019)."""

    memory: Memory
    shards = True

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.memory = Memory(config.replay.memory_per_task, config.seed)

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"))
