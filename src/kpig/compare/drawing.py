"""What the plots of a comparison share: looks of lines, axes, error bars. Figures are plain tables."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from kpig.compare.lines import Line
from kpig.compare.statistics import Estimate
from kpig.report.colours import UNTUNED_COLOUR, Look, look
from kpig.report.text import plot_label

Figure = dict[str, Any]
"""Data and layout in plotly's words; the page draws them in the colours of its theme."""

Trace = dict[str, Any]
"""A series of a figure."""


def looks(lines: Sequence[Line]) -> list[Look]:
    """How each line looks: a method's colour is its own on every page, its rows differ in symbol and dash."""
    counts: Counter[str] = Counter()
    found = []
    for line in lines:
        found.append(look(line.method, counts[line.method]))
        counts[line.method] += 1
    return found


def figure(traces: Sequence[Trace], height: int, **layout: Any) -> Figure:
    """A figure so many pixels tall; the legend stands above it, where a narrow window has room."""
    axis = {"zeroline": False, "automargin": True, "fixedrange": True}
    axes = {name: axis | layout.pop(name, {}) for name in ("xaxis", "yaxis")}
    common = {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "traceorder": "normal"},
        "showlegend": any(trace.get("showlegend") is not False for trace in traces),
        "hovermode": "closest",
    }
    return {"data": list(traces), "layout": common | axes | layout}


def titled(text: str) -> dict[str, Any]:
    """Settings of an axis with a title."""
    return {"title": {"text": text}}


def labelled(labels: Sequence[str]) -> dict[str, Any]:
    """Settings of an axis that lists labels from the top."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": [plot_label(label, 26) for label in labels],
        "range": [len(labels) - 0.5, -0.5],
        "showgrid": False,
    }


def vertical(place: float) -> dict[str, Any]:
    """A line from bottom to top."""
    ends = {"x0": place, "x1": place, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", **ends, "line": {"color": UNTUNED_COLOUR, "width": 1.5}}


def error(found: Estimate) -> dict[str, Any]:
    """Error bars to the ends of the interval; none for a single value."""
    if found.low is None or found.high is None:
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [found.high - found.mean],
        "arrayminus": [found.mean - found.low],
        "thickness": 1.5,
        "width": 5,
    }


def room(num_labels: int) -> int:
    """The height of a plot with so many names in the legend above it."""
    return 360 + 20 * (max(0, num_labels - 3) // 3)
