"""The command `show`: instructions as a reader and as a model sees them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kpig.cli.app import TasksPath, app, read_tasks
from kpig.errors import UsageError, nearest
from kpig.files import name_for, publish


@app.command("show")
def show_tasks(
    tasks: TasksPath,
    task: Annotated[str, typer.Option("--task", help="Only the task of this name.")] = "",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one page per task into this folder.")
    ] = None,
) -> None:
    """Print instructions with their key parts highlighted by kind, the masked twin and one example.

    Example: [bold]kpig show suite --task reverse-period[/bold]
    """
    from kpig.tasks import show

    chosen = {one.name: one for one in read_tasks(tasks)}
    if task and task not in chosen:
        near = nearest(task, chosen)
        raise UsageError(
            f"there is no task {task!r}" + (f"; did you mean {near!r}?" if near else f" in {tasks}")
        )
    for one in [chosen[task]] if task else chosen.values():
        if html is None:
            Console().print(show.terminal(one))
        else:
            page = html / f"{name_for(one.name)}.html"
            publish(page, show.html(one))
            print(page)
