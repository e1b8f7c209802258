"""Memory of past examples: what is kept of a task, and how examples are drawn from it. No torch."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from kpig.records import Example, Instruction, KeySpan, Message, Task, wordings

Item = TypeVar("Item")


@dataclass(frozen=True)
class Remembered:
    """What memory keeps of one task."""

    instructions: tuple[Instruction, ...]
    """Its wordings for training, the seed instruction first."""

    examples: tuple[Example, ...]
    """A fixed part of its training examples, each under the instruction it came with."""

    @property
    def stood_under(self) -> tuple[Instruction, ...]:
        """What the examples are drawn under: the wordings, and the instructions that are single examples'."""
        found = dict.fromkeys(one for kept in self.examples for one in wordings(kept, self.instructions))
        return tuple(found) or self.instructions


class Memory:
    """At most `capacity` examples of every learned task, chosen once, when the task ends.

    Examples are kept under the instruction they came with, and are drawn under any wording of it for
    training: `draw` rewords unless told not to. `tasks` holds what is kept, by the task's name, in the order
    of learning.
    """

    def __init__(self, capacity: int, seed: int):
        self.capacity = capacity
        self.seed = seed
        self.tasks: dict[str, Remembered] = {}

    def add(self, task: Task) -> None:
        """Keep a part of a task."""
        self.tasks[task.name] = Remembered(task.instructions, self.part(task))

    def part(self, task: Task) -> tuple[Example, ...]:
        """What `add` keeps of a task: the same part for the same seed, whatever else was learned."""
        return tuple(pick(task.train, self.capacity, random.Random(f"{self.seed}/memory/{task.name}")))

    def keep(self, task: Task, examples: Sequence[Example]) -> None:
        """Keep chosen examples of a task instead of a random part; the first `capacity` of them."""
        self.tasks[task.name] = Remembered(task.instructions, tuple(examples[: self.capacity]))

    def probes(self, count: int) -> dict[str, tuple[Example, ...]]:
        """The first `count` examples of every task as they were kept, for measuring gain."""
        return {name: kept.examples[:count] for name, kept in self.tasks.items()}

    def draw(
        self,
        count: int,
        rng: random.Random,
        tasks: Sequence[str] | None = None,
        per_task: int = 0,
        fill: bool = False,
        reword: bool = True,
    ) -> list[Example]:
        """min(count, available) distinct examples, uniform over those of `tasks` (all if None).

        `per_task` limits the pool to the first examples of each. Where the pool holds fewer than `count`,
        `fill` draws the rest from all else in memory. Each comes under a random training wording, or with
        `reword=False` as it was kept: the same object as in `tasks`.
        """
        pool = self._places(self.tasks if tasks is None else tasks, per_task)
        return self.draw_from(pool, count, rng, fill, reword)

    def draw_from(
        self,
        pool: Sequence[tuple[str, int]],
        count: int,
        rng: random.Random,
        fill: bool = False,
        reword: bool = True,
    ) -> list[Example]:
        """The same from a pool of single examples: each a task and the number of one in `tasks`."""
        chosen = pick(pool, count, rng)
        if fill and len(chosen) < count:
            others = set(self._places(self.tasks)) - set(pool)
            chosen += pick(sorted(others), count - len(chosen), rng)
        drawn = [(self.tasks[name], number) for name, number in chosen]
        if not reword:
            return [kept.examples[number] for kept, number in drawn]
        return [reworded(kept.examples[number], kept.instructions, rng) for kept, number in drawn]

    def _places(self, tasks: Iterable[str], per_task: int = 0) -> list[tuple[str, int]]:
        """Task and number of the examples of some tasks, of each the first `per_task`; 0: all."""
        sizes = {name: len(self.tasks[name].examples[: per_task or None]) for name in tasks}
        return [(name, number) for name, size in sizes.items() for number in range(size)]

    def state(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {name: _plain(kept) for name, kept in self.tasks.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, read back from JSON."""
        self.tasks = {name: _remembered(kept) for name, kept in state.items()}


def pick(items: Sequence[Item], count: int, rng: random.Random) -> list[Item]:
    """min(count, len(items)) different items in random order."""
    return rng.sample(list(items), min(count, len(items)))


def drawn(tasks: Iterable[Task], count: int, rng: random.Random) -> list[Example]:
    """min(count, available) training examples of several tasks, each under one of its training wordings."""
    pool = [(task, example) for task in tasks for example in task.train]
    return [reworded(example, task.instructions, rng) for task, example in pick(pool, count, rng)]


def reworded(example: Example, instructions: tuple[Instruction, ...], rng: random.Random) -> Example:
    """The example under one of the wordings of its instruction; without one it stays as it is."""
    possible = wordings(example, instructions)
    return example if len(possible) == 1 else replace(example, instruction=rng.choice(possible))


def _plain(kept: Remembered) -> dict[str, Any]:
    """Without the examples' own constraints: what is replayed is not judged."""
    bare = replace(kept, examples=tuple(replace(one, constraints=()) for one in kept.examples))
    found = asdict(bare)
    for example in found["examples"]:
        del example["constraints"]
    return found


def _remembered(kept: Mapping[str, Any]) -> Remembered:
    instructions = tuple(_instruction(one) for one in kept["instructions"])
    return Remembered(instructions, tuple(_example(one) for one in kept["examples"]))


def _example(state: Mapping[str, Any]) -> Example:
    """The example; states of earlier versions hold nothing of what was said before."""
    read = {
        "instruction": _instruction(state["instruction"]),
        "references": tuple(state["references"]),
        "context": tuple(Message(**one) for one in state.get("context", ())),
    }
    return Example(**{**state, **read})


def _instruction(state: Mapping[str, Any]) -> Instruction:
    return Instruction(state["text"], tuple(KeySpan(**span) for span in state["key_parts"]), state["origin"])
