"""The command `eval`: score any model on any tasks."""

from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import (
    Device,
    DeviceOption,
    MetricOption,
    ModelPath,
    TasksOption,
    app,
    prompted,
    quiet,
    read_tasks,
)
from kpig.cli.score_table import print_cautions, score_table
from kpig.cli.screen import say, show


@app.command("eval")
def evaluate(
    path: ModelPath,
    tasks: TasksOption,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for scores.json and predictions.jsonl.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Tokens of a response at most.")
    ] = 64,
    test_per_task: Annotated[
        int, typer.Option("--test-per-task", min=0, help="Test examples per task; 0: all.")
    ] = 0,
    metric: MetricOption = None,
    device: DeviceOption = Device.AUTO,
) -> None:
    """Score any model on any tasks: P-score, V-score by kind, half-listening rate, gain.

    Example: [bold]kpig eval tiny --tasks suite --out scores[/bold]
    """
    from kpig.config import EvaluateSection, ModelSection
    from kpig.progress import Bars
    from kpig.runs.diagnose import evaluate_model
    from kpig.runs.folder import check_no_run
    from kpig.runs.job import choose_device
    from kpig.scoring import predictions, scores

    quiet()
    if out is not None:
        check_no_run(out)
    section, chosen = (
        prompted(ModelSection(path=path), tasks),
        read_tasks(tasks, test_per_task, metrics=metric),
    )
    settings = EvaluateSection(max_new_tokens=max_new_tokens)
    result, answered = evaluate_model(section, chosen, settings, choose_device(device.value), Bars())
    show(score_table(path, result))
    print_cautions(chosen)
    if out is not None:
        scores.write_evaluation(out / "scores.json", result)
        predictions.write(out / "predictions.jsonl", answered)
        say(f"scores and predictions: {out}")
