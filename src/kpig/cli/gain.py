"""The command `gain`: does a model listen to the key parts?"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kpig import ranks
from kpig.cli.app import (
    Device,
    DeviceOption,
    DtypeOption,
    MaxLengthOption,
    ModelPath,
    OwnTasksOption,
    app,
    read_tasks,
    served_model,
    tasks_for,
)
from kpig.cli.screen import say, show
from kpig.files import publish_json

LEGEND = {"prob gain": "gain", "log gain": "log_gain", "p(y given I)": "instructed"}
"""Headings of the table, by the numbers that they stand for."""


@app.command()
def gain(
    path: ModelPath,
    tasks: OwnTasksOption = "",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers to this file too.")
    ] = None,
    probes: Annotated[int, typer.Option("--probes", min=1, help="Examples per task.")] = 16,
    mask_text: Annotated[
        str | None,
        typer.Option(
            "--mask-text", help="What stands in place of a key part; default: a run's own, else '_'."
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    dtype: DtypeOption = None,
    max_length: MaxLengthOption = None,
) -> None:
    """Does the model listen? Per task, how much its answer depends on the instruction's key parts.

    Example: [bold]kpig gain tiny --tasks suite --json gain.json[/bold]
    """
    from kpig.progress import Bars
    from kpig.runs.diagnose import gain_json, measure_tasks
    from kpig.runs.machine import choose_device

    tasks = tasks_for(path, tasks)
    model = served_model(path, tasks, dtype, max_length)
    section = model.section
    if mask_text is not None:
        section = section.model_copy(update={"mask_text": mask_text})
    gains = measure_tasks(
        section, read_tasks(tasks, like=path), probes, choose_device(device.value), Bars(), model.clock
    )
    result = gain_json(section, gains)
    show(_gain_table(path, result))
    if json_path is not None:
        ranks.by_main(partial(publish_json, json_path, result))
        say(f"numbers: {json_path}")


def _gain_table(path: str, result: dict[str, Any]) -> Table:
    from kpig.scoring.meanings import legend
    from kpig.scoring.meanings.gains import READINGS

    table = Table(title=f"{path}: does it listen to the key parts?", title_justify="left")
    table.add_column("task", overflow="fold")
    for heading in ("p(y given I)", "p(y given M(I))", "prob gain ± s.e.", "log gain ± s.e.", "probes"):
        table.add_column(heading, justify="right")
    table.add_column("reading")
    for name, found in sorted(result["tasks"].items(), key=lambda item: item[1]["prob"]):
        table.add_row(
            Text(name),
            f"{found['instructed']:.3f}",
            f"{found['masked']:.3f}",
            f"{found['prob']:.3f} ± {found['prob_error']:.3f}",
            f"{found['log']:.2f} ± {found['log_error']:.2f}",
            str(found["num_examples"]),
            found["reading"],
        )
    occurring = {found["reading"] for found in result["tasks"].values()}
    table.caption = (
        f"lowest gain first. {legend(LEGEND)} M(I): the instruction with its key parts masked.\n"
        "reading, of a right answer, likely from a mean token probability of 0.5:"
        + "".join(f"\n  {name}: {READINGS[name]}" for name in READINGS if name in occurring)
    )
    table.caption_justify = "left"
    return table
