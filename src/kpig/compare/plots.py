"""Plots of a comparison: scores over the steps, and broken rules by kind."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from kpig.compare.comparison import Comparison
from kpig.compare.drawing import Figure, Trace, figure, labelled, looks, room, titled
from kpig.compare.lines import Line
from kpig.compare.statistics import Estimate, estimate
from kpig.records import HELD_OUT, SEEN
from kpig.report.colours import Look
from kpig.report.score_plots import KIND_COLOURS, step_points
from kpig.report.text import plot_label
from kpig.scoring.records import GroupScore

NUM_RESAMPLES = 2_000
"""Bootstrap draws of an interval in a plot, a fifth of those of the table: there is one for every method and
step, and a plot shows no more digits. Chosen."""

MAX_DRAWN = 8
"""Lines of the plot over the steps that are drawn at once; the legend brings in the others."""

GROUPS = {SEEN: "Seen tasks", HELD_OUT: "Held-out tasks"}


def step_figures(comparison: Comparison) -> dict[str, Figure]:
    """Mean P-score after each step, by group of tasks; groups that no run has are left out."""
    found = {group: step_figure(comparison.lines, group, comparison.reference) for group in GROUPS}
    return {group: one for group, one in found.items() if one}


def step_figure(lines: Sequence[Line], group: str, reference: str = "") -> Figure | None:
    """Mean P-score of a group of tasks after each step, a line and its interval per label.

    Of many labels only the first MAX_DRAWN, `reference` and the bounds are drawn until the legend is clicked.
    """
    series = [(number, line, over_steps(line, group)) for number, line in enumerate(lines)]
    series = [one for one in series if one[2]]
    if not series:
        return None
    last = max(max(points) for _, _, points in series)
    styles = looks(lines)
    traces = []
    for number, line, points in series:
        shown = (
            [_level(styles[number], line, points, last)]
            if max(points) == 1 < last
            else [_band(styles[number], points), _curve(styles[number], line, points)]
        )
        hidden = {} if _is_drawn(number, line, reference) else {"visible": "legendonly"}
        traces += [trace | hidden | {"legendgroup": str(number)} for trace in shown]
    return figure(
        traces,
        room(len(series)),
        xaxis=titled("step") | {"dtick": 1 + last // 12, "showgrid": False},
        yaxis=titled("P-score"),
    )


def violation_figure(lines: Sequence[Line], group: str) -> Figure | None:
    """Broken rules by kind after the last step, a stack for each line; None without tasks of the group."""
    scored = {line.label: _scored(line, group) for line in lines}
    bars = {label: scores for label, scores in scored.items() if scores}
    if not bars:
        return None
    kinds = dict.fromkeys(kind for scores in bars.values() for score in scores for kind in score.violations)
    shares = {
        kind: [fmean(score.violations.get(kind, 0.0) for score in scores) for scores in bars.values()]
        for kind in kinds
    }
    places = list(range(len(bars)))
    traces: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": plot_label(kind.replace("_", " ")),
            "y": places,
            "x": values,
            "width": 0.6,
            "marker": {"color": KIND_COLOURS[number % len(KIND_COLOURS)]},
            "hovertemplate": "%{x:.1f} %",
        }
        for number, (kind, values) in enumerate(shares.items())
        if any(values)
    ]
    v_scores = [fmean(score.v_score for score in scores) for scores in bars.values()]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "V-score",
            "y": places,
            "x": v_scores,
            "marker": {
                "symbol": "diamond",
                "size": 11,
                "color": "#ffffff",
                "line": {"color": "#20242b", "width": 2},
            },
            "hovertemplate": "V %{x:.1f} %",
        }
    )
    return figure(
        traces,
        120 + 34 * len(bars),
        barmode="stack",
        xaxis=titled("% of responses") | {"rangemode": "tozero"},
        yaxis=labelled(list(bars)),
    )


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


def _scored(line: Line, group: str) -> list[GroupScore]:
    found = [run.record.scores.final.group(group) for run in line.runs.values()]
    return [score for score in found if score]


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
