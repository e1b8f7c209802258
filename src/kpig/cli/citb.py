"""The command `citb`: streams of the CITB protocol from task files of Super-NaturalInstructions."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kpig.cli.app import app
from kpig.cli.screen import say
from kpig.errors import some


class StreamName(StrEnum):
    """One of `kpig.tasks.citb.STREAMS`."""

    INSTRDIALOG = "instrdialog"
    INSTRDIALOG_LONG = "instrdialog++"


@app.command("citb")
def write_streams(
    tasks: Annotated[
        list[str],
        typer.Argument(
            help="Folders of task files, such as tasks/ of a Super-NaturalInstructions checkout.",
            metavar="TASKS...",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the stream and its configs go.")],
    stream: Annotated[
        StreamName, typer.Option("--stream", help="19 tasks of dialogue, or 38 with others among them.")
    ] = StreamName.INSTRDIALOG,
    order: Annotated[
        int, typer.Option("--order", min=1, max=3, help="The published order of the config.")
    ] = 1,
    train: Annotated[
        int | None,
        typer.Option("--train", min=1, help="Training examples per task; default: the protocol's."),
    ] = None,
    dev: Annotated[
        int | None,
        typer.Option("--dev", min=0, help="Validation examples per task; default: the protocol's."),
    ] = None,
    test: Annotated[
        int | None, typer.Option("--test", min=1, help="Test examples per task; default: the protocol's.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Go on without the tasks that are missing; they are named.")
    ] = False,
) -> None:
    """Write a stream of the CITB protocol, its initial set and its held-out tasks, with configs to run them.

    Names of tasks come with kpig, the tasks themselves do not. What still differs from the paper, and how to
    read AR, FWT and BWT: docs/citb.md.

    Example: [bold]kpig citb natural-instructions/tasks --out citb[/bold]
    """
    from kpig.tasks import citb

    written = citb.build(tasks, out, stream.value, order, train, dev, test, partial)
    for name, part in written.items():
        say(f"{name}: {len(part.tasks)} of {len(part.tasks) + len(part.absent)} tasks")
        if part.absent:
            say(f"  missing: {some(part.absent, len(part.absent) if name == citb.STREAM else 3)}")
        if part.short:
            say(f"  fewer training examples than the protocol has, in {len(part.short)}: {some(part.short)}")
        if part.num_repeated:
            say(f"  {part.num_repeated} examples repeat an input that is tested or developed on; left out")
    say(f"{out / 'citb.toml'}: name your model under [model], then: kpig check {out / 'citb.toml'}")
