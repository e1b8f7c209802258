"""What `eval` and `score` show: scores by task, and what limits their meaning."""

from collections.abc import Sequence

from rich.table import Table

from kpig.records import Task


def score_table(path: str, result: dict) -> Table:
    table = Table(
        title=f"{path}: {len(result['tasks'])} tasks, scorer {result['scorer']}", title_justify="left"
    )
    table.add_column("task", overflow="fold")
    for heading in ("metric", "P-score", "V-score", "half-listening %", "gain", "examples"):
        table.add_column(heading, justify="right")
    for name, score in result["tasks"].items():
        table.add_row(name, score["metric"], *_cells(score), str(score["n"]))
    table.add_section()
    total = sum(score["n"] for score in result["tasks"].values())
    table.add_row("mean over tasks", "", *_cells(result["all"]), str(total))
    table.caption = (
        f"V-score: lower is better; {result['all']['constrained']:.0f} % of the tasks have constraints"
    )
    table.caption_justify = "left"
    return table


def print_cautions(tasks: Sequence[Task]) -> None:
    from kpig.runs.check import scorer_cautions

    for caution in scorer_cautions(tasks):
        print(f"note: {caution}")


def _cells(score: dict) -> list[str]:
    decimals = {"p_score": 1, "v_score": 1, "half_listening": 1, "gain": 3}
    return ["–" if score[key] is None else f"{score[key]:.{places}f}" for key, places in decimals.items()]
