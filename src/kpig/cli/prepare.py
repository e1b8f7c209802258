"""Commands that make tasks ready for KPIG: annotate, diversify and show."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kpig.cli.app import Device, TasksPath, app, choose_device, quiet, read_tasks, show_table
from kpig.errors import UsageError, some
from kpig.files import publish
from kpig.records import Instruction

LlmName = Annotated[
    str, typer.Option("--llm", help="The chat model's name on the server, or a local model folder.")
]
LlmUrl = Annotated[
    str, typer.Option("--base-url", help="An OpenAI-compatible server; empty: a local folder.")
]
KeyVariable = Annotated[
    str, typer.Option("--key-variable", help="Environment variable with the API key; '': none.")
]
MaxRequests = Annotated[
    int, typer.Option("--max-requests", min=0, help="Stop after so many requests; 0: no limit.")
]
MaxTokens = Annotated[
    int, typer.Option("--max-tokens", min=0, help="Stop after so many tokens; 0: no limit.")
]
CacheDir = Annotated[Path, typer.Option("--cache", help="Folder of answers already paid for.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there, hand-made entries too.")]
DEFAULT_CACHE = Path(".kpig-cache")


@app.command()
def annotate(
    tasks: TasksPath,
    out: Annotated[
        Path, typer.Option("--out", help="Where the key parts go; beside the tasks they are read.")
    ] = Path("keyparts.json"),
    by: Annotated[str, typer.Option("--by", help="llm, rules, gain or best.")] = "best",
    model: Annotated[str, typer.Option("--model", help="For gain and best: a model folder, or 'tiny'.")] = "",
    llm: LlmName = "",
    base_url: LlmUrl = "",
    key_variable: KeyVariable = "OPENAI_API_KEY",
    max_requests: MaxRequests = 0,
    max_tokens: MaxTokens = 0,
    cache: CacheDir = DEFAULT_CACHE,
    examples: Annotated[
        int, typer.Option("--examples", min=2, help="Examples per task that gain looks at.")
    ] = 8,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Find the key parts of every task's instruction, for you to correct by hand.

    `best` uses rules, corrected by the gain of --model where one is given. Entries that were made or
    corrected by hand are kept.

    Example: [bold]kpig annotate my/tasks --by rules --out my/keyparts.json[/bold]
    """
    from kpig.annotate import job, keyparts
    from kpig.progress import Bars

    kept = frozenset() if overwrite else keyparts.by_hand(out)
    chosen = [task for task in read_tasks(tasks, for_training=True) if task.name not in kept]
    backend = (
        _backend(llm, base_url, key_variable, max_requests, max_tokens, cache, device)
        if by == "llm"
        else None
    )
    found = job.annotate(chosen, by, backend, _learner(model, device), examples, Bars())
    texts = {task.name: task.instruction.text for task in chosen}
    entries = {name: Instruction(texts[name], spans) for name, spans in found.spans.items()}
    keyparts.write(out, entries, by, overwrite)
    show_table(_annotated(found, texts))
    _print_counts("rejected", found.num_rejected)
    if found.cost.requests:
        print(f"paid for {found.cost.requests} requests, {found.cost.llm_tokens} tokens")
    if found.cost.forward_tokens:
        print(f"gain read {found.cost.forward_tokens} tokens in {found.cost.seconds:.1f} s")
    print(
        f"key parts of {len(entries)} tasks: {out} ({len(kept)} made by hand were kept); look: kpig show {tasks}"
    )
    nothing = [name for name, one in entries.items() if not one.key_parts]
    if nothing:
        print(
            f"note: none were found in {len(nothing)} of them ({some(nothing)}); the rules read English: write them by hand, "
            "or try --by gain with a model of yours, or --by llm"
        )


@app.command()
def diversify(
    tasks: TasksPath,
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
    ] = 0.9,
    llm: LlmName = "",
    base_url: LlmUrl = "",
    key_variable: KeyVariable = "OPENAI_API_KEY",
    max_requests: MaxRequests = 0,
    max_tokens: MaxTokens = 0,
    cache: CacheDir = DEFAULT_CACHE,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Rewrite instructions, key parts watched: breadth without any LLM, all four ways with one.

    Example: [bold]kpig diversify my/tasks --n 20 --out my/tasks[/bold]
    """
    from kpig import diversify as rewriting
    from kpig.progress import Bars

    if (out / "variants.json").exists() and not overwrite:
        raise UsageError(
            f"{out / 'variants.json'} is there already; give --overwrite to replace it, or --out another folder"
        )
    chosen = read_tasks(tasks, for_training=True)
    backend = _backend(llm, base_url, key_variable, max_requests, max_tokens, cache, device) if llm else None
    wanted = tuple(way.strip() for way in ways.split(",")) if ways else None
    bars = Bars()
    with bars.phase("diversify", len(chosen)):
        report = rewriting.diversify(
            chosen,
            count,
            wanted,
            backend,
            seed=seed,
            evaluation_share=evaluation_share,
            temperature=0.0 if llm and Path(llm).is_dir() else temperature,
            on_task=lambda name: bars.advance(),
            on_progress=lambda progress: bars.advance(0, _spent(progress)),
        )
    rewriting.write(report, out, overwrite)
    show_table(_diversified(report))
    _print_counts("accepted", report.by_way)
    _print_counts(
        "rejected", Counter({f"{way}: {reason}": n for (way, reason), n in report.by_reason.items()})
    )
    if report.num_unchecked:
        print(f"{report.num_unchecked} added rules cannot be checked by a program; read them")
    print(f"variants: {out / 'variants.json'}")


@app.command()
def show(
    tasks: TasksPath,
    task: Annotated[str, typer.Option("--task", help="Only the task of this name.")] = "",
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one page per task into this folder.")
    ] = None,
) -> None:
    """Print instructions with their key parts highlighted by kind, the masked twin and one example.

    Example: [bold]kpig show suite --task reverse-period[/bold]
    """

    from kpig.errors import nearest
    from kpig.tasks import show as view

    chosen = {one.name: one for one in read_tasks(tasks)}
    if task and task not in chosen:
        near = nearest(task, chosen)
        raise UsageError(
            f"there is no task {task!r}" + (f"; did you mean {near!r}?" if near else f" in {tasks}")
        )
    for one in [chosen[task]] if task else chosen.values():
        if html is None:
            Console().print(view.terminal(one))
        else:
            publish(html / f"{one.name}.html", view.html(one))
            print(html / f"{one.name}.html")


def _backend(
    llm: str, base_url: str, key_variable: str, max_requests: int, max_tokens: int, cache: Path, device: str
):
    """The text backend of the options: a server where a URL is given or set in the environment, else a folder."""
    import os

    from kpig.llm import Budget, HttpModel, TextBackend, load_local, settings_from

    if not llm and not os.environ.get("OPENAI_MODEL"):
        raise UsageError("name a chat model with --llm (and --base-url for a server), or use --by rules")
    budget = Budget(max_requests or None, max_tokens or None)
    if llm and Path(llm).is_dir():
        quiet()
        return TextBackend(load_local(llm, choose_device(device)), cache, budget)
    given = {"model": llm, "base_url": base_url, "key_variable": key_variable}
    settings = settings_from(**{key: value for key, value in given.items() if value or key == "key_variable"})
    return TextBackend(HttpModel(settings), cache, budget)


def _learner(model: str, device: str):
    if not model:
        return None
    from kpig.config import ModelSection
    from kpig.model import learner as models

    quiet()
    return models.load(ModelSection(path=model), device=choose_device(device))


def _spent(progress) -> str:
    """What an LLM job has cost so far."""
    usage = progress.usage
    return f"{progress.done}/{progress.total} requests, {progress.cached} cached, {usage.tokens} tokens paid"


def _annotated(found, texts: dict[str, str]) -> Table:
    table = Table("task", "key parts", "share of the text", "kinds", title="key parts", title_justify="left")
    for name, text in texts.items():
        spans = found.spans.get(name, ())
        share = sum(span.end - span.start for span in spans) / len(text)
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(span.kind for span in spans).items())
        table.add_row(
            name, str(len(spans)) if name in found.spans else "none found", f"{100 * share:.0f} %", kinds
        )
    return table


def _diversified(report) -> Table:
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
        table.add_row(one.task, str(training), str(one.num_evaluation), str(len(one.rejections)), possible)
    return table


def _print_counts(what: str, counts: Counter) -> None:
    if counts:
        print(f"{what}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
