"""The command `sweep`: many runs as one queue."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from kpig.cli.app import app
from kpig.cli.screen import say, show
from kpig.errors import RunError, UsageError, shown

if TYPE_CHECKING:
    from kpig.sweep import State

MOST_CHARACTERS = 20
"""Of --shard. Chosen: nobody has as many machines."""


class Launcher(StrEnum):
    """Who starts the runs: the names in `kpig.sweep.LAUNCHERS`."""

    LOCAL = "local"
    SLURM = "slurm"
    RAY = "ray"


@app.command("sweep")
def sweep_runs(
    spec: Annotated[
        Path, typer.Argument(help="A TOML spec; examples/sweep.toml explains it.", metavar="SPEC")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder of all its runs.")],
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Runs at a time; here each gets its share of the cores as threads. Default: 1, or one for "
            "each of --gpus; all with slurm and ray, which have queues of their own.",
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            "--gpus", metavar="LIST", help="GPUs of this machine, such as 0,1,2,3: each run gets one of them."
        ),
    ] = None,
    launcher: Annotated[
        Launcher, typer.Option("--launcher", help="Where runs are done: on this machine, or by Slurm or Ray.")
    ] = Launcher.LOCAL,
    ask: Annotated[
        list[str] | None,
        typer.Option(
            "--ask",
            metavar="KEY=VALUE",
            help="What each run asks of Slurm (as submitit names it) or Ray, such as gpus_per_node=1 or "
            "num_gpus=1; may be repeated.",
        ),
    ] = None,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Only part I of N, for one of N machines.")
    ] = "1/1",
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="NAME", help="Only this run; may be repeated.")
    ] = None,
    print_commands: Annotated[
        bool,
        typer.Option("--print-commands", help="Only print a command for each run that is left, for a shell."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the runs and how far they are.")
    ] = False,
) -> None:
    """Do methods x seeds x stream orders x settings as one queue that a kill does not lose.

    Give the same command again to continue: finished runs are never redone, failed ones are tried again.
    Machines that share the folder may all sweep it at once; those that do not take a --shard each.

    Notice to end (SIGTERM, SIGUSR1) is handed on to the runs, each writes a checkpoint, and the exit code is
    75: start it again.

    Example: [bold]kpig sweep examples/sweep.toml --out runs/sweep --workers 2[/bold]

    On GPUs, a run on each: [bold]kpig sweep examples/sweep.toml --out runs/sweep --gpus 0,1[/bold]

    As jobs of Slurm: [bold]kpig sweep examples/sweep.toml --out runs/sweep --launcher slurm[/bold]
    """
    from kpig import sweep
    from kpig.progress import Bars

    index, count = _parts(shard)
    _require_one_sense(print_commands, launcher, workers, gpus, ask)
    devices, asked = sweep.visible_gpus(gpus) if gpus is not None else (), _asked(ask or [])
    planned = sweep.load(spec, run or ())
    sweep.check_folder(planned, out)
    runs = sweep.shard(sweep.named(planned.runs, run or ()), index, count)
    if not runs:
        raise UsageError(f"--shard {shard}: the spec has {len(planned.runs)} runs, so that part is empty")
    if dry_run:
        show(_sweep_table(out, [sweep.look(run, out) for run in runs]))
        return
    if print_commands:
        lines = sweep.commands(runs, out)
        sweep.keep_spec(planned, out)
        for line in lines:
            say(line)
        return
    at_a_time = workers or (len(devices) or 1 if launcher is Launcher.LOCAL else len(runs))
    starter = sweep.launcher(launcher.value, out, at_a_time, devices, asked)
    sweep.keep_spec(planned, out)
    watch = Bars()
    for line in sweep.sharing(at_a_time, devices):
        watch.say(f"note: {line}")
    states = sweep.work(runs, out, at_a_time, watch, starter)
    show(_sweep_table(out, states))
    failed = [found for found in states if found.word == sweep.FAILED]
    if failed:
        lines = [f"  {found.run.name}: {found.error}" for found in failed]
        raise RunError(
            "\n".join([f"{len(failed)} of {len(states)} runs failed:", *lines])
            + f"\nTheir logs are {out}/*.log; the same command tries them again."
        )


def _require_one_sense(
    print_commands: bool, launcher: Launcher, workers: int | None, gpus: str | None, ask: list[str] | None
) -> None:
    """UsageError for options that say nothing beside each other."""
    if gpus is not None and launcher is not Launcher.LOCAL:
        raise UsageError(
            f"--gpus names GPUs of this machine, but {launcher} hands out its own; ask for them with --ask"
        )
    if ask and launcher is Launcher.LOCAL:
        raise UsageError("--ask is for --launcher slurm or ray; on this machine use --workers and --gpus")
    if print_commands and (launcher is not Launcher.LOCAL or workers or gpus is not None):
        raise UsageError(
            "--print-commands starts nothing: who starts the commands decides where and how many at a time; "
            "leave out --launcher, --workers and --gpus"
        )


def _asked(values: list[str]) -> dict[str, Any]:
    """What `--ask KEY=VALUE` says; UsageError for one that is no assignment."""
    from kpig.config.table import read_value

    found = {}
    for value in values:
        name, separator, text = value.partition("=")
        if not separator or not name.strip().isidentifier():
            raise UsageError(f"--ask {shown(value)!r}: expected KEY=VALUE, such as gpus_per_node=1")
        found[name.strip()] = read_value(text)
    return found


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
