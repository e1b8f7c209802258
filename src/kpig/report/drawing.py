"""A plotly figure in the look of the page, which gives it the colours of its theme.

Categories sit at numbers with tick texts, so that two labels that look alike stay two.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kpig.report.colours import UNTUNED_COLOUR
from kpig.report.text import plot_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SCALE = [[0, "rgba(47,115,217,.07)"], [1, "rgba(47,115,217,1)"]]
"""Shares and counts: faint at 0 in both themes."""

FEWEST_TICKS = 3
"""Of an axis. Chosen: two say how far apart they are, three how the axis runs."""

FINEST_STEP = 0.01
"""Between two ticks, as a share of the largest value. Chosen: what differs by less is shown as alike."""

MOST_POINTS = 3_000
"""Of a line. Chosen: more than the widest screen has pixels, and a page of them opens at once."""

Trace = dict[str, Any]
"""A series of a figure, in plotly's words."""


def draw(traces: Sequence[Trace], height: int, **layout: Any) -> "Figure":
    """A figure of traces, `height` pixels tall; `layout` is plotly's, each axis atop our own."""
    from plotly.graph_objects import Figure

    axis = {"gridcolor": "rgba(128,136,148,.25)", "zeroline": False, "automargin": True, "fixedrange": True}
    axis |= {"ticks": "outside", "ticklen": 5, "tickcolor": "rgba(0,0,0,0)"}  # unseen: they hold labels off
    axes = {name: axis | layout.pop(name, {}) for name in ("xaxis", "yaxis", *_second_axes(layout))}
    common = {
        "template": "none",
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "traceorder": "normal"},
    }
    return Figure(data=list(traces), layout=common | axes | layout)


def _second_axes(layout: Mapping[str, Any]) -> list[str]:
    return [name for name in layout if name in ("xaxis2", "yaxis2")]


def as_data(figure: "Figure") -> dict[str, Any]:
    """The figure as `kpig.plot` of a page's script draws it."""
    found: dict[str, Any] = figure.to_plotly_json()
    return found


def ticks(labels: Sequence[str]) -> dict[str, Any]:
    """Settings of an axis that shows the labels at 0, 1, 2 and so on."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": [plot_label(x) for x in labels],
    }


def log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Settings of a logarithmic axis for positive values, with FEWEST_TICKS ticks within them or more."""
    low, high = min(values), max(values)
    places = log_ticks(low, high)
    room = 0.04 * max(math.log10(high / low), 0.2)
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [f"{one:.6g}" for one in places],
        "range": [math.log10(min(low, places[0])) - room, math.log10(max(high, places[-1])) + room],
    }


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`: powers of ten, then with 2 and 5 between, then even steps."""
    for digits in ((1,), (1, 2, 5)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [one for power in powers for digit in digits if low <= (one := digit * 10.0**power) <= high]
        if len(found) >= FEWEST_TICKS:
            return found
    step = _round_step(max((high - low) / FEWEST_TICKS, FINEST_STEP * high))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [place * step for place in range(max(first, 1), max(last, first + FEWEST_TICKS - 1) + 1)]


def _round_step(size: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is no more than `size`."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(digit * power for digit in (5, 2, 1) if digit * power <= size * (1 + 1e-9))


def step_lines(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Dotted lines between the last update of a step and the first of the next."""
    line = {"color": UNTUNED_COLOUR, "width": 1, "dash": "dot"}
    return [
        {"type": "line", "yref": "paper", "x0": i + 0.5, "x1": i + 0.5, "y0": 0, "y1": 1, "line": line}
        for i in range(1, len(events))
        if events[i]["step"] != events[i - 1]["step"]
    ]


def thinned(values: Sequence[Any]) -> list[Any]:
    """Every second, third, ... of a series of more than MOST_POINTS; the last stays."""
    every = -(-len(values) // MOST_POINTS) or 1
    return [*values[: len(values) - 1 : every], *values[-1:]]
