"""The command `sweep`: many runs as one queue."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from kpig.cli.app import app
from kpig.cli.screen import show
from kpig.errors import RunError, UsageError

if TYPE_CHECKING:
    from kpig.sweep import State

MOST_CHARACTERS = 20
"""Of --shard. Chosen: nobody has as many machines."""


@app.command("sweep")
def sweep_runs(
    spec: Annotated[
        Path, typer.Argument(help="A TOML spec; examples/sweep.toml explains it.", metavar="SPEC")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder of all its runs.")],
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, help="Runs at a time; each gets its share of the cores as threads."),
    ] = 1,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Only part I of N, for one of N machines.")
    ] = "1/1",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the runs and how far they are.")
    ] = False,
) -> None:
    """Do methods x seeds x stream orders x settings as one queue that a kill does not lose.

    Give the same command again to continue: finished runs are never redone, failed ones are tried again.
    Machines that share the folder may all sweep it at once; those that do not take a --shard each.

    Example: [bold]kpig sweep examples/sweep.toml --out runs/sweep --workers 2[/bold]
    """
    from kpig import sweep
    from kpig.progress import Bars

    index, count = _parts(shard)
    planned = sweep.load(spec)
    sweep.check_folder(planned, out)
    runs = sweep.shard(planned.runs, index, count)
    if not runs:
        raise UsageError(f"--shard {shard}: the spec has {len(planned.runs)} runs, so that part is empty")
    if dry_run:
        show(_sweep_table(out, [sweep.look(run, out) for run in runs]))
        return
    sweep.keep_spec(planned, out)
    states = sweep.work(runs, out, workers, Bars())
    show(_sweep_table(out, states))
    failed = [found for found in states if found.word == sweep.FAILED]
    if failed:
        lines = "\n".join(f"  {found.run.name}: {found.error}" for found in failed)
        raise RunError(
            f"{len(failed)} of {len(states)} runs failed:\n{lines}\n"
            f"Their logs are {out}/*.log; the same command tries them again."
        )


def _parts(text: str) -> tuple[int, int]:
    """Index and count of `--shard I/N`."""
    first, _, second = text.partition("/")
    is_part = first.isdecimal() and second.isdecimal() and len(text) <= MOST_CHARACTERS
    if not is_part or not 1 <= int(first) <= int(second):
        raise UsageError(f"--shard {text!r:.80} is no part; write I/N with I from 1 to N, such as 2/4")
    return int(first), int(second)


def _sweep_table(out: Path, states: "Sequence[State]") -> Table:
    counts = Counter(found.word for found in states)
    title = f"{out}: " + ", ".join(
        [f"{len(states)} runs", *(f"{count} {word}" for word, count in counts.items())]
    )
    table = Table(title=title, title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column("state", overflow="fold", max_width=60)
    for heading in ("P seen", "P held-out", "V held-out", "forgetting", "seconds"):
        table.add_column(heading, justify="right")
    for found in states:
        word = f"{found.word}: {found.error}" if found.error else found.word
        values = (found.p_seen, found.p_held_out, found.v_held_out, found.forgetting)
        cells = ["–" if value is None else f"{value:.1f}" for value in values]
        seconds = "–" if found.seconds is None else f"{found.seconds:.0f}"
        table.add_row(found.run.name, word, *cells, seconds)
    return table
