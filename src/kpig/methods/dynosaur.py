"""Dynosaur: replay the tasks whose instructions are most unlike the others (Yin et al., EMNLP 2023).

Shape letters: T tasks, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from kpig import ranks
from kpig.config import RunConfig
from kpig.config.section import Count
from kpig.methods.base import Clock, Method, Settings
from kpig.methods.parts import embeddings
from kpig.methods.parts.memory import Memory, Remembered
from kpig.methods.parts.selection import leading
from kpig.records import Example, Instruction

if TYPE_CHECKING:
    from kpig.model.learner import Learner


class DynosaurSettings(Settings):
    """Replay tasks with the most diverse instructions (Yin et al., EMNLP 2023)."""

    num_tasks: Count = Field(8, description="tasks replayed at a time")


class Dynosaur(Method):
    """Uniform replay over the tasks with the lowest column sums of their instructions' cosine matrix.

    The tasks are chosen again at the first update of every step, from their seed instructions' mean
    hidden states under the learner; where examples have instructions of their own, from the mean over
    these. The paper embeds with a sentence encoder; its replay code was never released, so the rule is
    that of a summary (arXiv 2305.14327), unverified.
    """

    Settings = DynosaurSettings
    settings: DynosaurSettings
    memory: Memory

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.chosen: list[str] = []

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        count = self.num_replayed(clock)
        if clock.update == 0:
            sizes = {name: len(kept.examples) for name, kept in self.memory.tasks.items()}
            most = self.most_replayed(clock)
            self.chosen = leading(self._ranked(learner), self.settings.num_tasks, sizes, most)
        return self.memory.draw(count, clock.rng("replay"), self.chosen)

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self.memory.state(), "chosen": self.chosen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
        self.chosen = list(state["chosen"])

    def _ranked(self, learner: Learner) -> list[str]:
        names = list(self.memory.tasks)
        if not names:
            return []
        seeds = [_seeds(self.memory.tasks[name]) for name in names]
        vectors = iter(embeddings.of_instructions(learner, [one for found in seeds for one in found]))
        means = np.stack([np.mean([next(vectors) for _ in found], 0) for found in seeds])
        return [names[index] for index in ranks.by_main(lambda: by_diversity(means))]


def _seeds(kept: Remembered) -> Sequence[Instruction]:
    """The seed instruction of a task, or those that its examples came with."""
    return [one for one in kept.stood_under if one not in kept.instructions] or kept.instructions[:1]


def by_diversity(vectors: np.ndarray) -> list[int]:
    """Row numbers of [T, D] vectors by rising column sum of their cosine matrix: the most diverse first."""
    directions = embeddings.unit(vectors)
    return [int(row) for row in np.argsort((directions @ directions.T).sum(0), kind="stable")]
