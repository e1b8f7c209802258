"""The command `quickstart`, the first five minutes: three methods on four months of a support desk."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpig.cli.app import Overrides, app, quiet
from kpig.cli.screen import say, show

if TYPE_CHECKING:
    from kpig.config import RunConfig
    from kpig.progress import Watcher
    from kpig.report import RunRecord

METHODS = ("sequential", "replay", "kpig")
SETTINGS: dict[str, Any] = {
    "stream": {"columns": {"instruction": "system"}},
    "train": {"epochs": 8, "learning_rate": 2e-3},
    "evaluate": {"max_new_tokens": 32},
}
"""Those of examples/support-desk/desk.toml; none was changed when methods were compared with them."""

OF_A_REAL_MODEL: dict[str, Any] = {
    "model": {"adapter": "lora", "lora_rank": 16, "lora_alpha": 32},
    "stream": SETTINGS["stream"] | {"train_per_task": 48, "test_per_task": 10},
    "train": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3},
    "evaluate": SETTINGS["evaluate"] | {"num_gain_examples": 4},
}
"""Instead of them: it knows the words already, and has many times the weights. Rank and rate are those of
benchmarks/smollm2-short-base.toml; no method was searched for here either."""


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where tasks, runs and the report go.")] = Path(
        "runs/quickstart"
    ),
    methods: Annotated[str, typer.Option("--methods", help="Methods to compare, with commas.")] = ",".join(
        METHODS
    ),
    seed: Annotated[int, typer.Option("--seed", help="Seed of training order, replay and adapters.")] = 0,
    model: Annotated[
        str, typer.Option("--model", help="A model instead of the tiny one, with LoRA: a folder, a hub name.")
    ] = "",
    overrides: Overrides = None,
) -> None:
    """Teach the tiny model four months of a support desk by three methods: a few minutes on a laptop.

    The tasks are written as chat files into the folder `tasks` of --out. With --model each task has 48
    examples, read once.

    Example: [bold]kpig quickstart --methods sequential,inscl,kpig[/bold]
    """
    from kpig.progress import Bars
    from kpig.report import brief_table, write

    quiet()
    records = run(out, methods.split(","), seed, Bars(), overrides or [], model)
    page = write(records, out)
    show(brief_table(records))
    for line in findings(records):
        say(line)
    say(f"tasks: {out / 'tasks'}, as chat lines")
    say(f"report: {page}")


def run(
    out: Path,
    methods: Sequence[str] = METHODS,
    seed: int = 0,
    watch: "Watcher | None" = None,
    overrides: Sequence[str] = (),
    model: str = "",
) -> "list[RunRecord]":
    """One run per method under `out`, with equal budgets and data; finished ones are taken as they are."""
    from kpig.config import build
    from kpig.files import true_path
    from kpig.report import read_run
    from kpig.runs import job

    tasks = true_path(out / "tasks")
    table = settings_for(model)
    table["stream"] |= {"path": str(tasks)}
    table["run"] = {"share_untuned": True}
    planned = [build(table | {"seed": seed, "method": {"name": method}}, overrides) for method in methods]
    _refuse(planned)
    records = []
    for settings in planned:
        if settings.stream.path == str(tasks):
            prepare(settings)
        folder = out / settings.method.name
        job.run(settings, folder, resume=folder.exists(), watch=watch)
        records.append(read_run(folder))
    return records


def _refuse(planned: "Sequence[RunConfig]") -> None:
    """Raise what a method or a model will be refused for, before anything is written."""
    from kpig.errors import ConfigError, ModelError
    from kpig.methods import chosen
    from kpig.runs import check, machine

    for settings in planned:
        if found := chosen.problems(settings.method):
            raise ConfigError("\n".join(found))
        if problem := check.model_problem(settings.model) or machine.model_problem(settings.model):
            raise ModelError(problem)


def settings_for(model: str) -> dict[str, Any]:
    """The sections of a config for a model, or the tiny one, without the tasks' place."""
    if not model:
        return copy.deepcopy(SETTINGS)
    sections = copy.deepcopy(OF_A_REAL_MODEL)
    return sections | {"model": sections["model"] | {"path": model}}


def prepare(settings: "RunConfig") -> None:
    """Write the chat files, and their key parts and constraints by rules, unless all of them are there."""
    from kpig.annotate import job, keyparts, proposals
    from kpig.records import Instruction
    from kpig.tasks import desk, stream
    from kpig.tasks.readers import files

    folder = Path(settings.stream.path)
    if (folder / files.CONSTRAINTS_FILE).exists():
        return
    desk.write(folder)
    tasks = stream.configured(settings).tasks
    found = job.annotate(tasks, "rules").spans
    entries = {task.name: Instruction(task.instruction.text, found[task.name]) for task in tasks}
    keyparts.write(folder / files.KEY_PARTS_FILE, entries, "rules")
    kept = {task.name: proposals.propose(task).kept for task in tasks}
    proposals.write(folder / files.CONSTRAINTS_FILE, kept)


def findings(records: "Sequence[RunRecord]") -> Iterator[str]:
    """What the scores of these runs say, a sentence each, whoever they favour."""
    from kpig.scoring.metrics import computing

    seen = {record.name: record.scores.final.seen for record in records if record.scores.final.seen}
    if len(seen) > 1:
        best = max(seen, key=lambda name: seen[name].p_score)
        yield f"Highest P, at equal updates: {best}, {seen[best].p_score:.1f}."
    rates = {name: one.half_listening for name, one in seen.items() if one.half_listening is not None}
    if len(rates) > 1:
        least, most = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
        yield f"Half-listens least: {least}, {rates[least]:.1f} %; most: {most}, {rates[most]:.1f} %."
    costs = {record.name: computing(record.scores.cost) for record in records}
    if {"kpig", "replay"} <= set(costs):
        times = costs["kpig"] / costs["replay"]
        yield f"kpig took {times:.1f} times the computing of replay. Replay given as much may be ahead."
    yield "One seed and a small set of tasks: this shows how it works, and proves nothing."
