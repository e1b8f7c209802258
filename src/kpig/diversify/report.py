"""What came of diversifying: the variants of each task, and what was turned down, by reason."""

from collections import Counter
from dataclasses import dataclass

from kpig.diversify.variant import Rejection, Variant

NO_KEY_PARTS, OWN_INSTRUCTIONS, MALFORMED, TRUNCATED = (
    "no_key_parts",
    "own_instructions",
    "malformed",
    "truncated",
)
UNASKED, UNREAD = frozenset({NO_KEY_PARTS, OWN_INSTRUCTIONS}), frozenset({MALFORMED, TRUNCATED})
"""Reasons why a task has no candidates, and why an answer has none."""


@dataclass(frozen=True)
class TaskReport:
    """The variants of one task.

    `num_possible` counts the wordings that offline breadth can make, near-copies included; None where it
    was not asked. `num_failed` counts the requests that got no answer.
    """

    task: str
    variants: tuple[Variant, ...]
    rejections: tuple[Rejection, ...] = ()
    num_possible: int | None = None
    num_failed: int = 0

    @property
    def num_evaluation(self) -> int:
        """Variants that are never trained on."""
        return sum(variant.evaluation for variant in self.variants)


@dataclass(frozen=True)
class Report:
    """The reports of all tasks, in order; `wanted` is how many variants each was to have."""

    tasks: tuple[TaskReport, ...]
    wanted: int

    @property
    def by_way(self) -> Counter[str]:
        """Accepted variants by way."""
        return Counter(variant.way for task in self.tasks for variant in task.variants)

    @property
    def by_reason(self) -> Counter[tuple[str, str]]:
        """Rejections by way and reason."""
        return Counter((one.way, one.reason) for task in self.tasks for one in task.rejections)

    @property
    def num_unchecked(self) -> int:
        """Accepted *constraint* variants with a rule no program can check (docs/method.md, section 3)."""
        variants = (variant for task in self.tasks for variant in task.variants)
        return sum(variant.way == "constraint" and variant.constraint is None for variant in variants)

    @property
    def is_unread(self) -> bool:
        """Whether answers came, and none of them could be read."""
        reasons = {one.reason for task in self.tasks for one in task.rejections}
        return bool(reasons & UNREAD) and reasons <= UNREAD | UNASKED and not self.by_way

    @property
    def short(self) -> tuple[str, ...]:
        """The tasks with fewer variants than wanted."""
        return tuple(task.task for task in self.tasks if len(task.variants) < self.wanted)
