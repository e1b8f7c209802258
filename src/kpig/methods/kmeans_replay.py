"""K-means replay: keep of every task the examples nearest to the centroids of its prompts.

Shape letters: P prompts, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from kpig import ranks
from kpig.config import RunConfig
from kpig.config.section import Count
from kpig.methods.base import Clock, Method, Settings, Step
from kpig.methods.parts import clusters, embeddings
from kpig.methods.parts.memory import Memory
from kpig.methods.parts.packages import required
from kpig.records import Example

if TYPE_CHECKING:
    from kpig.model.learner import Learner


class KmeansReplaySettings(Settings):
    """Keep the examples nearest to the k-means centroids of the prompts' embeddings (SSR code)."""

    clusters: Count = Field(20, description="centroids per task (k)")


class KmeansReplay(Method):
    """Memory chosen by k-means, replayed uniformly (SSR's released code, `kmeans_self.py`).

    The vectors are mean last hidden states of the learner that has just learned the task, over whole
    prompts; SSR embeds inputs alone with a SimCSE model.
    """

    Settings = KmeansReplaySettings
    settings: KmeansReplaySettings
    memory: Memory
    shards = True

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        required("sklearn.cluster", "scikit-learn", "kmeans_replay")
        self.memory = Memory(config.replay.memory_per_task, config.seed)

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"))

    def remember(self, step: Step, learner: Learner) -> None:
        for task in step.tasks:
            vectors = embeddings.of_examples(learner, task.train)
            chosen = ranks.by_main(partial(self._nearest, vectors, task.name))
            self.memory.keep(task, [task.train[index] for index in chosen])

    def _nearest(self, vectors: np.ndarray, task: str) -> list[int]:
        seed = self.rng(f"kmeans/{task}").getrandbits(31)
        return clusters.nearest(vectors, self.memory.capacity, self.settings.clusters, seed)

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self.memory.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
