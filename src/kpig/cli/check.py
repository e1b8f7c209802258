"""The command `check`: what can be found wrong before anything is trained."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from kpig.cli.app import ConfigPath, Overrides, app
from kpig.cli.screen import say, show


@app.command("check")
def check_config(config: ConfigPath, overrides: Overrides = None) -> None:
    """Report every problem of a config and its tasks, and what can be told of its model before it loads.

    Example: [bold]kpig check my.toml --set train.batch_size=8[/bold]
    """
    from kpig.runs import disk, memory, unseen
    from kpig.runs.check import cautions, check

    settings, tasks = check(config, overrides or [])
    notes = [*cautions(settings, tasks), *unseen.cautions(settings, tasks)]
    table = Table(title=f"{config}: sound", title_justify="left")
    for heading in ("step", "task", "metric", "train", "test", "wordings", "key parts", "constraints"):
        table.add_column(
            heading, justify="left" if heading in ("step", "task", "metric") else "right", overflow="fold"
        )
    groups = [(str(number), task) for number, step in enumerate(tasks.steps, 1) for task in step]
    for step, task in groups + [("held out", task) for task in tasks.held_out]:
        counts = (
            len(task.train),
            len(task.test),
            len(task.instructions) + len(task.own_instructions),
            len(task.instruction.key_parts),
            len(task.constraints),
        )
        table.add_row(step, Text(task.name), task.metric, *map(str, counts))
    show(table)
    for note in notes:
        say(f"note: {note}")
    for line in (*disk.sentences(settings, tasks, Path("runs")), *memory.sentences(settings, tasks)):
        say(line)
    say("time: kpig run says how long it will take, after its first updates")
    say(f"method {settings.method.name}, model {settings.model.path}; run it with: kpig run {config}")
