"""Plots of scores: over the steps, by kind of broken rule, every step on every other, gain per task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kpig.records import HELD_OUT, SEEN
from kpig.report.drawing import UNTUNED_COLOUR, Trace, draw, run_colour, ticks
from kpig.report.record import RunRecord, final_tasks
from kpig.report.table import Row, comparison_rows
from kpig.report.text import decimal, plot_label
from kpig.scoring.records import TaskScore

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

KIND_COLOURS = ("#c0504d", "#e0a03c", "#5b8fc7", "#8a6fb5", "#6f7782", "#4fa08b")


def step_figure(runs: Sequence[RunRecord], group: str) -> "Figure | None":
    """P-score of a group of tasks after each step, a line per run."""
    traces: list[Trace] = []
    for number, run in enumerate(runs):
        points = step_points(run, group)
        if points:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": plot_label(run.name),
                    "x": [step for step, _ in points],
                    "y": [score for _, score in points],
                    "line": {"color": run_colour(number), "width": 2.5},
                    "marker": {"size": 8},
                    "hovertemplate": "step %{x}: %{y:.1f}",
                }
            )
    if not traces:
        return None
    last = max(max(trace["x"]) for trace in traces)
    return draw(
        traces,
        330,
        showlegend=True,
        xaxis={"title": {"text": "step"}, "dtick": 1 + last // 12, "showgrid": False},
        yaxis={"title": {"text": "P-score"}, "range": [-3, 103]},
    )


def step_points(run: RunRecord, group: str) -> list[tuple[int, float]]:
    """Each step and the P-score of the group after it; "seen" of step 0 are all tasks of the stream."""
    scored = {step.step: step.group(group) for step in run.scores.steps}
    if group == SEEN:
        scored[0] = scored.get(0) or run.scores.steps[0].later
    return [(step, found.p_score) for step, found in scored.items() if found]


@dataclass(frozen=True)
class Broken:
    """What a bar of broken rules shows: percent of responses by kind, and of those that break any rule."""

    name: str
    violations: Mapping[str, float]
    v_score: float


def broken(rows: Sequence[Row], group: str) -> list[Broken]:
    """The bar of every row that has tasks of the group, SEEN or HELD_OUT."""
    found = [(row.name, row.seen if group == SEEN else row.held_out) for row in rows]
    return [Broken(name, score.violations, score.v_score) for name, score in found if score]


def violation_figure(bars: Sequence[Broken]) -> "Figure | None":
    """Broken rules by kind, a stack per bar, and its V-score; None without bars."""
    if not bars:
        return None
    positions = list(range(len(bars)))
    kinds = dict.fromkeys(kind for bar in bars for kind in bar.violations)
    traces: list[Trace] = [
        {
            "type": "bar",
            "name": plot_label(kind.replace("_", " ")),
            "x": positions,
            "y": [bar.violations.get(kind, 0) for bar in bars],
            "marker": {"color": KIND_COLOURS[number % len(KIND_COLOURS)]},
            "width": 0.55,
            "hovertemplate": "%{y:.1f} %",
        }
        for number, kind in enumerate(kinds)
        if any(bar.violations.get(kind) for bar in bars)
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "V-score",
            "x": positions,
            "y": [bar.v_score for bar in bars],
            "marker": {
                "symbol": "diamond",
                "size": 11,
                "color": "#fff",
                "line": {"color": "#20242b", "width": 2},
            },
            "hovertemplate": "%{y:.1f} %",
        }
    )
    return draw(
        traces,
        380,
        barmode="stack",
        showlegend=True,
        xaxis=ticks([bar.name for bar in bars]) | {"showgrid": False, "range": [-0.6, len(bars) - 0.4]},
        yaxis={"title": {"text": "% of responses"}, "rangemode": "tozero"},
    )


def matrix_figure(matrix: Sequence[Sequence[float | None]]) -> "Figure | None":
    """P-score on the tasks of every step (across) after every step (down)."""
    if not matrix or not matrix[0]:
        return None
    num_columns = len(matrix[0])
    trace = {
        "type": "heatmap",
        "z": [list(row) for row in matrix],
        "x": list(range(1, num_columns + 1)),
        "y": list(range(len(matrix))),
        "text": [["" if value is None else decimal(value) for value in row] for row in matrix],
        "texttemplate": "%{text}" if num_columns <= 10 else "",
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[0, "#eef2f8"], [0.5, "#86abdd"], [1, "#1f4d96"]],
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "hovertemplate": "after step %{y}, tasks of step %{x}: %{text}<extra></extra>",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickvals": [0, 50, 100]},
    }
    return draw(
        [trace],
        120 + 34 * min(len(matrix), 18),
        xaxis={"title": {"text": "tasks of step i"}, "dtick": 1 + num_columns // 12, "showgrid": False},
        yaxis={
            "title": {"text": "after step t"},
            "dtick": 1 + len(matrix) // 18,
            "autorange": "reversed",
            "showgrid": False,
        },
    )


def gain_figure(runs: Sequence[RunRecord]) -> "Figure | None":
    """Key-part gain of every task, a bar per run, the untuned model's where it is one for all."""
    tasks = final_tasks(runs)
    same_start = sum(row.untuned for row in comparison_rows(runs)) == 1
    series = [("untuned", runs[0].scores.steps[0].tasks, UNTUNED_COLOUR)] if same_start else []
    series += [(run.name, run.scores.steps[-1].tasks, run_colour(i)) for i, run in enumerate(runs)]
    traces: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": plot_label(name),
            "y": list(range(len(tasks))),
            "x": [_gain(scores.get(task)) for task in tasks],
            "marker": {"color": colour},
            "hovertemplate": "%{y}: %{x:.2f}",
        }
        for name, scores, colour in series
    ]
    if all(value is None for trace in traces[same_start:] for value in trace["x"]):
        return None
    labels = [name + " (held-out)" * (score.group == HELD_OUT) for name, score in tasks.items()]
    return draw(
        traces,
        110 + len(tasks) * (14 + 11 * len(traces)),
        barmode="group",
        bargap=0.25,
        showlegend=True,
        xaxis={"title": {"text": "gain"}, "zeroline": True, "zerolinecolor": UNTUNED_COLOUR},
        yaxis=ticks(labels) | {"autorange": "reversed", "showgrid": False},
    )


def _gain(score: TaskScore | None) -> float | None:
    return None if score is None else score.gain
