"""Commands that judge without training: eval and gain a model, score a file of predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kpig.cli.app import Device, ModelPath, TasksOption, app, choose_device, quiet, read_tasks, show_table
from kpig.errors import UsageError
from kpig.files import publish_json
from kpig.records import MASK_TEXT, Task
from kpig.runs.folder import check_no_run
from kpig.scoring.records import Evaluation, GroupScore, TaskScore


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
    device: Device = "auto",
) -> None:
    """Score any model on any tasks: P-score, V-score by kind, half-listening rate, gain.

    Example: [bold]kpig eval tiny --tasks suite[/bold]
    """
    from kpig.config import EvaluateSection, ModelSection
    from kpig.progress import Bars
    from kpig.runs import diagnose
    from kpig.scoring import predictions, scores

    quiet()
    if out is not None:
        check_no_run(out)
    section, chosen = ModelSection(path=path), read_tasks(tasks, test_per_task)
    settings = EvaluateSection(max_new_tokens=max_new_tokens)
    result, answered = diagnose.evaluate_model(section, chosen, settings, choose_device(device), Bars())
    show_table(_score_table(path, result))
    _print_cautions(chosen)
    if out is not None:
        scores.write_evaluation(out / "scores.json", result)
        predictions.write(out / "predictions.jsonl", answered)
        print(f"scores and predictions: {out}")


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
) -> None:
    """Score anyone's predictions on any tasks, from any tool, with the same scorer as eval.

    A line is {"task": ..., "example": ..., "response": ...}; instead of the example's id its "input", and
    {"id": ..., "prediction": ...} alone, as the Super-NaturalInstructions evaluation has it, will do too.
    Optional: "finished" (false: cut off), "prompt", "masked_response", "wording" ("seed" or "new").

    Example: [bold]kpig score scores/predictions.jsonl --tasks suite --out scored[/bold]
    """
    from kpig.scoring import predictions, predictions_file, scores

    if out is not None and (out / "predictions.jsonl").resolve() == path.resolve():
        raise UsageError(f"--out {out} would write over {path}; give another folder")
    if out is not None:
        check_no_run(out)
    chosen = read_tasks(tasks, test_per_task)
    result, judged, coverage = predictions_file.score(path, chosen, partial)
    if coverage.missing:
        print(predictions_file.describe(coverage))
    show_table(_score_table(str(path), result))
    _print_cautions(chosen)
    if out is not None:
        scores.write_evaluation(out / "scores.json", result)
        predictions.write(out / "predictions.jsonl", judged)
        print(f"scores and predictions: {out}")


@app.command()
def gain(
    path: ModelPath,
    tasks: TasksOption,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers to this file too.")
    ] = None,
    probes: Annotated[int, typer.Option("--probes", min=1, help="Examples per task.")] = 16,
    mask_text: Annotated[
        str, typer.Option("--mask-text", help="What stands in place of a key part.")
    ] = MASK_TEXT,
    device: Device = "auto",
) -> None:
    """Does the model listen? Per task, how much its answer depends on the instruction's key parts.

    Example: [bold]kpig gain tiny --tasks suite --json gain.json[/bold]
    """
    from kpig.config import ModelSection
    from kpig.progress import Bars
    from kpig.runs import diagnose

    quiet()
    section = ModelSection(path=path, mask_text=mask_text)
    gains = diagnose.measure_tasks(section, read_tasks(tasks), probes, choose_device(device), Bars())
    result = diagnose.gain_json(section, gains)
    show_table(_gain_table(path, result))
    if json_path is not None:
        publish_json(json_path, result)
        print(f"numbers: {json_path}")


def _score_table(path: str, result: Evaluation) -> Table:
    table = Table(title=f"{path}: {len(result.tasks)} tasks, scorer {result.scorer}", title_justify="left")
    table.add_column("task", overflow="fold")
    for heading in ("metric", "P-score", "V-score", "half-listening %", "gain", "examples"):
        table.add_column(heading, justify="right")
    for name, score in result.tasks.items():
        table.add_row(name, score.metric, *_cells(score), str(score.n))
    table.add_section()
    total = sum(score.n for score in result.tasks.values())
    table.add_row("mean over tasks", "", *_cells(result.all), str(total))
    table.caption = f"V-score: lower is better; {result.all.constrained:.0f} % of the tasks have constraints"
    table.caption_justify = "left"
    return table


def _print_cautions(tasks: Sequence[Task]) -> None:
    from kpig.runs.check import scorer_cautions

    for caution in scorer_cautions(tasks):
        print(f"note: {caution}")


def _cells(score: TaskScore | GroupScore) -> list[str]:
    values = ((score.p_score, 1), (score.v_score, 1), (score.half_listening, 1), (score.gain, 3))
    return ["–" if value is None else f"{value:.{places}f}" for value, places in values]


def _gain_table(path: str, result: dict) -> Table:
    table = Table(title=f"{path}: does it listen to the key parts?", title_justify="left")
    table.add_column("task", overflow="fold")
    for heading in ("p(y given I)", "p(y given M(I))", "prob gain ± s.e.", "log gain ± s.e.", "probes"):
        table.add_column(heading, justify="right")
    table.add_column("reading")
    for name, found in sorted(result["tasks"].items(), key=lambda item: item[1]["prob"]):
        table.add_row(
            name,
            f"{found['instructed']:.3f}",
            f"{found['masked']:.3f}",
            f"{found['prob']:.3f} ± {found['prob_error']:.3f}",
            f"{found['log']:.2f} ± {found['log_error']:.2f}",
            str(found["num_examples"]),
            found["reading"],
        )
    table.caption = "lowest gain first; log gain in nats per response token; M(I): the instruction with its key parts masked"
    table.caption_justify = "left"
    return table
