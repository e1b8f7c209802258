"""The command `predict`: answers for a file of prompts."""

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
    out: Annotated[Path, typer.Option("--out", help="The file of answers: JSON Lines, in order.")],
    max_new_tokens: MaxNewTokensOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of answers.")] = False,
    device: DeviceOption = Device.AUTO,
    dtype: DtypeOption = None,
    max_length: MaxLengthOption = None,
) -> None:
    """Answer a file of prompts with a model, greedily; rows need no 'output' and nothing is scored.

    A line of the answers has task, example (its id, or its number), prompt, response and finished (false:
    cut off). The file is there whole or not at all; stopped, the same command goes on. Rows that say
    "split": "train" are passed over.

    Example: [bold]kpig predict runs/my questions.jsonl --out answers.jsonl[/bold]
    """
    from kpig.progress import Bars
    from kpig.runs.machine import choose_device
    from kpig.runs.predict import predict

    ranks.by_main(lambda: _check_free(out, overwrite))
    model = served_model(path, file, dtype, max_length)
    examples = [example for task in read_tasks(file, unanswered=True) for example in task.test]
    limit = max_new_tokens or model.evaluate.max_new_tokens
    cut = predict(model.section, examples, out, limit, choose_device(device.value), Bars(), model.clock)
    say(f"{len(examples)} answers: {out}" + (f" ({cut} cut off after {limit} tokens)" if cut else ""))


def _check_free(out: Path, overwrite: bool) -> None:
    if out.is_dir() or (out.exists() and not overwrite):
        raise RunError(
            f"{out} is a folder; give --out a file"
            if out.is_dir()
            else f"{out} is there already; give --out another file, or replace it with --overwrite"
        )
