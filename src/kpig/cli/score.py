"""The command `score`: score anyone's predictions."""

from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import MetricOption, TasksOption, app, read_groups
from kpig.cli.score_table import print_cautions, score_table
from kpig.cli.screen import say, show
from kpig.errors import UsageError
from kpig.files import true_path
from kpig.records import HELD_OUT


@app.command()
def score(
    path: Annotated[Path, typer.Argument(help="JSONL, one prediction per line.", metavar="PREDICTIONS")],
    tasks: TasksOption,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for scores.json and predictions.jsonl, as of eval.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Score what is there; examples may be missing.")
    ] = False,
    test_per_task: Annotated[
        int, typer.Option("--test-per-task", min=0, help="Test examples per task; 0: all.")
    ] = 0,
    metric: MetricOption = None,
) -> None:
    """Score anyone's predictions on any tasks, from any tool, with the same scorer as eval.

    A line is {"task": ..., "example": ..., "response": ...}; instead of the example's id its "input", and
    {"id": ..., "prediction": ...} alone, as the Super-NaturalInstructions evaluation has it, will do too.
    Lines of Tk-Instruct (predict_eval_predictions.jsonl), LLaMA-Factory (generated_predictions.jsonl) and
    lm-evaluation-harness (samples_*.jsonl) are read as they are.
    Optional: "finished" (false: cut off), "prompt", "masked_response", "wording" ("seed" or "new").

    Example: [bold]kpig score scores/predictions.jsonl --tasks suite --out scored[/bold]
    """
    from kpig.runs.folder import check_no_run
    from kpig.scoring import predictions, predictions_file, scores

    if out is not None and true_path(out / "predictions.jsonl") == true_path(path):
        raise UsageError(f"--out {out} would write over {path}; give another folder")
    if out is not None:
        check_no_run(out)
    groups = read_groups(tasks, test_per_task, metrics=metric)
    chosen = [task for found in groups.values() for task in found]
    held_out = {task.name for task in groups.get(HELD_OUT, ())}
    result, judged, coverage = predictions_file.score(path, chosen, partial, held_out)
    if coverage.missing:
        say(predictions_file.describe(coverage))
    show(score_table(str(path), result))
    if note := predictions_file.describe_masked(judged):
        say(f"note: {note}")
    print_cautions(chosen)
    if out is not None:
        scores.write_evaluation(out / "scores.json", result)
        predictions.write(out / "predictions.jsonl", judged)
        say(f"scores and predictions: {out}")
