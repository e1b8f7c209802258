"""What the plots of a comparison share: looks of lines, axes, error bars."""

from collections.abc import Sequence
from typing import Any

from kpig.compare.lines import Line
from kpig.compare.statistics import Estimate
from kpig.report.colours import UNTUNED_COLOUR, Look, looks
from kpig.report.drawing import ticks
from kpig.report.text import plot_label


def looks_of(lines: Sequence[Line]) -> list[Look]:
    """How each line looks: a method's colour is its own on every page, its rows differ in symbol and dash."""
    return looks(line.method for line in lines)


def titled(text: str) -> dict[str, Any]:
    """Settings of an axis with a title."""
    return {"title": {"text": text}}


def labelled(labels: Sequence[str]) -> dict[str, Any]:
    """Settings of an axis that lists labels from the top, short enough for a narrow window."""
    texts = [plot_label(label, 26) for label in labels]
    return ticks(labels) | {"ticktext": texts, "range": [len(labels) - 0.5, -0.5], "showgrid": False}


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
