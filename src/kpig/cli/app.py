"""The command line's root: the app that commands join, the options that several share, what they print."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kpig.errors import RunError, UsageError
from kpig.runs.folder import RunDir, is_run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Keep teaching one language model new tasks without it half-listening.\n\n"
    "Start with: [bold]kpig quickstart[/bold]",
)
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; may be repeated."),
]
ConfigPath = Annotated[Path, typer.Argument(help="A TOML config; examples/ has some.", metavar="CONFIG")]
ModelPath = Annotated[
    str, typer.Argument(help="A model folder, an adapter folder, a hub name, or 'tiny'.", metavar="MODEL")
]
TasksOption = Annotated[
    str,
    typer.Option("--tasks", help="A file or folder of tasks, 'suite', or a run folder for that run's own."),
]
TasksPath = Annotated[str, typer.Argument(help="A file or folder of tasks, or 'suite'.", metavar="TASKS")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]


def show_table(table: Table) -> None:
    """To standard output, as wide as it needs to be where that is no terminal."""
    wide_console().print(table)


def wide_console() -> Console:
    """Standard output, at least 132 columns wide where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 132))


def quiet() -> None:
    """Keep the libraries' own notices and bars off the screen; errors still show."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def choose_device(name: str) -> str:
    """The device that `--device` names."""
    from kpig.runs import job

    if name not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(f"--device {name!r} is not known; expected auto, cpu, cuda or mps")
    return job.choose_device(name)


def read_tasks(path: str, test_per_task: int = 0, for_training: bool = False):
    """The tasks at a path, the built-in suite's, or those of a run, capped as it capped them.

    `for_training` splits examples that state no split. RunError for a run whose data have changed.
    """

    from kpig.config import SUITE
    from kpig.tasks import stream, suite

    if path == SUITE:
        built = suite.stream(num_train=16, num_test=test_per_task or 20)
        return (*built.tasks, *built.held_out)
    if is_run(Path(path)):
        return _tasks_of_run(RunDir(Path(path)), test_per_task)
    return stream.load_tasks(path, test_per_task=test_per_task, split_by_rule=for_training)


def _tasks_of_run(run, test_per_task: int):
    """All tasks of a run, held-out ones last; with `test_per_task` only so many test examples of each."""
    from kpig.config import load_resolved
    from kpig.tasks import stream

    found = stream.configured(load_resolved(run.path / "config.toml"))
    if run.read("stream.json").get("digest") != stream.digest(found):
        raise RunError(
            f"{run.path}: its task data have changed since it began; restore them, or name the tasks"
        )
    return tuple(
        replace(task, test=task.test[: test_per_task or None]) for task in (*found.tasks, *found.held_out)
    )
