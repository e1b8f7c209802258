"""Plots of scores against cost, which is how both budgets are read, and of differences from the reference."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kpig.compare.budgets import NEAR, front
from kpig.compare.comparison import Comparison
from kpig.compare.drawing import error, labelled, looks_of, room, titled, vertical
from kpig.compare.lines import Line
from kpig.compare.measures import COSTS, MEASURES, Measure
from kpig.report.colours import UNTUNED_COLOUR, Look
from kpig.report.drawing import Trace, draw
from kpig.report.text import decimal, plot_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

DRAWN_COSTS = ("computing", "updates", "train_seconds")
"""The costs that a score can be drawn against: the two budgets, and what a reader waits for."""


def cost_figures(comparison: Comparison) -> dict[str, "Figure | None"]:
    """Each main score against each cost of DRAWN_COSTS, by "score against cost" as their keys say."""
    measures = [one for one in MEASURES if one.main]
    costs = [one for one in COSTS if one.key in DRAWN_COSTS]
    return {f"{m.key}/{c.key}": cost_figure(comparison, m, c) for m in measures for c in costs}


def cost_figure(comparison: Comparison, measure: Measure, cost: Measure) -> "Figure | None":
    """A point for each line, and the front of those that no other beats; bounds stand apart from it."""
    lines = comparison.lines
    points = [_cost_and_score(line, measure, cost) for line in lines]
    styles = looks_of(lines)
    traces = [
        _point(styles[number], line, point, measure)
        for number, (line, point) in enumerate(zip(lines, points, strict=True))
        if point is not None
    ]
    if not traces:
        return None
    competing = [None if line.is_bound else point for line, point in zip(lines, points, strict=True)]
    best = [competing[place] for place in front(competing, measure.better)]
    return draw(
        [_front([point for point in best if point]), *traces],
        room(len(traces)),
        showlegend=True,
        hovermode="closest",
        xaxis=titled(cost.name.lower()) | {"rangemode": "tozero", "tickformat": "~s"},
        yaxis=titled(f"{measure.short}, {measure.better} is better"),
        shapes=_reading(comparison, cost),
    )


def difference_figure(comparison: Comparison, measure: Measure) -> "Figure | None":
    """The paired difference of every line from the reference with its interval; None without any pair."""
    styles = looks_of(comparison.lines)
    found = [
        (style, line, line.contrasts[measure.key])
        for style, line in zip(styles, comparison.lines, strict=True)
        if measure.key in line.contrasts
    ]
    if not found:
        return None
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": plot_label(line.label),
            "x": [contrast.difference.mean],
            "y": [place],
            "error_x": error(contrast.difference),
            "marker": {"size": 10, "color": style.colour, "symbol": style.symbol},
            "hovertemplate": f"%{{x:.{measure.digits}f}}, adjusted p {contrast.adjusted:.3f}",
            "showlegend": False,
        }
        for place, (style, line, contrast) in enumerate(found)
    ]
    return draw(
        traces,
        90 + 30 * len(found),
        xaxis=titled(f"{measure.short} minus that of {plot_label(comparison.reference)}"),
        yaxis=labelled([line.label for _, line, _ in found]),
        shapes=[vertical(0.0)],
    )


def _cost_and_score(line: Line, measure: Measure, cost: Measure) -> tuple[float, float] | None:
    spent, score = line.estimates[cost.key], line.estimates[measure.key]
    return (spent.mean, score.mean) if spent and score else None


def _point(style: Look, line: Line, point: tuple[float, float], measure: Measure) -> Trace:
    score = line.estimates[measure.key]
    assert score is not None, "only what was measured is drawn"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plot_label(line.label),
        "x": [point[0]],
        "y": [point[1]],
        "error_y": error(score),
        "marker": {"size": 12, "color": style.colour, "symbol": style.symbol},
        "hovertemplate": f"%{{x:.3s}}: {decimal(point[1], measure.digits)}",
    }


def _front(points: Sequence[tuple[float, float]]) -> Trace:
    """A stair: what the money buys stays the same until the next point."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "x": [cost for cost, _ in points],
        "y": [score for _, score in points],
        "line": {"color": UNTUNED_COLOUR, "width": 1.5, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
    }


def _reading(comparison: Comparison, cost: Measure) -> list[dict[str, Any]]:
    """The strip within which a cost counts as equal to the reference's."""
    line = next(line for line in comparison.lines if line.label == comparison.reference)
    spent = line.estimates[cost.key]
    if cost.key not in NEAR or not spent:
        return []
    near = NEAR[cost.key] * spent.mean
    return [
        vertical(spent.mean)
        | {"type": "rect", "x0": spent.mean - near, "x1": spent.mean + near, "line": {"width": 0}}
        | {"fillcolor": UNTUNED_COLOUR, "opacity": 0.14, "layer": "below"}
    ]
