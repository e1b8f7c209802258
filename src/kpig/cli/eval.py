"""The command `eval`: score any model on any tasks."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kpig import ranks
from kpig.cli.app import (
    Device,
    DeviceOption,
    DtypeOption,
    MaxLengthOption,
    MaxNewTokensOption,
    MetricOption,
    ModelPath,
    OwnTasksOption,
    app,
    note_half,
    read_groups,
    served_model,
    tasks_for,
)
from kpig.cli.score_table import print_cautions, score_table
from kpig.cli.screen import say, show


class Precision(StrEnum):
    """What `evaluate.precision` of a config may be, too."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@app.command("eval")
def evaluate(
    path: ModelPath,
    tasks: OwnTasksOption = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for scores.json and predictions.jsonl.")
    ] = None,
    max_new_tokens: MaxNewTokensOption = None,
    test_per_task: Annotated[
        int, typer.Option("--test-per-task", min=0, help="Test examples per task; 0: all.")
    ] = 0,
    metric: MetricOption = None,
    device: DeviceOption = Device.AUTO,
    dtype: DtypeOption = None,
    precision: Annotated[
        Precision | None,
        typer.Option("--precision", help="Arithmetic of the answers; default: a run's own, else float32."),
    ] = None,
    max_length: MaxLengthOption = None,
) -> None:
    """Score any model on any tasks: P-score, V-score by kind, half-listening rate, gain.

    A run stands for its last finished step; it is asked as it asks itself: its \\[model] and \\[evaluate].
    Held-out tasks of a run or a config have a mean of their own.

    Example: [bold]kpig eval tiny --tasks suite --out scores[/bold]
    """
    from kpig.progress import Bars
    from kpig.runs.diagnose import evaluate_model
    from kpig.runs.folder import check_no_run
    from kpig.runs.machine import choose_device
    from kpig.scoring import predictions, scores

    if out is not None:
        check_no_run(out)
    tasks = tasks_for(path, tasks)
    model = served_model(path, tasks, dtype, max_length)
    groups = read_groups(tasks, test_per_task, metrics=metric, like=path)
    given = {"max_new_tokens": max_new_tokens, "precision": precision and precision.value}
    settings = model.evaluate.model_copy(update={name: value for name, value in given.items() if value})
    note_half("evaluate.precision", settings.precision, "--precision")
    result, answered = evaluate_model(
        model.section, groups, settings, choose_device(device.value), Bars(), model.clock
    )
    show(score_table(path, result))
    print_cautions([task for found in groups.values() for task in found])

    def write(folder: Path) -> None:
        scores.write_evaluation(folder / "scores.json", result)
        predictions.write(folder / "predictions.jsonl", answered)
        say(f"scores and predictions: {folder}")

    if out is not None:
        ranks.by_main(partial(write, out))
