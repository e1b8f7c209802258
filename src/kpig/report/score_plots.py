"""Plots of scores: over the steps, by kind of broken rule, gain per task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kpig.records import HELD_OUT, SEEN
from kpig.report.colours import UNTUNED_COLOUR, looks
from kpig.report.drawing import Trace, draw, ticks
from kpig.report.portrait import Portrait
from kpig.report.record import RunRecord, final_tasks
from kpig.report.table import Row, comparison_rows
from kpig.report.text import plot_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

KIND_COLOURS = ("#d3463f", "#cc6a14", "#2f73d9", "#7f66da", "#6b7686", "#168a9c")


def step_figure(found: Sequence[Portrait], group: str) -> "Figure | None":
    """P-score of a group of tasks after each step, a line per run, with standard errors."""
    traces: list[Trace] = []
    for look, one in zip(looks(one.run.scores.method for one in found), found, strict=True):
        points = step_points(one.run, group)
        if points:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": plot_label(one.run.name),
                    "x": [step for step, _ in points],
                    "y": [score for _, score in points],
                    "error_y": _errors(one, group, [step for step, _ in points]),
                    "line": {"color": look.colour, "width": 2.2, "dash": look.dash},
                    "marker": {"size": 8, "symbol": look.symbol},
                    "hovertemplate": "step %{x}: %{y:.1f}",
                }
            )
    if not traces:
        return None
    last = max(max(trace["x"]) for trace in traces)
    return draw(
        traces,
        330,
        showlegend=len(traces) > 1,
        xaxis={"title": {"text": "step"}, "dtick": 1 + last // 12, "showgrid": False},
        yaxis={"title": {"text": "P-score"}, "range": [-3, 103]},
    )


def _errors(found: Portrait, group: str, steps: Sequence[int]) -> dict[str, Any]:
    row = found.grid.means.get(group)
    known = dict(zip(found.grid.steps, row.errors["p"], strict=True)) if row else {}
    return {"type": "data", "array": [known.get(step) for step in steps], "thickness": 1.2, "width": 4}


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


def gain_figure(found: Sequence[Portrait]) -> "Figure | None":
    """Key-part gain of every task, a bar per run, the untuned model's where it is one for all."""
    runs = [one.run for one in found]
    tasks = final_tasks(runs)
    same_start = sum(row.untuned for row in comparison_rows(runs)) == 1
    series = [("untuned", found[0], 0, UNTUNED_COLOUR)] if same_start else []
    colours = [look.colour for look in looks(run.scores.method for run in runs)]
    series += [(one.run.name, one, -1, colour) for one, colour in zip(found, colours, strict=True)]
    traces = [_gain_bars(name, tuple(tasks), one, place, colour) for name, one, place, colour in series]
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


def _gain_bars(name: str, tasks: Sequence[str], found: Portrait, place: int, colour: str) -> Trace:
    """The gain of each task after a step, with its standard error."""
    rows = {row.name: row for row in found.grid.tasks}
    known = [rows.get(task) for task in tasks]
    errors = [row and row.errors["gain"][place] for row in known]
    return {
        "type": "bar",
        "orientation": "h",
        "name": plot_label(name),
        "y": list(range(len(tasks))),
        "x": [row and row.values["gain"][place] for row in known],
        "error_x": {"type": "data", "array": errors, "thickness": 1, "width": 2},
        "marker": {"color": colour},
        "hovertemplate": "%{y}: %{x:.2f}",
    }
