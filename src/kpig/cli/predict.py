"""The command `predict`: answers for a file of prompts."""

import sys
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
    ModelPath,
    app,
    read_tasks,
    served_model,
)
from kpig.cli.screen import say
from kpig.errors import RunError


@app.command("predict")
def predict_answers(
    path: ModelPath,
    file: Annotated[
        str,
        typer.Argument(
            help="Prompts: a file or folder in any format that kpig reads, 'suite', a config or a run.",
            metavar="FILE",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="The file of answers: JSON Lines, task by task, each in the order of its rows."
        ),
    ],
    max_new_tokens: MaxNewTokensOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of answers.")] = False,
    device: DeviceOption = Device.AUTO,
    dtype: DtypeOption = None,
    max_length: MaxLengthOption = None,
) -> None:
    """Answer a file of prompts with a model, greedily; rows need no 'output' and nothing is scored.

    A line of the answers has task, example (its id, or its number), prompt, response and finished (false:
    cut off). Rows that name no task are one, in the order of the file. The file is there whole or not at
    all; stopped, the same command goes on. Rows whose split is train or validation are passed over and told.

    Example: [bold]kpig predict runs/my questions.jsonl --out answers.jsonl[/bold]
    """
    from kpig.progress import Bars
    from kpig.runs.machine import choose_device
    from kpig.runs.predict import predict

    ranks.by_main(lambda: _check_free(out, overwrite))
    model = served_model(path, file, dtype, max_length)
    asked = read_tasks(file, unanswered=True, like=path)
    examples = [example for task in asked for example in task.test]
    if passed_over := sum(len(task.train) + len(task.validation) for task in asked):
        say(f"note: passed over, for their split is not test: {passed_over} rows", file=sys.stderr)
    limit = max_new_tokens or model.evaluate.max_new_tokens
    cut = predict(model.section, examples, out, limit, choose_device(device.value), Bars(), model.clock)
    if cut.inputs:
        say(
            f"note: {cut.inputs} of {len(examples)} inputs were too long and lost their end; raise "
            "--max-length, or lower --max-new-tokens",
            file=sys.stderr,
        )
    cut_off = f" ({cut.answers} cut off after {limit} tokens)" if cut.answers else ""
    say(f"{len(examples)} answers: {out}{cut_off}")


def _check_free(out: Path, overwrite: bool) -> None:
    if out.is_dir() or (out.exists() and not overwrite):
        raise RunError(
            f"{out} is a folder; give --out a file"
            if out.is_dir()
            else f"{out} is there already; give --out another file, or replace it with --overwrite"
        )
