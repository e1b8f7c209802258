"""The loss of every update, with the validation loss on it, and the divergence beneath where there is one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kpig.report.colours import looks
from kpig.report.drawing import Trace, draw, log_axis, step_lines, thinned
from kpig.report.record import RunRecord
from kpig.report.text import decimal, plot_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def loss_figure(runs: Sequence[RunRecord]) -> "Figure | None":
    """Loss over the updates, a line per run; None where no run kept its losses.

    Validation losses are dots at the updates after which they were measured, joined within a step.
    """
    found = looks(run.scores.method for run in runs)
    series = [
        (look, run, events)
        for look, run in zip(found, runs, strict=True)
        if (events := [event for event in run.events if "loss" in event])
    ]
    if not series:
        return None
    traces: list[Trace] = []
    for number, (look, run, events) in enumerate(series):
        line = {"color": look.colour, "width": 1.6, "dash": look.dash}
        updates = thinned(range(1, len(events) + 1))
        common = {"type": "scatter", "mode": "lines", "x": updates, "line": line, "legendgroup": str(number)}
        traces.append(
            common
            | {
                "name": plot_label(run.name),
                "y": thinned([e["loss"] for e in events]),
                "customdata": thinned([decimal(e.get("cross_entropy"), 4) for e in events]),
                "hovertemplate": "update %{x}: loss %{y:.4f}, cross-entropy %{customdata}",
            }
        )
        if any("validation_loss" in e for e in events):
            traces.append(
                common
                | {
                    "mode": "lines+markers",
                    "line": {"color": look.colour, "width": 1, "dash": "dot"},
                    "marker": {"size": 7},
                    "name": f"{plot_label(run.name)}: validation",
                    **_validation_points(events),
                    "hovertemplate": "update %{x}: validation loss %{y:.4f}",
                }
            )
        if any("divergence" in e for e in events):
            traces.append(
                common
                | {
                    "name": f"{plot_label(run.name)}: divergence",
                    "showlegend": False,
                    "y": thinned([e.get("divergence") for e in events]),
                    "yaxis": "y2",
                    "hovertemplate": "update %{x}: divergence %{y:.4f}",
                }
            )
    drawn = [value for _, _, events in series for e in events for value in _drawn(e)]
    positive = all(value > 0 for value in drawn)
    two = any(trace.get("yaxis") == "y2" for trace in traces)
    lower: dict[str, Any] = {"title": {"text": "divergence<br>(nats)", "standoff": 14}, "domain": [0, 0.26]}
    lower |= {"rangemode": "tozero", "nticks": 4}
    longest = max((events for _, _, events in series), key=lambda events: events[-1]["step"])
    return draw(
        traces,
        460 if two else 340,
        showlegend=True,
        shapes=step_lines(longest),
        xaxis={"title": {"text": "update"}, "showgrid": False, "anchor": "y2" if two else "y"},
        yaxis={
            "title": {"text": "loss" + " (log scale)" * positive},
            "domain": [0.34 if two else 0, 1],
            **(log_axis(drawn) if positive else {}),
        },
        **({"yaxis2": lower} if two else {}),
    )


def _drawn(event: Mapping[str, Any]) -> list[float]:
    """The values of an update on the axis of the loss."""
    return [event[name] for name in ("loss", "validation_loss") if event.get(name) is not None]


def _validation_points(events: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Where the validation loss was measured, and what it was; an empty point between two steps."""
    x: list[float | None] = []
    y: list[float | None] = []
    before = None
    for number, event in enumerate(events, start=1):
        if event.get("validation_loss") is None:
            continue
        if before not in (None, event["step"]):
            x, y = [*x, None], [*y, None]
        x, y, before = [*x, number], [*y, event["validation_loss"]], event["step"]
    return {"x": x, "y": y}
