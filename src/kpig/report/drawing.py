"""A plotly figure in the look of the page.

Categories sit at numbers with tick texts, so that two labels that look alike stay two.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from kpig.report.text import plot_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#3f73c4", "#d9803a", "#2f9e77", "#b1559b", "#8c7a2b", "#c0504d", "#5aa7c7", "#7463c1")
UNTUNED_COLOUR = "#8d949e"

Trace = dict[str, Any]
"""A series of a figure, in plotly's words."""


class PlotGroup(TypedDict):
    """Plots under one title: how to read them, and the caption and HTML of each."""

    title: str
    note: str
    figures: list[tuple[str, str]]


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


def to_html(figure: "Figure", number: str) -> str:
    """The figure as HTML, "group-place" its number; number 0-0 brings plotly.js along."""
    import plotly.io

    html: str = plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=number == "0-0",
        div_id=f"figure-{number}",
        config={"displayModeBar": False, "responsive": True},
    )
    return html


def ticks(labels: Sequence[str]) -> dict[str, Any]:
    """Settings of an axis that shows the labels at 0, 1, 2 and so on."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": [plot_label(x) for x in labels],
    }


def run_colour(number: int) -> str:
    """The colour of a run in every plot, by its place among the runs."""
    return COLOURS[number % len(COLOURS)]
