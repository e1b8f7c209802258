"""How training went, over the updates of one run: each plot is None where the run did not record it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from kpig.report.colours import COLOURS, SYMBOLS, UNTUNED_COLOUR
from kpig.report.drawing import SCALE, Trace, draw, log_axis, step_lines, thinned, ticks
from kpig.report.record import RunRecord
from kpig.report.text import plot_label
from kpig.runs.folder import MOST

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Event = Mapping[str, Any]

NO_PARTS = frozenset(
    [
        "t",
        "step",
        "update",
        "loss",
        "tokens",
        "replayed",
        "gradient_norm",
        "learning_rate",
        "train_tokens",
        "penalty_ratio",
        "held_out_loss",
        "validation_loss",
    ]
)
"""Numbers of an update that are no part of its loss."""

MOST_BINS = 60
"""Columns of the plot of what was rehearsed. Chosen: a phone draws each 5 pixels wide."""

SMOOTHED = 5
"""Updates of which the speed is the median: one alone is as fast as the machine is idle. Chosen."""


@dataclass(frozen=True)
class Plot:
    """A figure with its title and how to read it."""

    title: str
    note: str
    figure: "Figure"


def course_plots(run: RunRecord) -> list[Plot]:
    """Every plot of a run's training that there is something to draw in."""
    found = (
        (
            "Loss and its parts",
            "Of every update, in nats per response token. Dotted lines: a new step begins.",
            parts_figure(run),
        ),
        (
            "Key-part gain of each task",
            "As the method measured it while it trained, on examples of its memory.",
            gains_figure(run),
        ),
        (
            "What was rehearsed when",
            "The share of replayed examples that came from each past task, from 0 to the largest share.",
            rehearsal_figure(run),
        ),
        ("Gradient norm", "Before it was clipped; log scale.", norm_figure(run)),
        ("Learning rate", "Of every update.", rate_figure(run)),
        (
            "Tokens per second",
            f"Prompt and response of what was trained on; the median of {SMOOTHED} updates.",
            speed_figure(run),
        ),
    )
    return [Plot(title, note, figure) for title, note, figure in found if figure is not None]


def parts_figure(run: RunRecord) -> "Figure | None":
    """The loss, and what a method says that it is made of."""
    names = [name for name in _names(run.events) if name not in NO_PARTS]
    if len(names) < 2:  # the loss alone is drawn beside other runs'
        return None
    traces = [
        _line([event.get(name) for event in run.events], number, name.replace("_", " "))
        for number, name in enumerate(names)
    ]
    return _over_updates(run, traces, 300, {"title": {"text": "nats"}, "rangemode": "tozero"})


def gains_figure(run: RunRecord) -> "Figure | None":
    """A line per task through the gains that a method measured."""
    measured = [(place, event["gain"]) for place, event in enumerate(run.events, 1) if _is_table(event)]
    tasks = list(dict.fromkeys(task for _, gains in measured for task in gains))
    if not tasks:
        return None
    traces = []
    for number, task in enumerate(tasks):
        points = [(place, gains[task]) for place, gains in measured if _number(gains.get(task)) is not None]
        look = {"color": COLOURS[number % len(COLOURS)]}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plot_label(task),
                "x": [place for place, _ in points],
                "y": [gain for _, gain in points],
                "line": look | {"width": 1.5},
                "marker": look | {"size": 6, "symbol": SYMBOLS[number // len(COLOURS) % len(SYMBOLS)]},
                "hovertemplate": "update %{x}: %{y:.3f}",
            }
        )
    return _over_updates(run, traces, 300 + 9 * len(tasks), {"title": {"text": "gain"}})


def norm_figure(run: RunRecord) -> "Figure | None":
    """The norm of the gradient, and the norm that it was clipped to."""
    values = [one for event in run.events if (one := _number(event.get("gradient_norm"))) and one > 0]
    if not values:
        return None
    traces = [_line([event.get("gradient_norm") or None for event in run.events], 0, "norm")]
    train = run.config.get("train", {})
    clip = _number(train.get("clip")) if isinstance(train, Mapping) else None
    if clip:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "clipped to",
                "x": [1, len(run.events)],
                "y": [clip, clip],
                "line": {"color": UNTUNED_COLOUR, "dash": "dash", "width": 1.5},
                "hovertemplate": "clipped to %{y}",
            }
        )
    return _over_updates(run, traces, 240, log_axis([*values, *([clip] if clip else [])]))


def rate_figure(run: RunRecord) -> "Figure | None":
    """The learning rate of every update."""
    rates = [event.get("learning_rate") for event in run.events]
    if all(_number(rate) is None for rate in rates):
        return None
    axis = {"rangemode": "tozero", "exponentformat": "power"}
    return _over_updates(run, [_line(rates, 0, "learning rate")], 240, axis)


def speed_figure(run: RunRecord) -> "Figure | None":
    """Tokens trained on per second, between two updates of one step."""
    speeds = _speeds(run.events)
    if not speeds:
        return None
    smooth = {
        place: median([speeds[one] for one in range(place - SMOOTHED + 1, place + 1) if one in speeds])
        for place in speeds
    }
    trace = _series(list(smooth), list(smooth.values()), 0, "tokens per second")
    return _over_updates(run, [trace], 240, {"rangemode": "tozero"})


def _speeds(events: Sequence[Event]) -> dict[int, float]:
    found = {}
    for place, (before, event) in enumerate(pairwise(events), 2):
        start, end, tokens = map(_number, (before.get("t"), event.get("t"), event.get("train_tokens")))
        if start is None or end is None or tokens is None or before["step"] != event["step"]:
            continue
        if end > start:
            found[place] = tokens / (end - start)
    return found


def rehearsal_figure(run: RunRecord) -> "Figure | None":
    """From which task the replayed examples came, over parts of each step."""
    parts = [part for part in _parts(run.events) if any(event.get("replayed_tasks") for _, event in part)]
    counts = [_replayed(event for _, event in part) for part in parts]
    tasks = list(dict.fromkeys(task for count in counts for task in count))
    if not tasks:
        return None
    shares = [[100 * count[task] / count.total() for count in counts] for task in tasks]
    names = [
        f"step {part[0][1]['step']}, updates {part[0][1]['update']} to {part[-1][1]['update']}"
        for part in parts
    ]
    trace = {
        "type": "heatmap",
        "x": list(range(len(parts))),
        "y": list(range(len(tasks))),
        "z": shares,
        "text": [names for _ in tasks],
        "zmin": 0,
        "zmax": max(map(max, shares)),
        "colorscale": SCALE,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{text}: %{z:.1f} %<extra></extra>",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "ticksuffix": " %"},
    }
    firsts = {part[0][1]["step"]: place for place, part in reversed(list(enumerate(parts)))}
    return draw(
        [trace],
        110 + 19 * len(tasks),
        xaxis={
            "title": {"text": "step"},
            "showgrid": False,
            "tickmode": "array",
            "tickvals": list(firsts.values()),
            "ticktext": [str(step) for step in firsts],
        },
        yaxis=ticks(tasks) | {"autorange": "reversed", "showgrid": False},
    )


def _parts(events: Sequence[Event]) -> list[list[tuple[int, Event]]]:
    """The updates of each step in equal parts, MOST_BINS of them or a few more."""
    steps: dict[int, list[tuple[int, Event]]] = {}
    for place, event in enumerate(events, 1):
        steps.setdefault(event["step"], []).append((place, event))
    each = max(1, MOST_BINS // max(1, len(steps)))
    sizes = {step: math.ceil(len(found) / each) for step, found in steps.items()}
    return [
        found[first : first + sizes[step]]
        for step, found in steps.items()
        for first in range(0, len(found), sizes[step])
    ]


def _replayed(events: Iterable[Event]) -> Counter[str]:
    found: Counter[str] = Counter()
    for event in events:
        found.update(event.get("replayed_tasks") or {})
    return found


def _over_updates(run: RunRecord, traces: Sequence[Trace], height: int, axis: Mapping[str, Any]) -> "Figure":
    return draw(
        traces,
        height,
        showlegend=len(traces) > 1,
        shapes=step_lines(run.events),
        xaxis={"title": {"text": "update"}, "showgrid": False},
        yaxis=dict(axis),
    )


def _line(values: Sequence[Any], number: int, name: str) -> Trace:
    return _series(range(1, len(values) + 1), list(map(_number, values)), number, name)


def _series(x: Sequence[int], y: Sequence[float | None], number: int, name: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plot_label(name),
        "x": thinned(x),
        "y": thinned(y),
        "line": {"color": COLOURS[number % len(COLOURS)], "width": 1.5},
        "hovertemplate": "update %{x}: %{y:.4g}",
    }


def _names(events: Sequence[Event]) -> list[str]:
    """The names under which updates hold numbers."""
    return list(
        dict.fromkeys(name for event in events for name, one in event.items() if _number(one) is not None)
    )


def _is_table(event: Event) -> bool:
    return isinstance(event.get("gain"), Mapping)


def _number(value: Any) -> float | None:
    """A value of an event where it is a finite number; others' methods write what they like."""
    return value if type(value) in (int, float) and abs(value) < MOST else None
