"""What `eval` and `score` show: scores by task, and what limits their meaning."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kpig.cli.screen import say
from kpig.records import Task

if TYPE_CHECKING:
    from kpig.scoring.records import Evaluation, GroupScore, TaskScore


def score_table(path: str, result: "Evaluation") -> Table:
    """A row for each task, and the mean over them."""
    from kpig.scoring.metrics import averaged

    table = Table(title=f"{path}: {len(result.tasks)} tasks, scorer {result.scorer}", title_justify="left")
    table.add_column("task", overflow="fold")
    for heading in ("metric", "P-score", "V-score", "half-listening %", "gain", "examples"):
        table.add_column(heading, justify="right")
    for name, score in result.tasks.items():
        table.add_row(Text(name), score.metric, *_cells(score), str(score.n))
    table.add_section()
    total = sum(score.n for score in result.tasks.values())
    table.add_row("mean over tasks", "", *_cells(result.all), str(total))
    for group, mean in (("held-out tasks", result.held_out), ("all others", result.seen)):
        if mean:
            table.add_row(f"mean over {group}", "", *_cells(mean), "")
    table.caption = (
        f"P-score: the mean of {averaged(result.tasks)}\n"
        f"V-score: lower is better; {result.all.constrained:.0f} % of the tasks have constraints"
    )
    table.caption_justify = "left"
    return table


def print_cautions(tasks: Sequence[Task]) -> None:
    """Print what limits the meaning of these scores, a line each."""
    from kpig.runs.check import scorer_cautions

    for caution in scorer_cautions(tasks):
        say(f"note: {caution}")


def _cells(score: "TaskScore | GroupScore") -> list[str]:
    values = ((score.p_score, 1), (score.v_score, 1), (score.half_listening, 1), (score.gain, 3))
    return ["–" if value is None else f"{value:.{places}f}" for value, places in values]
