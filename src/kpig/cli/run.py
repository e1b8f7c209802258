"""The command `run`: learn a task stream with one method."""

from pathlib import Path
from typing import Annotated

import typer

from kpig import ranks
from kpig.cli.app import ConfigPath, Overrides, TrackOption, app, quiet, show_report
from kpig.cli.screen import say


@app.command()
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder; default runs/CONFIG-METHOD-SEED.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run in the same folder.")
    ] = False,
    track: TrackOption = None,
) -> None:
    """Learn a task stream with one method and score it after every step.

    Example: [bold]kpig run examples/suite.toml --set method.name=replay --set seed=1[/bold]
    """
    from kpig.runs import tracking
    from kpig.runs.check import check

    changes = [*(overrides or []), *tracking.overrides(track or [])]
    settings, tasks = ranks.everywhere(lambda: check(config, changes))
    folder = out or Path("runs") / f"{config.stem}-{settings.method.name.replace(':', '-')}-{settings.seed}"
    from kpig.progress import Bars
    from kpig.report import read_run
    from kpig.runs import disk, job, memory

    quiet()
    if not resume:
        for line in (*disk.sentences(settings, tasks, folder), *memory.sentences(settings, tasks)):
            say(line)
    job.run(settings, folder, resume, Bars(), tasks=tasks)
    ranks.by_main(lambda: show_report([read_run(folder)], folder))
