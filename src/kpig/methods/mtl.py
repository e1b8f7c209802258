"""Joint training on all steps at once: the upper bound of a comparison."""

from collections.abc import Sequence

from kpig.methods.base import Method
from kpig.records import Task


class Mtl(Method):
    """All steps' training data in one step; the upper bound (CITB "Multi").

    It gets as many updates as all steps together would.
    """

    shards = True

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        return [tuple(task for step in steps for task in step)]
