"""The plots that hold every run side by side, in order, with title and how to read each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kpig.records import HELD_OUT, SEEN
from kpig.report.loss_plot import loss_figure
from kpig.report.portrait import Portrait
from kpig.report.score_plots import broken, gain_figure, step_figure, violation_figure
from kpig.report.table import comparison_rows

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Group:
    """Plots under one title: how to read them, and the caption and figure of each."""

    title: str
    note: str
    figures: "Sequence[tuple[str, Figure]]"


def score_plots(found: Sequence[Portrait]) -> list[Group]:
    """What was scored."""
    rows = comparison_rows([one.run for one in found])
    return _drawn(
        (
            "P-score after each step",
            "Higher is better; bars are standard errors over test examples. Step 0 is the untuned model, on "
            "all tasks of the stream. Step t shows the tasks learned up to then.",
            [("Seen tasks", step_figure(found, SEEN)), ("Held-out tasks", step_figure(found, HELD_OUT))],
        ),
        (
            "Broken rules by kind, after the last step",
            "Lower is better. A response can break several kinds, so a stack may be taller than the V-score "
            "(diamond).",
            [
                ("Seen tasks", violation_figure(broken(rows, SEEN))),
                ("Held-out tasks", violation_figure(broken(rows, HELD_OUT))),
            ],
        ),
        (
            "Key-part gain per task, after the last step",
            "How much likelier the reference becomes when the key parts of the instruction are readable, "
            "from -1 to 1. Near 0: the model answers without them.",
            [("", gain_figure(found))],
        ),
    )


def loss_plots(found: Sequence[Portrait]) -> list[Group]:
    """The losses of every run."""
    return _drawn(
        (
            "Loss of every update",
            "Dotted lines: a new step begins. Dots: the loss on validation examples. Where a method adds "
            "terms to its loss, hover for the cross-entropy, which compares between methods.",
            [("", loss_figure([one.run for one in found]))],
        )
    )


def _drawn(*groups: "tuple[str, str, list[tuple[str, Figure | None]]]") -> list[Group]:
    """Without the figures, and groups, that there is nothing for."""
    found = [
        Group(title, note, [(caption, figure) for caption, figure in figures if figure is not None])
        for title, note, figures in groups
    ]
    return [group for group in found if group.figures]
