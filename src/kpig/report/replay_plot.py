"""Which past tasks each step replayed."""

from collections import Counter
from typing import TYPE_CHECKING

from kpig.report.drawing import draw, ticks
from kpig.report.record import RunRecord

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def replay_figure(run: RunRecord) -> "Figure | None":
    """Share of each step's replayed examples (across) from each past task (down); None without replay."""
    shares = replay_shares(run)
    if not shares:
        return None
    tasks = list(dict.fromkeys(task for step in shares.values() for task in step))
    steps = list(shares)
    trace = {
        "type": "heatmap",
        "x": steps,
        "y": list(range(len(tasks))),
        "z": [[shares[step].get(task) for step in steps] for task in tasks],
        "zmin": 0,
        "colorscale": [[0, "#eef2f8"], [0.5, "#86abdd"], [1, "#1f4d96"]],
        "xgap": 2,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": "step %{x}: %{z:.1f} %<extra></extra>",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "ticksuffix": " %"},
    }
    return draw(
        [trace],
        110 + 17 * len(tasks),
        xaxis={"title": {"text": "step"}, "dtick": 1 + len(steps) // 18, "showgrid": False},
        yaxis=ticks(tasks) | {"autorange": "reversed", "showgrid": False},
    )


def replay_shares(run: RunRecord) -> dict[int, dict[str, float]]:
    """For every step that replayed, the percentage of its replayed examples by task, as they appeared."""
    counts: dict[int, Counter[str]] = {}
    for event in run.events:
        if event.get("replayed_tasks"):
            counts.setdefault(event["step"], Counter()).update(event["replayed_tasks"])
    return {
        step: {task: 100 * count / found.total() for task, count in found.items()}
        for step, found in counts.items()
    }
