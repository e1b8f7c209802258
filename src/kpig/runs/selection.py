"""Choose training examples of tasks by pseudo-skills, without training (docs/select.md)."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kpig import ranks
from kpig.config import ModelSection, TrainSection
from kpig.errors import UsageError
from kpig.methods.parts import candidates, skills
from kpig.methods.parts.packages import required
from kpig.methods.parts.skills import Cluster
from kpig.model import loading
from kpig.progress import Watcher
from kpig.records import Example, Task

Steps = Sequence[Sequence[Task]]


@dataclass(frozen=True)
class Wanted:
    """How many examples are wanted, and how they are chosen: as the settings of adapt_inf say."""

    budget: int
    num_clusters: int
    near_duplicate: float
    seed: int


@dataclass(frozen=True)
class Selection:
    """What was chosen of the examples, by clusters of their rows, under the scores that each example had."""

    examples: tuple[Example, ...]
    scores: Mapping[str, Sequence[float]]
    clusters: tuple[Cluster, ...]

    @property
    def chosen(self) -> list[Example]:
        """In the order of the tasks."""
        return [self.examples[row] for row in sorted(row for one in self.clusters for row in one.chosen)]

    @property
    def num_pruned(self) -> int:
        """How many near-duplicates could not be chosen."""
        return sum(len(one.pruned) for one in self.clusters)


def select(
    section: ModelSection,
    steps: Steps,
    wanted: Wanted,
    device: str,
    watch: Watcher,
    clock: str | None = None,
) -> Selection:
    """Choose training examples of all tasks under a model; `clock` as in `loading.load`.

    They are min(budget, all but the pruned). Raises UsageError for a budget above the number of examples,
    ConfigError where scikit-learn is not there.
    """
    examples = tuple(example for step in steps for task in step for example in task.train)
    if wanted.budget > len(examples):
        raise UsageError(
            f"--budget {wanted.budget} is more than the {len(examples)} training examples that there are; "
            f"give {len(examples)} or less"
        )
    required("sklearn.cluster", "scikit-learn", "adapt_inf")
    learner = ranks.everywhere(lambda: loading.load(section, device=device, clock=clock))
    rng = random.Random(f"{wanted.seed}/select")
    with watch.phase("select", len(examples)):
        found = candidates.read(learner, examples, TrainSection(), rng.getrandbits(31), watch.advance)
    clusters = ranks.by_main(
        lambda: skills.select(
            found.vectors, found.scores, wanted.budget, wanted.num_clusters, wanted.near_duplicate, rng
        )
    )
    return Selection(examples, {name: one.tolist() for name, one in found.scores.items()}, tuple(clusters))


def narrowed(steps: Steps, chosen: Sequence[Example]) -> list[list[Task]]:
    """The steps with the chosen training examples only; a task without any, and an empty step, is left out.

    Test and validation examples stay.
    """
    kept = {(example.task, example.id) for example in chosen}
    narrow = [
        [replace(task, train=tuple(one for one in task.train if (one.task, one.id) in kept)) for task in step]
        for step in steps
    ]
    return [found for step in narrow if (found := [task for task in step if task.train])]


def selection_json(section: ModelSection, wanted: Wanted, found: Selection) -> dict[str, Any]:
    """The clusters as plain data: of every example its scores, and which it is like where it is pruned."""
    return {
        "version": 1,
        "model": section.path,
        "budget": wanted.budget,
        "seed": wanted.seed,
        "near_duplicate": wanted.near_duplicate,
        "chosen": len(found.chosen),
        "pruned": found.num_pruned,
        "clusters": [_cluster(one, found) for one in found.clusters],
    }


def _cluster(cluster: Cluster, found: Selection) -> dict[str, Any]:
    chosen = set(cluster.chosen)
    names = [{"task": example.task, "id": example.id} for example in found.examples]
    return {
        "score": cluster.score,
        "entropy_bits": dict(cluster.entropies),
        "examples": [
            {
                **names[row],
                "chosen": row in chosen,
                "scores": {name: values[row] for name, values in found.scores.items()},
            }
            for row in cluster.members
        ],
        "pruned": [{**names[row], "like": names[like]} for row, like in cluster.pruned.items()],
    }
