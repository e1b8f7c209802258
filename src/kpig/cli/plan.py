"""The command `plan`: what a run would take of devices that need not be here."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from kpig.cli.app import ConfigPath, Overrides, app
from kpig.cli.screen import say, show

if TYPE_CHECKING:
    from kpig.runs.plan import Plan, Told

PARTS = ("weights", "casts", "reference", "method", "gradients", "optimizer", "activations", "logits")
"""Columns of the table, as an update has them."""

PHASES = ("gain", "answering", "between")
"""Further ones: what a run takes at other times; "between" is what a method does between passes."""


@app.command("plan")
def plan_run(
    config: ConfigPath,
    devices: Annotated[int, typer.Option("--devices", min=1, help="How many devices.")] = 1,
    memory: Annotated[float, typer.Option("--memory", min=0.1, help="Gigabytes of each device.")] = 80.0,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Another model's shape: its config.json or folder, or llama-1b, llama-8b, llama-70b; "
            "default: the config's. No weights are read.",
            show_default=False,
        ),
    ] = "",
    examples: Annotated[
        int, typer.Option("--examples", min=0, help="Training examples of all steps; default: the data's.")
    ] = 0,
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="Steps of the stream; default: the data's.")
    ] = 0,
    tokens: Annotated[
        int,
        typer.Option("--tokens", min=0, help="Tokens of an example, instead of reading the data."),
    ] = 0,
    response_tokens: Annotated[
        int, typer.Option("--response-tokens", min=0, help="How many of them are the response.")
    ] = 0,
    teraflops: Annotated[
        float,
        typer.Option("--tflops", min=0, help="TFLOP a second that a device makes here, as you measured it."),
    ] = 0.0,
    bandwidth: Annotated[
        float, typer.Option("--bandwidth", min=0, help="GB of its memory that a device reads a second.")
    ] = 0.0,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Reckon the memory, time and disk of a run, and the settings to take, for devices of your own.

    Example: [bold]kpig plan my.toml --devices 8 --memory 80 --model llama-8b[/bold]
    """
    from kpig.config import load
    from kpig.runs.plan import Told, plan

    told = Told(devices, memory, model, examples, steps, tokens, response_tokens, teraflops, bandwidth)
    found = plan(load(config, overrides or []), told)
    if as_json:
        say(json.dumps(_as_json(found), indent=2, allow_nan=False))
        return
    show(_table(found, told))
    for line in _lines(found, told, config):
        say(line)


def _as_json(found: "Plan") -> dict[str, Any]:
    """Every number of a plan but the lengths of examples; of each way the most that it takes, in bytes."""
    table = asdict(found)
    del table["data"]["lengths"]
    for way, filled in zip(found.ways, table["ways"], strict=True):
        filled["most"] = way.phases.most.total
    return table


def _table(found: "Plan", told: "Told") -> Table:
    """A row for each way; an update's parts, and the most of all that it does by turns."""
    from kpig.runs.disk import size

    shape = found.shape
    table = Table(
        title=f"{shape.weights / 1e9:.3g} billion weights, {shape.trained / 1e9:.3g} billion learn; memory "
        f"of each of {told.devices} x {told.gigabytes:g} GB",
        title_justify="left",
    )
    table.add_column("way")
    for heading in (*PARTS, *PHASES, "most", "fits"):
        table.add_column(heading, justify="right")
    for number, way in enumerate(found.ways, 1):
        training = way.phases.training
        cells = [size(getattr(training, part)) for part in PARTS]
        totals = [getattr(way.phases, phase).total for phase in (*PHASES, "most")]
        table.add_row(str(number), *cells, *map(size, totals), "yes" if way.fits else "no")
    return table


def _lines(found: "Plan", told: "Told", config: Path) -> Iterator[str]:
    for number, way in enumerate(found.ways, 1):
        yield f"way {number}: {', '.join(way.changes) or 'as configured'}"
    yield from _way_lines(found, told, config)
    yield from _work_lines(found, told)
    yield from _answer_lines(found)
    yield from _disk_lines(found)


def _way_lines(found: "Plan", told: "Told", config: Path) -> Iterator[str]:
    """Which way to take, and with how many processes."""
    from kpig.runs.plan import LEFT_FREE

    if not found.taken.fits:
        yield (
            f"none of these fits into {told.gigabytes:g} GB, of which {LEFT_FREE:.0%} stay free: lower "
            "train.tokens_per_micro_batch and evaluate.tokens_per_batch, take a smaller model, or divide its "
            "weights between several devices (--set train.shard=true)"
        )
        return
    launch = f"torchrun --nproc_per_node {told.devices} -m kpig" if told.devices > 1 else "kpig"
    changes = [*(["model.path=FOLDER"] if told.model else []), *found.taken.changes]
    settings = "".join(f" --set {change}" for change in changes)
    yield f"take: {launch} run {config}{settings}"
    if found.micro_batches < told.devices:
        yield (
            f"passes of an update: {found.micro_batches}, so that {told.devices - found.micro_batches} of "
            f"{told.devices} devices have none: raise train.batch_size, or take fewer"
        )


def _work_lines(found: "Plan", told: "Told") -> Iterator[str]:
    """What is computed, beside replay, and how long it takes where a rate is told."""
    from kpig.runs.disk import size
    from kpig.runs.plan import PLAIN

    work = found.work
    yield (
        f"update: {work.update:.2e} FLOP; {found.updates} updates in each of {found.data.steps} steps, of "
        f"{found.data.examples} examples in all"
    )
    more = found.taken.phases.most.total - found.plain_phases.most.total
    yield (
        f"beside {PLAIN}: {work.update / found.plain.update:.2f} times the FLOP of an update, "
        f"{work.gains / work.total:.1%} of all for gains, {work.steps / work.total:.1%} for what steps begin "
        f"and end with, and {size(abs(more))} "
        f"{'less' if more < 0 else 'more'} memory; rows that examples share take less than is reckoned here"
    )
    if found.update_seconds is None or found.training_seconds is None:
        yield "time: tell --tflops, what a device makes of the like, and it is reckoned"
    else:
        yield (
            f"time: {_seconds(found.update_seconds)} an update, {_hours(found.training_seconds)} for all "
            f"training, at {told.teraflops:g} TFLOP/s a device"
        )


def _answer_lines(found: "Plan") -> Iterator[str]:
    if not found.answers:
        return
    if found.answering_seconds is None:
        yield (
            f"answers: {found.answers} when all tasks are scored; tell --bandwidth, and their time is "
            "reckoned"
        )
    else:
        yield (
            f"answers: {found.answers} when all tasks are scored, {_hours(found.answering_seconds)} at the "
            "least"
        )


def _disk_lines(found: "Plan") -> Iterator[str]:
    from kpig.runs.disk import size

    disk = found.disk
    yield (
        f"disk: {size(disk.total)} at the most: {disk.models} x {size(disk.each)} for the models of steps "
        f"(train.keep_models bounds them), {size(disk.checkpoints)} for checkpoints"
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g} hours" if seconds >= 3600 else f"{seconds / 60:.3g} minutes"
