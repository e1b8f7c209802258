"""Plain training: the untouched model and joint training, which bound a comparison, and sequential tuning."""

from collections.abc import Sequence

from kpig.methods.base import Method
from kpig.records import Task


class Sequential(Method):
    """Cross-entropy on the current step only."""


class Mtl(Method):
    """All steps' training data in one step; the upper bound (CITB "Multi").

    It gets as many updates as all steps together would.
    """

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        return [tuple(task for step in steps for task in step)]


class Init(Method):
    """The starting model, untouched (CITB "Init")."""

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        return [tuple(task for step in steps for task in step)]

    def num_updates(self, default: int) -> int:
        return 0
