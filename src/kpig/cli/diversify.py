"""The command `diversify`: reword instructions."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from kpig.cli.app import Device, DeviceOption, Overwrite, TasksPath, app, print_counts, read_tasks
from kpig.cli.chat_model import ChatModel, takes_chat_model
from kpig.cli.screen import say, show
from kpig.errors import UsageError

if TYPE_CHECKING:
    from kpig.diversify import Report
    from kpig.llm import Progress

TEMPERATURE = 0.9


@app.command("diversify")
@takes_chat_model
def diversify_tasks(
    tasks: TasksPath,
    *,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for variants.json; put it beside the tasks to use it.")
    ],
    count: Annotated[int, typer.Option("--n", min=1, help="Variants per task.")] = 20,
    ways: Annotated[
        str,
        typer.Option(
            "--ways",
            help="concretizing, reasoning, constraint, breadth; with commas; default: all that can be.",
        ),
    ] = "",
    evaluation_share: Annotated[
        float,
        typer.Option("--evaluation-share", min=0.0, max=1.0, help="Share of variants never trained on."),
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the choice among possible variants.")] = 0,
    temperature: Annotated[
        float,
        typer.Option("--temperature", min=0.0, help="Of the chat model; a local folder answers greedily."),
    ] = TEMPERATURE,
    chat: ChatModel,
    overwrite: Overwrite = False,
    device: DeviceOption = Device.AUTO,
) -> None:
    """Rewrite instructions, key parts watched: breadth without any LLM, all four ways with one.

    Example: [bold]kpig diversify my/tasks --n 20 --out my/tasks[/bold]
    """
    from kpig.diversify import diversify, free_path, write
    from kpig.progress import Bars

    if not chat.llm:
        chat.refuse("without --llm; name the chat model with it")
        if temperature != TEMPERATURE:
            raise UsageError(
                "--temperature has no effect without --llm; name the chat model with it, or leave the option "
                "out"
            )
    path = free_path(out, overwrite)
    chosen = read_tasks(tasks, for_training=True)
    backend = chat.backend(device) if chat.llm else None
    wanted = tuple(way.strip() for way in ways.split(",")) if ways else None
    bars = Bars()
    with bars.phase("diversify", len(chosen)):
        report = diversify(
            chosen,
            count,
            wanted,
            backend,
            seed=seed,
            evaluation_share=evaluation_share,
            temperature=0.0 if chat.is_folder else temperature,
            on_task=lambda name: bars.advance(),
            on_progress=lambda progress: bars.advance(0, _spent(progress)),
        )
    write(report, out, overwrite)
    _tell(report)
    say(f"variants: {path}")
    if backend is not None:
        advice = f"Give --overwrite then: {path} holds what there is so far."
        backend.raise_if_spent(advice)
        backend.raise_if_failed(advice)
        _raise_if_useless(report)


def _tell(report: "Report") -> None:
    """How many variants each task has, of which way, and why others were turned down."""
    show(_diversified(report))
    print_counts("accepted", report.by_way)
    print_counts(
        "rejected", Counter({f"{way}: {reason}": n for (way, reason), n in report.by_reason.items()})
    )
    if report.num_unchecked:
        say(f"{report.num_unchecked} added rules cannot be checked by a program; read them")


def _raise_if_useless(report: "Report") -> None:
    """Raise LlmError where nothing could be read from any answer: it would look like success."""
    from kpig.llm import LlmError

    if report.is_unread:
        reasons = ", ".join(f"{way}: {reason} {count}" for (way, reason), count in report.by_reason.items())
        raise LlmError(
            f"no answer could be read ({reasons}). None is kept: give the same command again with "
            "--overwrite to ask anew, or name another model"
        )


def _spent(progress: "Progress") -> str:
    """What an LLM job has cost so far."""
    usage = progress.usage
    return f"{progress.done}/{progress.total} requests, {progress.cached} cached, {usage.tokens} tokens paid"


def _diversified(report: "Report") -> Table:
    table = Table(
        "task",
        "training",
        "evaluation",
        "rejected",
        "possible offline",
        title="variants",
        title_justify="left",
    )
    for one in report.tasks:
        possible = "–" if one.num_possible is None else str(one.num_possible)
        training = len(one.variants) - one.num_evaluation
        table.add_row(
            Text(one.task),
            str(training),
            str(one.num_evaluation),
            str(len(one.rejections)),
            possible,
        )
    return table
