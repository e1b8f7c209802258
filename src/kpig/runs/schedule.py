"""The steps that a method makes of a stream, each with the number of its updates."""

from collections.abc import Sequence

from kpig.config import RunConfig
from kpig.methods import growth
from kpig.methods.base import Method, Step
from kpig.records import Stream, Task
from kpig.training import loop


def steps(config: RunConfig, method: Method, tasks: Stream, lengths: Sequence[int] = ()) -> list[Step]:
    """The steps to learn; `lengths` as in `growth.arranged`."""
    arranged = growth.arranged(method, tasks.steps, lengths)
    counts = [loop.num_updates(step, config.train) for step in tasks.steps]
    bounds = [loop.bounds(step, config.train) for step in tasks.steps]
    if len(arranged) != len(counts):
        counts, bounds = [sum(counts)] * len(arranged), [loop.joined(bounds)] * len(arranged)
    return [
        _planned(number, tuple(chosen), method, count, bound)
        for number, (chosen, count, bound) in enumerate(zip(arranged, counts, bounds, strict=True), 1)
    ]


def _planned(
    number: int, tasks: tuple[Task, ...], method: Method, count: int, bounds: tuple[int, ...]
) -> Step:
    """A step of the plan; where a method has a number of updates of its own, every batch is full."""
    own = method.num_updates(count)
    return Step(number, tasks, own, bounds if own == count else ())
