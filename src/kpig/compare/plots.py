"""Plots of a comparison: scores over the steps, and broken rules by kind."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from kpig.compare.drawing import looks_of, room, titled
from kpig.compare.lines import Line
from kpig.compare.statistics import Estimate, estimate
from kpig.records import HELD_OUT, SEEN
from kpig.report.colours import Look
from kpig.report.drawing import Trace, draw
from kpig.report.score_plots import Broken, step_points, violation_figure
from kpig.report.text import plot_label
from kpig.scoring.records import GroupScore

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

NUM_RESAMPLES = 2_000
"""Bootstrap draws of an interval in a plot, a fifth of those of the table: there is one for every method and
step, and a plot shows no more digits. Chosen."""

MAX_DRAWN = 8
"""Lines of the plot over the steps that are drawn at once; the legend brings in the others."""

GROUPS = {SEEN: "Seen tasks", HELD_OUT: "Held-out tasks"}


def step_figure(lines: Sequence[Line], group: str, reference: str = "") -> "Figure | None":
    """Mean P-score of a group of tasks after each step, a line and its interval per label.

    Of many labels only the first MAX_DRAWN, `reference` and the bounds are drawn until the legend is clicked.
    """
    series = [(number, line, over_steps(line, group)) for number, line in enumerate(lines)]
    series = [one for one in series if one[2]]
    if not series:
        return None
    last = max(max(points) for _, _, points in series)
    styles = looks_of(lines)
    traces = []
    for number, line, points in series:
        shown = (
            [_level(styles[number], line, points, last)]
            if max(points) == 1 < last
            else [_band(styles[number], points), _curve(styles[number], line, points)]
        )
        hidden = {} if _is_drawn(number, line, reference) else {"visible": "legendonly"}
        traces += [trace | hidden | {"legendgroup": str(number)} for trace in shown]
    return draw(
        traces,
        room(len(series)),
        showlegend=True,
        xaxis=titled("step") | {"dtick": 1 + last // 12, "showgrid": False},
        yaxis=titled("P-score"),
    )


def violations(lines: Sequence[Line], group: str) -> "Figure | None":
    """Broken rules by kind after the last step, a stack for each line; None without tasks of the group."""
    found = {
        line.label: [run.record.scores.final.group(group) for run in line.runs.values()] for line in lines
    }
    scored = {label: [score for score in scores if score] for label, scores in found.items()}
    return violation_figure([_mean(label, scores) for label, scores in scored.items() if scores])


def over_steps(line: Line, group: str) -> dict[int, Estimate]:
    """The mean P-score over the line's runs after every step that some run has."""
    scores: dict[int, list[float]] = {}
    for run in line.runs.values():
        for step, score in step_points(run.record, group):
            scores.setdefault(step, []).append(score)
    return {step: _known(estimate(scores[step], NUM_RESAMPLES)) for step in sorted(scores)}


def hidden_note(lines: Sequence[Line]) -> str:
    """What the plot over steps does not draw at once; empty where it draws all."""
    if len(lines) <= MAX_DRAWN + sum(line.is_bound for line in lines):
        return ""
    return f"Drawn: the first {MAX_DRAWN} by rank, the reference and bounds; click a name for the others."


def _mean(label: str, scores: Sequence[GroupScore]) -> Broken:
    kinds = dict.fromkeys(kind for score in scores for kind in score.violations)
    means = {kind: fmean(score.violations.get(kind, 0) for score in scores) for kind in kinds}
    return Broken(label, means, fmean(score.v_score for score in scores))


def _curve(style: Look, line: Line, points: Mapping[int, Estimate]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plot_label(line.label),
        "x": list(points),
        "y": [point.mean for point in points.values()],
        "line": {"color": style.colour, "width": 2.5, "dash": style.dash},
        "marker": {"size": 8, "symbol": style.symbol},
        "hovertemplate": "step %{x}: %{y:.1f}",
    }


def _band(style: Look, points: Mapping[int, Estimate]) -> Trace:
    """The area between the ends of the intervals; a point without one has no width."""
    high = [point.mean if point.high is None else point.high for point in points.values()]
    low = [point.mean if point.low is None else point.low for point in points.values()]
    return {
        "type": "scatter",
        "mode": "lines",
        "showlegend": False,
        "hoverinfo": "skip",
        "x": [*points, *reversed(points)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": style.colour,
        "opacity": 0.16,
        "line": {"width": 0},
    }


def _level(style: Look, line: Line, points: Mapping[int, Estimate], last: int) -> Trace:
    """A dotted line across all steps at the final score."""
    mean = list(points.values())[-1].mean
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plot_label(line.label),
        "x": [0, last],
        "y": [mean, mean],
        "line": {"color": style.colour, "width": 2, "dash": "dot"},
        "hovertemplate": "%{y:.1f}",
    }


def _is_drawn(number: int, line: Line, reference: str) -> bool:
    return number < MAX_DRAWN or line.label == reference or line.is_bound


def _known(found: Estimate | None) -> Estimate:
    assert found is not None, "there is a value wherever this is asked"
    return found
