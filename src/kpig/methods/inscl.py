"""InsCL: replay more of the tasks whose instructions are far from the present ones (Wang et al., NAACL 2024).

Shape letters: I, J instructions, D hidden size.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from kpig import ranks
from kpig.config import RunConfig
from kpig.methods.base import Clock, Method, Settings, Step
from kpig.methods.parts import embeddings
from kpig.methods.parts.memory import Memory, pick
from kpig.methods.parts.packages import required
from kpig.methods.parts.selection import split
from kpig.records import Example, Instruction, Task, wordings

if TYPE_CHECKING:
    from kpig.model.learner import Learner


class InsclSettings(Settings):
    """InsCL (Wang et al., NAACL 2024)."""

    cost: Literal["cosine", "euclidean"] = Field(
        "cosine", description="distance between two instructions' vectors, as optimal transport counts it"
    )


class Inscl(Method):
    """Replay split over past tasks by Wasserstein distance, over a task's wordings by InsInfo.

    Both are found at the first update of a step and hold until its end. Following the released code
    (OPPO-Mente-Lab/InsCL, `InsCL_sampling.py` and `tag_utils.py`): share of a past task = W / Σ W, with
    W the exact optimal-transport cost between its instructions' vectors and those of the current step;
    InsInfo = Σ_tags log(N / f_tag) over the N instructions of past and current tasks.
    What differs is in docs/baselines.md: vectors, tags, and that a task here has several wordings, each
    of which serves all its examples.
    """

    Settings = InsclSettings
    settings: InsclSettings
    memory: Memory
    shards = True

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        required("ot", "POT", "inscl")
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.categories: dict[str, list[str]] = {}
        self.shares: dict[str, float] = {}
        self.scores: dict[str, list[float]] = {}
        self.replayed: dict[str, int] = {}
        self._current: tuple[Task, ...] = ()

    def begin_step(self, step: Step, learner: Learner) -> Step:
        self._current = step.tasks
        return step

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        if clock.update == 0:
            self._plan(learner)
        counts = self._counts(self.num_replayed(clock))
        self.replayed = {name: self.replayed[name] + count for name, count in counts.items()}
        rng = clock.rng("replay")
        return [
            self._worded(name, example, rng)
            for name, count in counts.items()
            for example in pick(self.memory.tasks[name].examples, count, rng)
        ]

    def remember(self, step: Step, learner: Learner) -> None:
        for task in step.tasks:
            self.memory.add(task)
            self.categories[task.name] = list(task.categories)

    def state_dict(self) -> dict[str, Any]:
        plan = {"shares": self.shares, "scores": self.scores, "replayed": self.replayed}
        return {"memory": self.memory.state(), "categories": self.categories, **plan}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
        self.categories, self.scores = (
            {name: list(values) for name, values in state[key].items()} for key in ("categories", "scores")
        )
        self.shares, self.replayed = dict(state["shares"]), dict(state["replayed"])

    def _plan(self, learner: Learner) -> None:
        self.replayed = dict.fromkeys(self.memory.tasks, 0)
        self.shares = shares(self._distances(learner)) if self.memory.tasks else {}
        self.scores = self._ins_info()

    def _distances(self, learner: Learner) -> dict[str, float]:
        shares = [share for task in self._current for share in _shares(task)]
        current, weights = [one for one, _ in shares], [weight for _, weight in shares]
        past = [one for kept in self.memory.tasks.values() for one in kept.stood_under]
        vectors = embeddings.of_instructions(learner, [*current, *past])
        here, left = vectors[: len(current)], iter(vectors[len(current) :])
        past_vectors = {
            name: np.stack([next(left) for _ in kept.stood_under]) for name, kept in self.memory.tasks.items()
        }
        return ranks.by_main(
            lambda: {
                name: wasserstein(vectors, here, self.settings.cost, weights)
                for name, vectors in past_vectors.items()
            }
        )

    def _ins_info(self) -> dict[str, list[float]]:
        past = {
            name: [tags(one, self.categories[name]) for one in kept.stood_under]
            for name, kept in self.memory.tasks.items()
        }
        current = [tags(one, task.categories) for task in self._current for one, _ in _shares(task)]
        scores = iter(ins_info([one for found in (*past.values(), current) for one in found]))
        return {name: [next(scores) for _ in found] for name, found in past.items()}

    def _counts(self, count: int) -> dict[str, int]:
        """How many of each task now: what brings its share of all replayed so far nearest to its due."""
        total = count + sum(self.replayed.values())
        owed = {name: max(0.0, share * total - self.replayed[name]) for name, share in self.shares.items()}
        return split(count, owed, {name: len(self.memory.tasks[name].examples) for name in owed})

    def _worded(self, name: str, example: Example, rng: random.Random) -> Example:
        """The example under a wording drawn with a chance proportional to its InsInfo."""
        kept = self.memory.tasks[name]
        scores = dict(zip(kept.stood_under, self.scores[name], strict=True))
        possible = wordings(example, kept.instructions)
        found = [scores[one] for one in possible]
        weights = found if sum(found) > 0 else None
        return replace(example, instruction=rng.choices(possible, weights)[0])


def _shares(task: Task) -> list[tuple[Instruction, float]]:
    """The instructions that a task's training examples stand under, each with its share of them."""
    own = Counter(one.instruction for one in task.train if one.instruction not in task.instructions)
    num_common = len(task.train) - own.total()
    common = task.instructions if num_common or not own else ()
    return [*((one, num_common / len(common)) for one in common), *own.items()]


def wasserstein(one: np.ndarray, other: np.ndarray, cost: str, weights: Sequence[float]) -> float:
    """The 1-Wasserstein distance of vectors [I, D] of equal weight and [J, D] with `weights`, at least 0.

    Exact optimal transport by POT; `cost` is "cosine" (1 - cosine, as the released code has it) or
    "euclidean". Where the cost matrix is all 0, so is the distance.
    """
    transport = required("ot", "POT", "inscl")
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    matrix = transport.dist(one, other, metric=cost)
    return max(0.0, float(transport.emd2(np.full(len(one), 1 / len(one)), share, matrix)))


def shares(distances: Mapping[str, float]) -> dict[str, float]:
    """Each distance over their sum; equal shares where all are 0."""
    total = sum(distances.values())
    return {name: value / total if total > 0 else 1 / len(distances) for name, value in distances.items()}


def ins_info(tagged: Sequence[Collection[str]]) -> list[float]:
    """InsInfo of each instruction, in nats, at least 0: Σ log(N / f) over its tags, f of N having the tag."""
    frequency = Counter(tag for found in tagged for tag in found)
    return [math.fsum(math.log(len(tagged) / frequency[tag]) for tag in sorted(found)) for found in tagged]


def tags(instruction: Instruction, categories: Iterable[str]) -> frozenset[str]:
    """The task's categories, the kinds of the key parts and their words; the paper asks GPT-4 for tags."""
    kinds = {f"kind {span.kind}" for span in instruction.key_parts}
    texts = (instruction.text[span.start : span.end].lower() for span in instruction.key_parts)
    words = {word for text in texts for word in re.findall(r"[^\W\d_]+", text)}
    return frozenset({f"category {name}" for name in categories} | kinds | words)
