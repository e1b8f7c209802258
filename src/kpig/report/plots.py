"""Every plot of the page in order, with its title and how to read it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kpig.records import HELD_OUT, SEEN
from kpig.report.drawing import PlotGroup, to_html
from kpig.report.loss_plot import loss_figure
from kpig.report.record import RunRecord
from kpig.report.replay_plot import replay_figure
from kpig.report.score_plots import broken, gain_figure, matrix_figure, step_figure, violation_figure
from kpig.report.table import comparison_rows

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def figures(runs: Sequence[RunRecord]) -> list[PlotGroup]:
    """Titles, notes and the HTML of every plot; the first HTML brings plotly.js along."""
    rows = comparison_rows(runs)
    groups: list[tuple[str, str, list[tuple[str, Figure | None]]]] = [
        (
            "P-score after each step",
            "Higher is better. Step 0 is the untuned model, on all tasks of the stream; step t shows the "
            "tasks learned up to then. A run that learns everything at once has a single step.",
            [
                ("Seen tasks", step_figure(runs, SEEN)),
                ("Held-out tasks", step_figure(runs, HELD_OUT)),
            ],
        ),
        (
            "Broken rules by kind, after the last step",
            "Lower is better. Bars: percentage of responses that break a rule of that kind; a response can "
            "break several kinds, so a stack may be taller than the V-score (diamond).",
            [
                ("Seen tasks", violation_figure(broken(rows, SEEN))),
                ("Held-out tasks", violation_figure(broken(rows, HELD_OUT))),
            ],
        ),
        (
            "What each step did to the tasks of every step",
            "P-score on the tasks of step i (across) after learning step t (down). Blank: not measured. "
            "Read down a column to see a step's tasks being learned and then kept or lost.",
            [(run.name, matrix_figure(run.scores.matrix)) for run in runs],
        ),
        (
            "What each step replayed",
            "Percentage of a step's replayed examples that came from each past task. Blank: none.",
            [(run.name, replay_figure(run)) for run in runs],
        ),
        (
            "Loss of every update",
            "Dotted lines: a new step begins. Dots: the loss on validation examples. Where a method adds "
            "terms to its loss, hover for the cross-entropy, which compares between methods.",
            [("", loss_figure(runs))],
        ),
        (
            "Key-part gain per task, after the last step",
            "How much likelier the reference becomes when the key parts of the instruction are readable, "
            "from -1 to 1. Near 0: the model answers without them.",
            [("", gain_figure(runs))],
        ),
    ]
    shown: list[PlotGroup] = []
    for title, note, captioned in groups:
        drawn = [(caption, figure) for caption, figure in captioned if figure is not None]
        numbered = [
            (caption, to_html(figure, f"{len(shown)}-{i}")) for i, (caption, figure) in enumerate(drawn)
        ]
        if numbered:
            shown.append({"title": title, "note": note, "figures": numbered})
    return shown
