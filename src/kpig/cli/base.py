"""The command that makes a base model: pretrain."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kpig.cli.app import app, quiet, show_table
from kpig.errors import UsageError

SIZES = ("small", "medium")
PRECISIONS = ("auto", "float32", "bfloat16")


@app.command()
def pretrain(
    tasks: Annotated[str, typer.Option("--tasks", help="Instruction data: a file or folder of tasks.")],
    out: Annotated[Path, typer.Option("--out", help="Where the model, its card and its run go.")],
    held_out: Annotated[
        str, typer.Option("--held-out", help="Tasks to judge it on that it never trains on.")
    ] = "",
    start: Annotated[
        str, typer.Option("--from", help="A base model to go on from, with its tokenizer and size.")
    ] = "",
    size: Annotated[
        str, typer.Option("--size", help="small (3.4 M weights, for a CPU) or medium (15.5 M, for a GPU).")
    ] = "small",
    epochs: Annotated[float, typer.Option("--epochs", min=0.001, help="Passes over the data.")] = 4.0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Examples per update.")] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=1e-9, help="Peak.")] = 2e-3,
    max_length: Annotated[
        int, typer.Option("--max-length", min=96, help="Longest example in tokens; longer ones are left out.")
    ] = 448,
    precision: Annotated[
        str,
        typer.Option("--precision", help="auto (what this machine multiplies faster), float32, bfloat16."),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of weights and order.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted one.")] = False,
) -> None:
    """Make a small base model: a tokenizer and weights from scratch, on instruction data of your own.

    The model, with a card that says what it can do, is in DIR/model and loads like any other.

    Example: [bold]kpig pretrain --tasks examples/tasks --out runs/base --epochs 1[/bold]
    """
    _known("--size", size, SIZES)
    _known("--precision", precision, PRECISIONS)
    from kpig.pretrain import job
    from kpig.progress import Bars

    quiet()
    recipe = job.Recipe(
        tasks=tasks,
        held_out=held_out,
        start=start,
        size=size,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_length=max_length,
        precision=precision,
        seed=seed,
    )
    found = job.run(recipe, out, resume, Bars())
    show_table(_table(found))
    print(f"model and card: {out / job.MODEL}; use it with --set model.path={out / job.MODEL}")


def _known(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{option} {value!r} is not known; expected {', '.join(known)}")


def _table(found: dict) -> Table:
    own = found["own"]
    table = Table(
        title=f"{found['parameters'] / 1e6:.1f} M parameters, {found['train_seconds']} s of training",
        title_justify="left",
    )
    for heading in ("tasks", "answers", "P-score", "V-score"):
        table.add_column(heading, justify="left" if heading in ("tasks", "answers") else "right")
    table.add_row("its own, unseen examples", "this model", f"{own['p_score']:.1f}", f"{own['v_score']:.1f}")
    table.add_row("", "best single response", f"{own['constant']:.1f}", "")
    table.add_row("", "copy of the input", f"{own['copy']:.1f}", "")
    table.add_row("", "commonest response of the task", f"{own['commonest_of_task']:.1f}", "")
    if found["held_out"]:
        other = found["held_out"]
        table.add_row("held out", "this model", f"{other['p_score']:.1f}", f"{other['v_score']:.1f}")
    return table
