"""The command `gate`: is a tuned model safe to ship?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from kpig.cli.app import app
from kpig.cli.screen import say, show
from kpig.errors import some

if TYPE_CHECKING:
    from kpig.runs.gate import Change, Verdict


@app.command("gate")
def judge_run(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
    max_drop: Annotated[
        float, typer.Option("--max-drop", min=0, max=100, help="Points of P-score that a task may lose.")
    ] = 5.0,
    step: Annotated[
        int | None, typer.Option("--step", min=1, help="The step to judge; default: the last finished one.")
    ] = None,
) -> None:
    """Is it safe to ship? Every task's change since the step before and since the untuned model.

    Exit code 1 where a task lost more than --max-drop points and that is more than noise: the permutation
    test over its test examples, corrected by Holm for the changes in the table, gives p < 0.05.

    Example: [bold]kpig gate runs/my --max-drop 3 && kpig export runs/my --out served[/bold]
    """
    from kpig.runs import gate

    found = gate.judge(run, max_drop, step)
    show(_table(found))
    if found.unscored:
        say(
            f"note: {len(found.unscored)} tasks are not scored at step {found.step}, and were at one that "
            f"it is held against: {some(found.unscored)}"
        )
    blind = list(dict.fromkeys(one.task for one in found.changes if one.is_blind))
    if blind:
        say(
            f"note: {len(blind)} tasks have too few test examples for any drop to be told from noise beside "
            f"the other changes: {some(blind)}"
        )
    say(f"{'open' if found.is_open else 'shut'}: {found.sentence}")
    if not found.is_open:
        raise typer.Exit(1)


def _table(found: "Verdict") -> Table:
    table = Table(title=f"{found.path}: step {found.step}, is it safe to ship?", title_justify="left")
    table.add_column("task", overflow="fold")
    table.add_column("group")
    for heading in ("P-score now", "since", "before", "change ± s.e.", "p (Holm)", "examples"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for one in sorted(found.changes, key=lambda one: (one.points, one.task)):
        table.add_row(*_row(one), f"{one.verdict}{' (!)' if one in found.dropped else ''}")
    table.caption = (
        "largest drop first; s.e. over test examples, paired where both answered the same ones;\n"
        "p: of a drop like that by chance, corrected for the changes in which any answer's score differs;\n"
        f"(!): lost more than {found.max_drop:g} points, beyond noise"
    )
    table.caption_justify = "left"
    return table


def _row(one: "Change") -> tuple[str, ...]:
    from kpig.runs.gate import since_text

    error = "–" if one.error is None else f"{one.error:.1f}"
    return (
        one.task,
        one.group.replace("_", "-"),
        f"{one.now:.1f}",
        since_text(one.since),
        f"{one.before:.1f}",
        f"{one.points:+z.1f} ± {error}",
        f"{one.adjusted:.3f}",
        f"{one.num_examples}{'' if one.is_paired else ' unpaired'}",
    )
