"""Adapt-∞: learn and replay what tells most of each pseudo-skill (Maharana et al. 2410.10636), on text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from kpig import ranks
from kpig.config import RunConfig
from kpig.config.section import Count, cost
from kpig.methods.base import Clock, Method, Settings, Step
from kpig.methods.parts import skills
from kpig.methods.parts.memory import Memory
from kpig.methods.parts.packages import required
from kpig.methods.parts.skills import Cluster
from kpig.methods.parts.upkeep import Matrices, Upkeep
from kpig.records import Example, Task

if TYPE_CHECKING:
    from kpig.model.learner import Learner

Key = tuple[str, str]
"""A task, and the id of one of its examples."""


class AdaptInfSettings(Settings):
    """Choose by pseudo-skills what to learn and to replay (Maharana et al. 2410.10636)."""

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5,
        description="share of the candidates, a step's examples and memory's, that is chosen; not tuned",
        json_schema_extra=cost(
            "when a step begins: a pass with gradient over each candidate, one without where it has key parts"
        ),
    )
    clusters: Count = Field(10, description="pseudo-skills that the candidates are put into, at most")
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95,
        description="cosine of two gradients above which the later example is pruned for good; 1: none is",
    )


class AdaptInf(Method):
    """Uniform replay and plain learning, both of chosen examples only; the choice is made when a step begins.

    Candidates are memory and the step's examples together, read under the weights of the step's start
    (`parts.candidates`), clustered and chosen from by `parts.skills`. Every update has as many examples of
    the step and of memory as that of `replay`: which ones come, and how often each, is what differs. Where
    none of the step are chosen all are learned, and where too few of memory are the rest is drawn from all of
    it. What is pruned is not remembered; it is learned only where nothing else of the step is left.
    """

    Settings = AdaptInfSettings
    settings: AdaptInfSettings
    memory: Memory
    undivided = (
        "is not one that can do so: it chooses by each example's own gradient, and "
        "processes that divide weights get the sum of theirs"
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        required("sklearn.cluster", "scikit-learn", "adapt_inf")
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.chosen: list[Key] = []
        self._unpruned: tuple[Task, ...] = ()
        self._told: dict[str, Any] = {}

    def upkeep(self, matrices: Matrices) -> Upkeep:
        return Upkeep(chooses=True)

    def begin_step(self, step: Step, learner: Learner) -> Step:
        past = [example for kept in self.memory.tasks.values() for example in kept.examples]
        examples = [*past, *(example for task in step.tasks for example in task.train)]
        clusters = self._clusters(examples, step, learner)
        self._told = told(clusters)
        chosen = [_key(examples[row]) for row in sorted(row for one in clusters for row in one.chosen)]
        pruned = {_key(examples[row]) for one in clusters for row in one.pruned}
        for name, kept in self.memory.tasks.items():
            left = tuple(one for one in kept.examples if _key(one) not in pruned)
            self.memory.tasks[name] = replace(kept, examples=left)
        remembered = set(map(_key, past))
        self.chosen = [key for key in chosen if key in remembered]
        self._unpruned = _only(step.tasks, lambda key: key not in pruned)
        learned = _only(step.tasks, set(chosen).__contains__)
        possible = (learned, self._unpruned, step.tasks)
        return replace(step, tasks=next(tasks for tasks in possible if any(one.train for one in tasks)))

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        chosen = set(self.chosen)
        pool = [
            (name, number)
            for name, kept in self.memory.tasks.items()
            for number, example in enumerate(kept.examples)
            if _key(example) in chosen
        ]
        return self.memory.draw_from(pool, self.num_replayed(clock), clock.rng("replay"), fill=True)

    def measured(self, clock: Clock) -> dict[str, Any]:
        """What the choice was made of, at a step's first update."""
        return {"selection": self._told} if clock.update == 0 else {}

    def remember(self, step: Step, learner: Learner) -> None:
        """Of every task a random part of what is not pruned, chosen to be learned or not."""
        for task in self._unpruned:
            self.memory.add(task)

    def forget(self) -> None:
        super().forget()
        self.chosen = []

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"chosen": self.chosen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.chosen = [(task, example) for task, example in state["chosen"]]

    def _clusters(self, examples: Sequence[Example], step: Step, learner: Learner) -> list[Cluster]:
        from kpig.methods.parts import candidates

        rng = self.rng(f"adapt_inf/{step.number}")
        found = candidates.read(learner, examples, self.config.train, rng.getrandbits(31))
        budget = max(1, round(self.settings.share * len(examples)))
        num_clusters, near_duplicate = self.settings.clusters, self.settings.near_duplicate
        return ranks.by_main(
            lambda: skills.select(found.vectors, found.scores, budget, num_clusters, near_duplicate, rng)
        )


def told(clusters: Sequence[Cluster]) -> dict[str, Any]:
    """Of each cluster how many candidates it has, how many are pruned and chosen, by which score. JSON."""
    return {
        "clusters": [
            {
                "candidates": len(one.members) + len(one.pruned),
                "pruned": len(one.pruned),
                "chosen": len(one.chosen),
                "score": one.score,
                "entropy": one.entropies,
            }
            for one in clusters
        ]
    }


def _key(example: Example) -> Key:
    return example.task, example.id


def _only(tasks: Sequence[Task], is_kept: Callable[[Key], bool]) -> tuple[Task, ...]:
    """The tasks with some of their training examples."""
    return tuple(
        replace(task, train=tuple(one for one in task.train if is_kept(_key(one)))) for task in tasks
    )
