"""The command `continue`: learn further task sets after a finished run, in its folder."""

from pathlib import Path
from typing import Annotated

import typer

from kpig import ranks
from kpig.cli.app import MetricOption, Overrides, TrackOption, app, metrics_of, quiet, show_report


@app.command("continue")
def continue_run(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.", metavar="RUN")],
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="A file or folder of new tasks: one step or several.")
    ] = None,
    overrides: Overrides = None,
    metrics: MetricOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with new steps that were begun and interrupted.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget-data", help="First delete the run's examples of what it has learned."),
    ] = False,
    track: TrackOption = None,
) -> None:
    """Learn further tasks after a finished run, as if it had known them from the start.

    Example: [bold]kpig continue runs/team --tasks month4.jsonl --set train.epochs=2[/bold]
    """
    from kpig.progress import Bars
    from kpig.report import read_run
    from kpig.runs import further, tracking

    quiet()
    changes = [*(overrides or []), *tracking.overrides(track or [])]
    further.learn(run, tasks, changes, metrics_of(metrics), resume, Bars(), forget)
    ranks.by_main(lambda: show_report([read_run(run)], run))
