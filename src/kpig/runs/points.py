"""A run as points of curves: the figures of each update once, and of each step's scores. No torch."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from sys import float_info
from typing import Any

from kpig.records import HELD_OUT, LATER, SEEN
from kpig.runs.folder import RunDir, is_anew, is_update
from kpig.scoring import scores
from kpig.scoring.records import Cost, StepScores

NAME = re.compile(r"\w[\w.-]*")
MOST_NAME_BYTES, MOST_KEPT_CHARACTERS = 200, 40
"""Part of a name that every tracker takes as it is and tells from every other such part; longer ones are cut.
MLflow makes files of the parts, and file systems end at 255 bytes."""

TRAIN, TASK, COST = "train", "task", "cost"
"""What the names of figures begin with, beside the groups of tasks."""

NOT_FIGURES = frozenset({"t"})
"""Of an update's record: when it was written."""


@dataclass(frozen=True)
class Point:
    """Figures of one moment, by name; `number` counts the points of a run from 0.

    `update` counts the updates done so far, those of a step that was begun anew included.
    """

    number: int
    update: int
    figures: Mapping[str, float]


class Curve:
    """Makes points of what a run writes down, in its order.

    An update that is done again after a kill is no new point. The last update of a step waits for the step's
    scores and is one point with them, so that no two points are of one update.
    """

    def __init__(self) -> None:
        self._updates: set[tuple[int, int]] = set()
        self._scored: set[int] = set()
        self._num_updates = 0
        self.num_points = 0
        self._waiting: Mapping[str, float] | None = None

    def logged(self, event: Mapping[str, Any]) -> list[Point]:
        """The points that are whole now that an event was written."""
        if is_anew(event):
            self._updates = {one for one in self._updates if one[0] < event["step"]}
            return self._released()
        if not is_update(event) or (key := (event["step"], event["update"])) in self._updates:
            return []
        found = self._released()
        self._updates.add(key)
        self._num_updates += 1
        record = {name: value for name, value in event.items() if name not in NOT_FIGURES}
        self._waiting = dict(numbers(record, TRAIN))
        return found

    def finished(self, step: StepScores, cost: Cost) -> list[Point]:
        """The point of a step that is done, with its last update."""
        if step.step in self._scored:
            return []
        self._scored.add(step.step)
        self._waiting = {**(self._waiting or {}), **_of_scores(step), **dict(numbers(asdict(cost), COST))}
        return self._released()

    def is_scored(self, step: int) -> bool:
        """Whether the scores of a step are among the points."""
        return step in self._scored

    def _released(self) -> list[Point]:
        if self._waiting is None:
            return []
        found = Point(self.num_points, self._num_updates, self._waiting)
        self.num_points, self._waiting = self.num_points + 1, None
        return [found]


def replayed(folder: RunDir, curve: Curve) -> Iterator[Point]:
    """The points of all that a run has written so far; `curve` goes on from there."""
    for event in folder.events():
        if is_anew(event) or is_update(event):
            yield from _done_before(event["step"], folder, curve)
        yield from curve.logged(event)
    yield from _done_before(folder.current, folder, curve)


def _done_before(step: int, folder: RunDir, curve: Curve) -> Iterator[Point]:
    """The points of the steps before one, as far as they are done and new to the curve."""
    for number in range(step):
        if not curve.is_scored(number) and folder.is_done(number):
            yield from curve.finished(*scores.read_step(folder.step(number) / "scores.json"))


def numbers(value: Mapping[str, Any], name: str) -> Iterator[tuple[str, float]]:
    """The finite numbers in a table and in those inside it, by their names behind `name`."""
    for key, one in value.items():
        path = f"{name}/{safe(str(key))}"
        if isinstance(one, Mapping):
            yield from numbers(one, path)
        elif isinstance(one, int | float) and not isinstance(one, bool) and abs(one) <= float_info.max:
            yield path, one


def safe(text: str) -> str:
    """Part of a figure's name for any text: itself, or what is safe of it and a digest of the whole."""
    if NAME.fullmatch(text) and len(text.encode()) <= MOST_NAME_BYTES:
        return text
    kept = re.sub(r"[^\w.-]+", "_", text)[:MOST_KEPT_CHARACTERS].lstrip(".-")
    return f"{kept or '_'}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _of_scores(step: StepScores) -> dict[str, float]:
    groups = {name: asdict(group) for name in (SEEN, LATER, HELD_OUT) if (group := step.group(name))}
    tasks = {TASK: {name: asdict(score) for name, score in step.tasks.items()}}
    return {name: one for table, scored in (groups | tasks).items() for name, one in numbers(scored, table)}
