"""The command `show`: instructions as a reader and as a model sees them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpig.cli.app import LikeOption, TasksPath, app, model_of, read_tasks, run_at
from kpig.cli.screen import say
from kpig.errors import UsageError, nearest
from kpig.files import name_for, publish

if TYPE_CHECKING:
    from kpig.records import Task
    from kpig.tasks.show import Prompts


@app.command("show")
def show_tasks(
    tasks: TasksPath,
    task: Annotated[str, typer.Option("--task", help="Only the task of this name.")] = "",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Show the exact prompt of the example too, as this model is given it; where TASKS is a "
            "config, that of its model is shown anyway.",
        ),
    ] = "",
    like: LikeOption = "",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one page per task into this folder.")
    ] = None,
) -> None:
    """Print instructions with their key parts highlighted by kind, the masked twin and one example.

    Examples that state no split are split as a run does that learns them.

    Example: [bold]kpig show suite --task reverse-period --model tiny[/bold]
    """
    from kpig.progress import Screen
    from kpig.tasks import show, system_prompts

    chosen = {one.name: one for one in read_tasks(tasks, for_training=True, like=run_at(like, tasks))}
    if task and task not in chosen:
        near = nearest(task, chosen)
        raise UsageError(
            f"there is no task {task!r}" + (f"; did you mean {near!r}?" if near else f" in {tasks}")
        )
    prompts = _prompts(tasks, model)
    for one in [chosen[task]] if task else chosen.values():
        if html is None:
            Screen().print(show.terminal(one, prompts=prompts(one)), crop=False)
        else:
            page = html / f"{name_for(one.name)}.html"
            publish(page, show.html(one, prompts=prompts(one)))
            say(page)
    for caution in system_prompts.cautions([chosen[task]] if task else list(chosen.values())):
        say(f"note: {caution}; then show that config")


def _prompts(tasks: str, path: str) -> "Callable[[Task], Prompts]":
    """What shows the prompts of a task's example to the model at a path, or of a config; else nothing."""
    section = model_of(tasks, path)
    if section is None:
        return lambda task: []
    from kpig.runs.prompts import prompts_of

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it loads for some tokenizers only
    return prompts_of(section)
