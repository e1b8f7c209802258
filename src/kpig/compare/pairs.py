"""Any two lines of a comparison held against each other, over the cells and the tasks that both have."""

import itertools
from collections.abc import Mapping
from typing import Any

from kpig.compare.answers import cells_of
from kpig.compare.comparison import Comparison
from kpig.compare.lines import Line, values
from kpig.compare.measures import MEASURES, Measure
from kpig.compare.statistics import Estimate, paired_difference

MOST_PAIRED = 10
"""Lines of which every two have an interval; further ones have it against the reference alone. Chosen: 45
pairs in five scores take about a second."""

MAIN = tuple(measure for measure in MEASURES if measure.main)


def as_data(comparison: Comparison) -> dict[str, Any]:
    """What the page's script holds against each other, everything by the place of the line.

    `values` are the main scores by cell. `differences` are those of a line from a later one, named by both
    places: mean, ends of the interval, number of pairs and p, corrected for no other pair.
    `tasks` are [name, group, metric], `scores` P and V of each by cell, in percent.
    """
    lines, cells = comparison.lines, cells_of(comparison.lines)
    tasks = _tasks(comparison)
    return {
        "measures": [[one.key, one.short, one.better, one.digits] for one in MAIN],
        "values": {one.key: [_by_cell(values(line, one), cells) for line in lines] for one in MAIN},
        "differences": _differences(comparison),
        "tasks": [[name, *about] for name, about in tasks.items()],
        "scores": [[_task_scores(line, cell, tasks) for cell in cells] for line in lines],
    }


def _by_cell(found: Mapping[Any, float], cells: list[Any]) -> list[float | None]:
    return [found.get(cell) for cell in cells]


def _differences(comparison: Comparison) -> dict[str, dict[str, list[float | None]]]:
    lines = comparison.lines
    found = {}
    for one, other in itertools.combinations(range(len(lines)), 2):
        labels = (lines[one].label, lines[other].label)
        if other < MOST_PAIRED or comparison.reference in labels:
            found[f"{one}/{other}"] = _of_pair(lines[one], lines[other])
    return found


def _of_pair(one: Line, other: Line) -> dict[str, list[float | None]]:
    compared = {measure.key: _difference(one, other, measure) for measure in MAIN}
    return {key: [*_numbers(found[0]), found[1]] for key, found in compared.items() if found}


def _difference(one: Line, other: Line, measure: Measure) -> tuple[Estimate, float] | None:
    return paired_difference(values(one, measure), values(other, measure))


def _numbers(found: Estimate) -> list[float | None]:
    return [found.mean, found.low, found.high, found.n]


def _tasks(comparison: Comparison) -> dict[str, tuple[str, str]]:
    """Group and metric of every task that some run ends with, in order of appearance."""
    found: dict[str, tuple[str, str]] = {}
    for line in comparison.lines:
        for run in line.runs.values():
            for name, score in run.record.scores.steps[-1].tasks.items():
                found.setdefault(name, (score.group.replace("_", "-"), score.metric))
    return found


def _task_scores(line: Line, cell: Any, tasks: Mapping[str, Any]) -> list[list[float] | None] | None:
    run = line.runs.get(cell)
    if run is None:
        return None
    scored = run.record.scores.steps[-1].tasks
    return [
        [round(scored[name].p_score, 2), round(scored[name].v_score, 2)] if name in scored else None
        for name in tasks
    ]
