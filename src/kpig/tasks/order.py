"""The steps of a stream: which tasks go together, and in which order they are learned."""

import itertools
import random
from collections.abc import Sequence
from typing import TypeVar

from kpig.errors import ConfigError, DataError
from kpig.tasks.drafts import Draft

Step = TypeVar("Step")


def in_steps(drafts: Sequence[Draft], tasks_per_step: int | None) -> list[list[Draft]]:
    """The drafts in steps as given. Raises DataError where some tasks state a step and others do not."""
    without = [draft.name for draft in drafts if draft.step is None]
    if without and len(without) < len(drafts):
        raise DataError(
            f"{drafts[0].where}: {len(without)} of {len(drafts)} tasks state no step, "
            f"the first is '{without[0]}'; state it for all tasks or for none"
        )
    if not without:
        drafts = sorted(drafts, key=lambda draft: draft.step or 0)
    if without or tasks_per_step:
        size = tasks_per_step or 1
        return [list(drafts[start : start + size]) for start in range(0, len(drafts), size)]
    return [list(members) for _, members in itertools.groupby(drafts, key=lambda draft: draft.step)]


def ordered(steps: list[Step], order: str | Sequence[int], seed: int) -> list[Step]:
    """The steps in the wanted order. Raises ConfigError for an order that cannot be."""
    if order == "given":
        return steps
    if order == "shuffled":
        return random.Random(f"kpig-order|{seed}").sample(steps, len(steps))
    numbers = list(order) if not isinstance(order, str) else []
    possible = set(range(1, len(steps) + 1))
    if not numbers or not set(numbers) <= possible or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"order is {order!r}; expected 'given', 'shuffled' or a list of different step numbers "
            f"from 1 to {len(steps)}"
        )
    return [steps[number - 1] for number in numbers]
