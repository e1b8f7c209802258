"""The command `export`: from a run to a model in use."""

from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import Dtype, app, quiet
from kpig.cli.screen import say


@app.command("export")
def export_step(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
    out: Annotated[Path, typer.Option("--out", help="A folder that is new or empty.")],
    step: Annotated[
        int | None, typer.Option("--step", min=0, help="The step to export; default: the last finished one.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge an adapter into its base model, which is then not needed.")
    ] = False,
    dtype: Annotated[
        Dtype | None, typer.Option("--dtype", help="How the weights are kept; default: as they were trained.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", help="For the card; default: what the base's card states.")
    ] = "",
) -> None:
    """Write what a run learned as a folder that transformers and PEFT load without kpig.

    With tokenizer, chat template, generation settings and a card that says how to ask it (README.md). The
    folder is there whole or not at all. It has the files that vLLM asks for; vLLM was not run.

    Example: [bold]kpig export runs/my --merge --dtype bfloat16 --out served[/bold]
    """
    from kpig.runs import export
    from kpig.runs.served import step_of

    quiet()
    tuned = step_of(run, step)
    done = export.export(tuned, out, merge, dtype.value if dtype else "", licence)
    for note in done.notes:
        say(f"note: {note}")
    kind = f"an adapter for {done.base}" if done.is_adapter else "a whole model"
    say(f"step {tuned.number} of {run}: {out}, {kind}; how to ask it: {out / 'README.md'}")
