"""How long a run will still take: its parts, and what those of the same kind have taken so far."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Literal

from kpig.config import EvaluateSection, RunConfig
from kpig.errors import RunError
from kpig.methods.base import Method, Step
from kpig.records import HELD_OUT, LATER, SEEN, Example, Stream, Task
from kpig.runs.folder import RunDir
from kpig.scoring import scores
from kpig.training import loop

Kind = Literal["train", "evaluate"]

NUM_RECENT = 2
"""Parts of a kind whose speed stands for those to come: the one at work and the one before it. Chosen: steps
grow slower as more tasks are replayed and measured."""

FEWEST = 2
"""Units after the first before a part at work is asked for its speed: the first one is slower."""


MOST_ASKED = 200
"""Updates of a step for which a method is asked how much it replays; the others are taken to be alike."""


@dataclass(frozen=True)
class Part:
    """A step's training or evaluation: `count` updates or answers, which weigh `work` in all.

    The work of two parts of a kind stands in the same measure, whatever that is.
    """

    kind: Kind
    step: int
    count: int
    work: float


@dataclass(frozen=True)
class _Taken:
    work: float
    seconds: float


class Forecast:
    """Sees the parts of a run begin, advance and end, in order, and tells the seconds that are left.

    `parts` are those that are not done yet. `before` are work and seconds of an evaluation of an earlier
    start, which stands for those to come until one of this start has ended.
    """

    def __init__(self, parts: Sequence[Part], before: tuple[float, float] | None = None):
        self.parts = list(parts)
        self._taken: dict[Kind, list[_Taken]] = {"train": [], "evaluate": []}
        if before is not None:
            self._taken["evaluate"].append(_Taken(*before))
        self._at, self._first, self._begun = 0, 0, time.monotonic()
        self._warm: tuple[float, int] | None = None

    def begin(self, kind: Kind, step: int, done: int = 0) -> None:
        """A part begins, `done` of its units behind it."""
        self._at = next(n for n, part in enumerate(self.parts) if (part.kind, part.step) == (kind, step))
        self._begun, self._first, self._warm = time.monotonic(), done, None

    def end(self) -> None:
        """The part that was begun is done."""
        part = self.parts[self._at]
        share = 1 - self._first / max(1, part.count)
        if share > 0:
            self._taken[part.kind].append(_Taken(part.work * share, time.monotonic() - self._begun))

    def left(self, done: int) -> float | None:
        """Seconds until the run ends, with `done` units of the part at work; None while it is too early."""
        part = self.parts[self._at]
        now = time.monotonic()
        if self._warm is None:
            self._warm = now, done
        here = self._here(part, done, now)
        total = 0.0
        for number, one in enumerate(self.parts[self._at :]):
            rate = self._rate(one.kind, here if one.kind == part.kind else None)
            open_share = 1 - done / max(1, one.count) if number == 0 else 1.0
            if rate is None and one.work * open_share > 0:
                return None
            total += (rate or 0.0) * one.work * open_share
        return total

    def _here(self, part: Part, done: int, now: float) -> _Taken | None:
        """What the part at work has taken since its first units, None where that is too little."""
        began, first = self._warm or (now, done)
        if done - first < FEWEST or not part.work:
            return None
        return _Taken(part.work * (done - first) / part.count, now - began)

    def _rate(self, kind: Kind, here: _Taken | None) -> float | None:
        """Seconds per work of a kind; None where nothing was measured."""
        recent = [*self._taken[kind], *([here] if here else [])][-NUM_RECENT:]
        work = sum(one.work for one in recent)
        return sum(one.seconds for one in recent) / work if work else None


def groups(
    number: int, steps: Sequence[Step], tasks: Stream, settings: EvaluateSection
) -> Mapping[str, Sequence[Task]]:
    """What is scored after a step, in groups; step 0 is the untuned model, which is asked about all."""
    if not settings.is_due(number, len(steps)):
        return {}
    if number == 0:
        return {LATER: tasks.tasks, HELD_OUT: tasks.held_out}
    seen = [task for step in steps[:number] for task in step.tasks]
    later = steps[number].tasks if number < len(steps) else ()
    return {SEEN: seen, LATER: later, HELD_OUT: tasks.held_out}


def of_run(
    folder: RunDir,
    config: RunConfig,
    method: Method,
    steps: Sequence[Step],
    tasks: Stream,
    num_answers: Callable[[Task], int],
) -> Forecast:
    """The forecast of what is left to do in a run's folder; `num_answers` are those that score a task.

    RunError where the folder's scores are damaged.
    """
    left = [number for number in range(len(steps) + 1) if not folder.is_done(number)]
    counts = {task.name: num_answers(task) for task in (*tasks.tasks, *tasks.held_out)}
    sizes = [_sizes(step) for step in steps]
    parts: list[Part] = []
    for number in left:
        if number:
            step = steps[number - 1]
            work = _training_work(config, method, step, sizes[:number])
            parts.append(Part("train", number, step.num_updates, work))
        scored = list(chain.from_iterable(groups(number, steps, tasks, config.evaluate).values()))
        num_tests = sum(len(task.test) for task in scored)
        if scored:
            parts.append(Part("evaluate", number, sum(counts[task.name] for task in scored), num_tests))
    return Forecast(parts, _last_evaluation(folder))


def _training_work(config: RunConfig, method: Method, step: Step, sizes: Sequence[tuple[int, int]]) -> float:
    """Characters that the updates of a step are expected to read, replayed ones included.

    `sizes` are those of the steps before it and its own, the last.
    """
    *before, own = sizes
    asked = [loop.clock_at(config, step, update) for update in range(min(step.num_updates, MOST_ASKED))]
    replays = bool(before) and type(method).replay is not Method.replay
    per_update = fmean(clock.num_current for clock in asked) if asked else 0.0
    replayed = fmean(method.num_replayed(clock) for clock in asked) if asked and replays else 0.0
    return step.num_updates * (per_update * _mean([own]) + replayed * _mean(before))


def _sizes(step: Step) -> tuple[int, int]:
    """Characters and number of a step's examples; of tests where the training examples are gone."""
    sizes = [_size(one) for task in step.tasks for one in task.train or task.test]
    return sum(sizes), len(sizes)


def _mean(sizes: Sequence[tuple[int, int]]) -> float:
    """Characters of an example, on average."""
    return sum(total for total, _ in sizes) / max(1, sum(num for _, num in sizes))


def _size(example: Example) -> int:
    texts = (example.instruction.text, example.input, example.response)
    return sum(map(len, texts)) + sum(len(message.text) for message in example.context)


def _last_evaluation(folder: RunDir) -> tuple[float, float] | None:
    """Test examples and seconds of the last evaluation that is done; None before the first.

    None where it took no time, being another run's (`kpig.runs.untuned`). None where a file is damaged, too:
    whoever goes on from that step tells it, and what to do.
    """
    done = [number for number in range(folder.current) if folder.is_done(number)]
    try:
        read = [scores.read_step(folder.step(number) / "scores.json") for number in done]
    except RunError:
        return None
    scored = [number for number, (step, _) in enumerate(read) if step.tasks]
    if not scored:
        return None
    step, cost = read[scored[-1]]
    earlier = read[scored[-1] - 1][1].eval_seconds if scored[-1] else 0.0
    num_tests = sum(task.n for task in step.tasks.values())
    seconds = cost.eval_seconds - earlier
    return (num_tests, seconds) if num_tests and seconds > 0 else None
