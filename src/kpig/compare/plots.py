"""The plots of a comparison: scores over the steps, broken rules by kind, score against cost."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kpig.compare.comparison import Comparison
from kpig.compare.lines import Line
from kpig.compare.measures import MEASURES
from kpig.compare.statistics import Estimate, estimate
from kpig.records import HELD_OUT, SEEN
from kpig.report.colours import COLOURS, UNTUNED_COLOUR
from kpig.report.drawing import PlotGroup, draw, run_colour, to_html
from kpig.report.score_plots import Broken, step_points, violation_figure
from kpig.report.text import plot_label
from kpig.scoring.records import GroupScore

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

NUM_RESAMPLES = 2_000
"""Bootstrap draws of an interval in a plot, a fifth of those of the table: there is one for every method and
step, and a plot shows no more digits. Chosen."""

BOUND_COLOURS = {"init": UNTUNED_COLOUR, "mtl": "#59616d"}
SYMBOLS = ("circle", "square", "triangle-up", "x")
MAX_DRAWN = 8
"""Lines of the plot over the steps that are drawn at once; the legend brings in the others."""

GROUPS = ((SEEN, "Seen tasks"), (HELD_OUT, "Held-out tasks"))


def figures(comparison: Comparison) -> list[PlotGroup]:
    """Titles, notes and the HTML of every plot; the first HTML brings plotly.js along."""
    lines = comparison.lines
    groups: list[tuple[str, str, list[tuple[str, Figure | None]]]] = [
        (
            "P-score after each step",
            "Mean over the runs, higher is better; the band is its 95 % bootstrap interval. Step 0 is the "
            "untuned model on all tasks of the stream; step t shows the tasks learned up to then. Dotted: "
            "a method that learns everything at once, at its final score." + _hidden_note(lines),
            [(caption, step_figure(lines, group, comparison.reference)) for group, caption in GROUPS],
        ),
        (
            "Broken rules by kind, after the last step",
            "Mean over the runs, lower is better. Bars: percentage of responses that break a rule of that "
            "kind; a response can break several kinds, so a stack may be taller than the V-score (diamond).",
            [(caption, violation_figure(_mean_broken(lines, group))) for group, caption in GROUPS],
        ),
        (
            "P-score against cost",
            "Up and to the left is better. Cost: tokens trained on and tokens only read, mean over the runs; "
            "bars: 95 % bootstrap intervals.",
            [(caption, cost_figure(lines, group)) for group, caption in GROUPS],
        ),
    ]
    shown: list[PlotGroup] = []
    for title, note, captioned in groups:
        drawn = [(caption, figure) for caption, figure in captioned if figure is not None]
        if drawn:
            numbered = [(c, to_html(figure, f"{len(shown)}-{i}")) for i, (c, figure) in enumerate(drawn)]
            shown.append({"title": title, "note": note, "figures": numbered})
    return shown


def step_figure(lines: Sequence[Line], group: str, reference: str = "") -> "Figure | None":
    """Mean P-score of a group of tasks after each step, a line and its interval per label.

    Of many labels only the first MAX_DRAWN, `reference` and the bounds are drawn until the legend is clicked.
    """
    series = [(number, line, over_steps(line, group)) for number, line in enumerate(lines)]
    series = [one for one in series if one[2]]
    if not series:
        return None
    last = max(max(points) for _, _, points in series)
    traces = [
        trace
        for number, line, points in series
        for trace in (
            [_level(number, line, points, last)]
            if max(points) == 1 < last
            else [_band(number, line, points), _curve(number, line, points)]
        )
    ]
    height, legend = _room(len(series))
    drawn = {str(number) for number, line in enumerate(lines) if _is_drawn(number, line, reference)}
    for trace in traces:
        if trace["legendgroup"] not in drawn:
            trace["visible"] = "legendonly"
    return draw(
        traces,
        height,
        **legend,
        showlegend=True,
        xaxis={"title": {"text": "step"}, "dtick": 1 + last // 12, "showgrid": False},
        yaxis={"title": {"text": "P-score"}},
    )


def cost_figure(lines: Sequence[Line], group: str) -> "Figure | None":
    """Final P-score of a group of tasks against the tokens of training, a point per label."""
    key = {SEEN: "p_seen", HELD_OUT: "p_held_out"}[group]
    found = [(number, line, line.estimates[key]) for number, line in enumerate(lines)]
    traces = [_point(number, line, score) for number, line, score in found if score is not None]
    if not traces:
        return None
    height, legend = _room(len(traces))
    most = max(trace["x"][0] for trace in traces) or 1
    return draw(
        traces,
        height,
        **legend,
        showlegend=True,
        xaxis={
            "title": {"text": "train and forward tokens"},
            "range": [-0.04 * most, 1.06 * most],
            "tickformat": "~s",
        },
        yaxis={"title": {"text": next(m.short for m in MEASURES if m.key == key)}},
    )


def over_steps(line: Line, group: str) -> dict[int, Estimate]:
    """The mean P-score over the line's runs after every step that some run has."""
    scores: dict[int, list[float]] = {}
    for run in line.runs.values():
        for step, score in step_points(run.record, group):
            scores.setdefault(step, []).append(score)
    return {step: _known(estimate(scores[step], NUM_RESAMPLES)) for step in sorted(scores)}


def _curve(number: int, line: Line, points: Mapping[int, Estimate]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plot_label(line.label),
        "legendgroup": str(number),
        "x": list(points),
        "y": [point.mean for point in points.values()],
        "line": {"color": _colour(number, line), "width": 2.5},
        "marker": {"size": 8, "symbol": _symbol(number)},
        "hovertemplate": "step %{x}: %{y:.1f}",
    }


def _band(number: int, line: Line, points: Mapping[int, Estimate]) -> dict[str, Any]:
    """The area between the ends of the intervals; a point without one has no width."""
    high = [point.mean if point.high is None else point.high for point in points.values()]
    low = [point.mean if point.low is None else point.low for point in points.values()]
    return {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": str(number),
        "showlegend": False,
        "hoverinfo": "skip",
        "x": [*points, *reversed(points)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": _colour(number, line),
        "opacity": 0.16,
        "line": {"width": 0},
    }


def _level(number: int, line: Line, points: Mapping[int, Estimate], last: int) -> dict[str, Any]:
    """A dotted line across all steps at the final score."""
    mean = list(points.values())[-1].mean
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plot_label(line.label),
        "legendgroup": str(number),
        "x": [0, last],
        "y": [mean, mean],
        "line": {"color": _colour(number, line), "width": 2, "dash": "dot"},
        "hovertemplate": "%{y:.1f}",
    }


def _point(number: int, line: Line, score: Estimate) -> dict[str, Any]:
    tokens = [_known(line.estimates[key]).mean for key in ("train_tokens", "forward_tokens")]
    up = 0 if score.high is None else score.high - score.mean
    down = 0 if score.low is None else score.mean - score.low
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plot_label(line.label),
        "x": [sum(tokens)],
        "y": [score.mean],
        "error_y": {"type": "data", "array": [up], "arrayminus": [down], "thickness": 1.5, "width": 5},
        "marker": {"size": 12, "color": _colour(number, line), "symbol": _symbol(number)},
        "hovertemplate": "%{x:.3s} tokens: %{y:.1f}",
    }


def _room(num_labels: int) -> tuple[int, dict[str, Any]]:
    """The height of a plot with so many labels, and its legend: above it, beside it where they are many."""
    if num_labels <= MAX_DRAWN:
        return 360, {}
    beside = {"orientation": "v", "yanchor": "top", "y": 1, "x": 1.02, "traceorder": "normal"}
    return max(360, 60 + 21 * num_labels), {"legend": beside}


def _is_drawn(number: int, line: Line, reference: str) -> bool:
    return number < MAX_DRAWN or line.label == reference or line.is_bound


def _hidden_note(lines: Sequence[Line]) -> str:
    hidden = len(lines) > MAX_DRAWN + sum(line.is_bound for line in lines)
    return (
        f" Drawn: the first {MAX_DRAWN} by rank, the reference and bounds; click a name for the others."
        if hidden
        else ""
    )


def _colour(number: int, line: Line) -> str:
    """The colour of a label by its place among the lines; bounds are grey."""
    return BOUND_COLOURS.get(line.method) or run_colour(number)


def _symbol(number: int) -> str:
    """The marker that tells apart labels of one colour."""
    return SYMBOLS[number // len(COLOURS) % len(SYMBOLS)]


def _mean_broken(lines: Sequence[Line], group: str) -> list[Broken]:
    """The mean over the runs of each line that has tasks of the group."""
    found = {
        line.label: [run.record.scores.final.group(group) for run in line.runs.values()] for line in lines
    }
    scored = {label: [score for score in scores if score] for label, scores in found.items()}
    return [_mean(label, scores) for label, scores in scored.items() if scores]


def _mean(label: str, scores: Sequence[GroupScore]) -> Broken:
    kinds = dict.fromkeys(kind for score in scores for kind in score.violations)
    violations = {kind: fmean(score.violations.get(kind, 0) for score in scores) for kind in kinds}
    return Broken(label, violations, fmean(score.v_score for score in scores))


def _known(found: Estimate | None) -> Estimate:
    assert found is not None, "there is a value wherever this is asked"
    return found
