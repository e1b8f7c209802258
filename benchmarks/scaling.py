"""The tables of docs/scaling.md: what models of 1, 8 and 70 billion weights take, as kpig plan reckons it.

    python benchmarks/scaling.py [--write]

With --write they replace those of the page. Nothing is measured, and no model is loaded. A test holds the
page to what this prints.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from kpig.config import RunConfig, build
from kpig.runs.disk import size
from kpig.runs.plan import CHECKPOINTED, FOUR_BITS, HALF, LORA, SHARD, Plan, Told, plan

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
MODELS = ("llama-1b", "llama-8b", "llama-70b")
STREAM = {"examples": 1_000_000, "steps": 10, "tokens": 512, "response_tokens": 128}
"""What the page reckons with."""

DEVICES, TERAFLOPS = 8, 300.0
"""TFLOP a second of each device: chosen, not measured."""

ANY = 10.0**6
"""Gigabytes of a device that holds everything, so that a plan is that of its config."""

PARTS = ("weights", "casts", "reference", "gradients", "optimizer", "activations", "logits")
WAYS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("full", ()),
    ("full, layers twice", (CHECKPOINTED,)),
    ("LoRA, layers twice", (LORA, CHECKPOINTED)),
    ("the same, bfloat16", (LORA, HALF, CHECKPOINTED)),
    ("the same, nf4", (LORA, HALF, CHECKPOINTED, FOUR_BITS)),
)


def configured(changes: Sequence[str] = (), method: str = "kpig") -> RunConfig:
    """A run on GPUs of the batch size that the page reckons with."""
    table = {"train": {"batch_size": 128, "device": "cuda"}, "method": {"name": method}}
    return build(table, changes)


def planned(model: str, changes: Sequence[str], method: str = "kpig") -> Plan:
    """What a model takes, tuned as the changes say."""
    told = Told(DEVICES, ANY, model, teraflops=TERAFLOPS, **STREAM)
    return plan(configured(changes, method), told)


def _memory(found: Plan) -> list[str]:
    phases = found.taken.phases
    cells = [size(getattr(phases.training, part)) for part in PARTS]
    totals = (phases.gain.total, phases.answering.total)
    return [*cells, *map(size, totals), f"**{size(phases.most.total)}**"]


def memory_rows() -> Iterator[list[str]]:
    """Bytes of each device, by what holds them."""
    yield ["model", "tuning", *PARTS, "gain", "answering", "**most**"]
    for model in MODELS:
        for name, changes in WAYS:
            yield [model, name, *_memory(planned(model, changes))]


def divided_rows() -> Iterator[list[str]]:
    """Bytes of each device where all of them divide the weights."""
    yield ["model", "divided by 8", *PARTS, "gain", "answering", "**most**"]
    for model in MODELS:
        for name, changes in WAYS[:-1]:
            yield [model, name, *_memory(planned(model, [*changes, SHARD]))]


def adding_rows() -> Iterator[list[str]]:
    """What KPIG adds to replay, in memory and computing."""
    yield ["model", "tuning", "memory", "FLOP of an update", "of replay", "of these for gains"]
    for model in MODELS:
        for name, changes in WAYS[1:3]:
            found = planned(model, changes)
            more = found.taken.phases.most.total - found.plain_phases.most.total
            ratio = found.work.update / found.plain.update
            gains = found.work.gains / found.work.total
            work = f"{found.work.update:.1e}"
            yield [
                model,
                name,
                f"{'−' if more < 0 else '+'}{size(abs(more))}",
                work,
                f"{ratio:.2f} times",
                f"{gains:.1%}",
            ]


def time_rows() -> Iterator[list[str]]:
    """Seconds of an update and hours of all training, at a rate that is assumed."""
    yield ["model", "tuning", "an update of kpig", "all of kpig", "all of replay"]
    for model in MODELS:
        for name, changes in WAYS[1:3]:
            found, plain = planned(model, changes), planned(model, changes, "replay")
            hours = [f"{one.training_seconds / 3600:.1f} hours" for one in (found, plain)]
            yield [model, name, f"{found.update_seconds:.2f} s", *hours]


def disk_rows() -> Iterator[list[str]]:
    """Bytes on the disk of a run of ten steps."""
    yield ["model", "tuning", "a step", "checkpoints", "all steps kept", 'keep_models = "last"']
    for model in MODELS:
        for name, changes in (WAYS[0], ("LoRA", (LORA,))):
            every, last = (
                planned(model, [*changes, f"train.keep_models={kept}"]).disk for kept in ("all", "last")
            )
            yield [model, name, *map(size, (every.each, every.checkpoints, every.total, last.total))]


TABLES = (memory_rows, divided_rows, adding_rows, time_rows, disk_rows)


def markdown(rows: Iterator[list[str]]) -> str:
    """A table, its first row the heading."""
    heading, *others = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([heading, "|" + "---|" * heading.count(" | ") + "---|", *others])


def written(page: str) -> str:
    """The page with these tables in the places of those with the same heading."""
    for rows in TABLES:
        table = markdown(rows())
        heading = re.escape(table.partition("\n")[0])
        page = re.sub(rf"{heading}\n(?:\|.*\n)*", lambda _, new=table: f"{new}\n", page)
    return page


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(markdown(rows()) for rows in TABLES))
