"""Task by step: the numbers of the heat map and of each task's curves, with their standard errors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpig.records import HELD_OUT, LATER, SEEN
from kpig.report import spread
from kpig.report.answered import Answered
from kpig.report.record import RunRecord, learned_at
from kpig.report.spread import MEASURES, Interval
from kpig.runs.gate import Change
from kpig.scoring.records import GroupScore, StepScores, TaskScore

READ: Mapping[str, Callable[[TaskScore | GroupScore], float | None]] = {
    "p": lambda score: score.p_score,
    "v": lambda score: score.v_score,
    "half": lambda score: score.half_listening,
    "gain": lambda score: score.gain,
}
"""How to read each of MEASURES."""


@dataclass(frozen=True)
class Row:
    """A line of the heat map: a task, or the mean over a group of tasks, by step.

    `learned` is the step that taught it, 0 for a held-out task, None for one that no step has taught yet.
    """

    name: str
    learned: int | None
    metric: str
    values: Mapping[str, Sequence[float | None]]
    errors: Mapping[str, Sequence[float | None]]

    def interval(self, measure: str, place: int) -> Interval | None:
        """The normal 95 % interval of a measure after a step; None where its error is not known."""
        value, error = self.values[measure][place], self.errors[measure][place]
        if value is None or error is None:
            return None
        return spread.around(value, error, *spread.RANGES[measure])


@dataclass(frozen=True)
class Grid:
    """The steps, the tasks in the order in which they were learned, held-out ones last, and two mean rows."""

    steps: Sequence[int]
    tasks: Sequence[Row]
    means: Mapping[str, Row]


def grid(run: RunRecord, answered: Answered) -> Grid:
    """The numbers of scores.json, and errors over the test examples where the run keeps its predictions."""
    steps = [step.step for step in run.scores.steps]
    errors = {
        key: {name: spread.standard_error(found) for name, found in spread.values(rows).items()}
        for key, rows in answered.answers.items()
    }
    names = _ordered(run)
    tasks = [_task(run, name, learned, errors) for name, learned in names.items()]
    groups = {SEEN: "mean of seen tasks", HELD_OUT: "mean of held-out tasks"}
    means = {group: _mean(run, group, name, errors) for group, name in groups.items()}
    return Grid(steps, tasks, {group: row for group, row in means.items() if any(_known(row))})


def as_data(found: Grid, worse: Sequence[Change]) -> dict[str, Any]:
    """The grid as the page's script reads it; `worse` are the changes of the last step beyond noise."""
    return {
        "steps": list(found.steps),
        "tasks": [_row_data(row) for row in found.tasks],
        "means": {group: _row_data(row) for group, row in found.means.items()},
        "worse": [{"task": one.task, "since": one.since, "points": one.points} for one in worse],
    }


def _row_data(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "learned": row.learned,
        "metric": row.metric,
        "values": {name: _rounded(values) for name, values in row.values.items()},
        "errors": {name: _rounded(values) for name, values in row.errors.items()},
    }


def _rounded(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in values]


def _known(row: Row) -> Iterable[bool]:
    return (value is not None for values in row.values.values() for value in values)


def _ordered(run: RunRecord) -> dict[str, int | None]:
    """Every task with the step that taught it, in learning order; then those to come, then held-out ones."""
    found = learned_at(run)
    learned: dict[str, int | None] = {name: found[name] for name in sorted(found, key=lambda one: found[one])}
    groups = {name: score.group for step in run.scores.steps for name, score in step.tasks.items()}
    to_come = {name: None for name, group in groups.items() if group != HELD_OUT and name not in learned}
    return learned | to_come | {name: 0 for name, group in groups.items() if group == HELD_OUT}


Errors = Mapping[tuple[int, str], Mapping[str, float | None]]


def _task(run: RunRecord, name: str, learned: int | None, errors: Errors) -> Row:
    scores = [step.tasks.get(name) for step in run.scores.steps]
    metric = next(score.metric for score in scores if score)
    found = [errors.get((step.step, name), {}) for step in run.scores.steps]
    return Row(
        name,
        learned,
        metric,
        {key: [score and read(score) for score in scores] for key, read in READ.items()},
        {key: [one.get(key) for one in found] for key in MEASURES},
    )


def _mean(run: RunRecord, group: str, name: str, errors: Errors) -> Row:
    steps = run.scores.steps
    scores = [_group(step, group) for step in steps]
    return Row(
        name,
        None,
        "",
        {key: [score and read(score) for score in scores] for key, read in READ.items()},
        {key: [_mean_error(step, group, key, errors) for step in steps] for key in MEASURES},
    )


def _group(step: StepScores, group: str) -> GroupScore | None:
    """The group's own means; "seen" of step 0 are all tasks of the stream, as everywhere in the report."""
    return step.later if group == SEEN and not step.step else step.group(group)


def _mean_error(step: StepScores, group: str, key: str, errors: Errors) -> float | None:
    meant = LATER if group == SEEN and not step.step else group
    members = [name for name, one in step.tasks.items() if one.group == meant and READ[key](one) is not None]
    return spread.of_mean(errors.get((step.step, name), {}).get(key) for name in members)
