"""The starting model, untouched: the lower bound of a comparison."""

from collections.abc import Sequence

from kpig.methods.base import Method
from kpig.records import Task


class Init(Method):
    """The starting model, untouched (CITB "Init")."""

    shards = True

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        return [tuple(task for step in steps for task in step)]

    def num_updates(self, default: int) -> int:
        return 0
