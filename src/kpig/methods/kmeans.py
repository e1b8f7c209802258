"""K-means replay: keep of every task the examples nearest to the centroids of its prompts.

Shape letters: P prompts, D hidden size.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from kpig.methods.base import Clock, Method, Step
from kpig.methods.parts import embeddings
from kpig.methods.parts.memory import Memory
from kpig.methods.parts.packages import required
from kpig.methods.parts.selection import split
from kpig.model.learner import Learner
from kpig.records import Example

NAME = "kmeans_replay"


class KmeansReplay(Method):
    """Memory chosen by k-means, replayed uniformly (SSR's released code, `kmeans_self.py`).

    The vectors are mean last hidden states of the learner that has just learned the task, over whole
    prompts; SSR embeds inputs alone with a SimCSE model.
    """

    def __init__(self, config):
        super().__init__(config)
        required("sklearn.cluster", "scikit-learn", NAME)
        self.settings = config.method.kmeans_replay
        self.memory = Memory(config.replay.memory_per_task, config.seed)

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"))

    def end_step(self, step: Step, learner: Learner) -> None:
        for task in step.tasks:
            rng = random.Random(f"{self.config.seed}/kmeans/{task.name}")
            vectors = embeddings.of_examples(learner, task.train)
            chosen = nearest(vectors, self.memory.capacity, self.settings.clusters, rng.getrandbits(31))
            self.memory.keep(task, [task.train[index] for index in chosen])

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self.memory.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])


def nearest(vectors: np.ndarray, count: int, num_clusters: int, seed: int) -> list[int]:
    """min(count, P) row numbers of [P, D] vectors, in order: of every cluster those nearest to its centroid.

    Vectors are scaled to length 1 first; a cluster's share of `count` follows its size (SSR's code rounds
    each share, here largest remainders make the sum exact). There are at most as many clusters as
    different vectors or as rows asked for. One thread, so that sums do not depend on the machine's cores.
    """
    if len(vectors) <= count:
        return list(range(len(vectors)))
    from threadpoolctl import threadpool_limits

    vectors = embeddings.unit(vectors)
    num_clusters = min(num_clusters, count, len(np.unique(vectors, axis=0)))
    cluster = required("sklearn.cluster", "scikit-learn", NAME)
    with threadpool_limits(1):
        found = cluster.KMeans(num_clusters, n_init="auto", random_state=seed).fit(vectors)
    distance = np.linalg.norm(vectors - found.cluster_centers_[found.labels_], axis=1)
    members = {number: np.flatnonzero(found.labels_ == number) for number in range(num_clusters)}
    sizes = {number: len(rows) for number, rows in members.items()}
    shares = split(count, sizes, sizes)
    ranked = {number: rows[np.argsort(distance[rows], kind="stable")] for number, rows in members.items()}
    return sorted(int(row) for number, rows in ranked.items() for row in rows[: shares[number]])
