"""The command `pretrain`: make a base model. Its defaults are those of the recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from kpig.cli.app import app, quiet
from kpig.cli.screen import say, show
from kpig.pretrain.recipe import Precision, Recipe, Size


@app.command("pretrain")
def pretrain_model(
    tasks: Annotated[str, typer.Option("--tasks", help="Instruction data: a file or folder of tasks.")],
    out: Annotated[Path, typer.Option("--out", help="Where the model, its card and its run go.")],
    held_out: Annotated[
        str, typer.Option("--held-out", help="Tasks to judge it on that it never trains on.")
    ] = Recipe.held_out,
    start: Annotated[
        str, typer.Option("--from", help="A base model to go on from, with its tokenizer and size.")
    ] = Recipe.start,
    size: Annotated[
        Size, typer.Option("--size", help="3.4 M weights, for a CPU, or 15.5 M, for a GPU.")
    ] = Recipe.size,
    epochs: Annotated[
        float, typer.Option("--epochs", min=0.001, help="Passes over the data.")
    ] = Recipe.epochs,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Examples per update.")
    ] = Recipe.batch_size,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=1e-9, help="Peak.")
    ] = Recipe.learning_rate,
    max_length: Annotated[
        int, typer.Option("--max-length", min=96, help="Longest example in tokens; longer ones are left out.")
    ] = Recipe.max_length,
    precision: Annotated[
        Precision, typer.Option("--precision", help="Of products; auto: what this machine multiplies faster.")
    ] = Recipe.precision,
    seed: Annotated[
        int, typer.Option("--seed", min=-(1 << 63), max=(1 << 63) - 1, help="Seed of weights and order.")
    ] = Recipe.seed,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted one.")] = False,
) -> None:
    """Make a small base model: a tokenizer and weights from scratch, on instruction data of your own.

    The model, with a card that says what it can do, is in DIR/model and loads like any other.

    Example: [bold]kpig pretrain --tasks examples/tasks --out runs/base --epochs 1[/bold]
    """
    from kpig.pretrain import job
    from kpig.progress import Bars

    quiet()
    recipe = Recipe(
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
    show(_table(found))
    say(f"model and card: {out / job.MODEL}; use it with --set model.path={out / job.MODEL}")


def _table(found: Mapping[str, Any]) -> Table:
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
