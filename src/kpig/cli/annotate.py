"""The command `annotate`: find the key parts of instructions, and the constraints that they state."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from kpig import ranks
from kpig.cli.app import (
    Device,
    DeviceOption,
    Dtype,
    DtypeOption,
    LikeOption,
    MaxLengthOption,
    Overwrite,
    TasksPath,
    app,
    config_of,
    print_counts,
    read_tasks,
    run_at,
    served_model,
)
from kpig.cli.chat_model import ChatModel, takes_chat_model
from kpig.cli.screen import say, show
from kpig.errors import UsageError, some
from kpig.records import Instruction, Task

if TYPE_CHECKING:
    from kpig.annotate.job import Annotation
    from kpig.model.learner import Learner


class Way(StrEnum):
    """One of `kpig.annotate.job.WAYS`."""

    LLM = "llm"
    RULES = "rules"
    GAIN = "gain"
    BEST = "best"


@app.command("annotate")
@takes_chat_model
def annotate_tasks(
    tasks: TasksPath,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where the key parts go, with constraints.json beside them; beside the tasks by default, "
            "where they are read.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[Way, typer.Option("--by", help="How to find them.")] = Way.BEST,
    model: Annotated[
        str,
        typer.Option("--model", help="For gain and best: a model folder, a run or a run's step, or 'tiny'."),
    ] = "",
    chat: ChatModel,
    examples: Annotated[
        int, typer.Option("--examples", min=2, help="Examples per task that gain looks at.")
    ] = 8,
    propose: Annotated[
        bool,
        typer.Option("--constraints/--no-constraints", help="Propose constraints from the instruction, too."),
    ] = True,
    overwrite: Overwrite = False,
    like: LikeOption = "",
    device: DeviceOption = Device.AUTO,
    dtype: DtypeOption = None,
    max_length: MaxLengthOption = None,
) -> None:
    """Find the key parts of every task's instruction, and its constraints, for you to correct by hand.

    `best` uses rules, corrected by the gain of --model where one is given. Constraints are read from the
    instruction's words and kept where 98 % of the training responses meet them. Entries that were made or
    corrected by hand are kept.

    Example: [bold]kpig annotate my/tasks --by rules[/bold]
    """
    from kpig.annotate import job, keyparts
    from kpig.progress import Bars
    from kpig.tasks import coverage

    if ranks.num_started() > 1 and not (model and by in (Way.GAIN, Way.BEST)):
        raise UsageError(
            "several processes share what gain measures, and nothing else of kpig annotate; give --by gain "
            "with a --model, or start it in one process"
        )
    place, constraints_path = _places(tasks, out)
    kept = frozenset() if overwrite else ranks.by_main(lambda: keyparts.by_hand(place))
    every = read_tasks(tasks, for_training=True, like=run_at(like, tasks))
    chosen = [task for task in every if task.name not in kept or task.own_instructions]
    backend = chat.backend(device) if by == Way.LLM else None
    learner = ranks.everywhere(lambda: _learner(model, tasks, device, dtype, max_length))
    found = job.annotate(chosen, by.value, backend, learner, examples, Bars())
    texts = {task.name: task.instruction.text for task in chosen}
    entries = {name: Instruction(texts[name], one) for name, one in found.spans.items() if name not in kept}
    ranks.by_main(lambda: keyparts.write(place, entries, by.value, overwrite, found.own))
    show(_annotated(found, texts))
    print_counts("rejected", found.num_rejected)
    if found.cost.requests:
        say(f"paid for {found.cost.requests} requests, {found.cost.llm_tokens} tokens")
    if found.cost.forward_tokens:
        say(f"gain read {found.cost.forward_tokens} tokens in {found.cost.seconds:.1f} s")
    say(
        f"key parts of {len(entries)} tasks: {place} ({len(kept)} made by hand were kept); "
        f"look: kpig show {tasks}" + (f" --like {like}" if like else "")
    )
    if found.own:
        count = sum(map(len, found.own.values()))
        found_by = "by the chat model" if by == Way.LLM else "by rules"
        say(
            f"note: in {len(found.own)} of them ({some(list(found.own))}) examples have instructions of "
            f"their own: key parts of {count} more were found {found_by}, under 'own'; no constraints are "
            "proposed for them, state 'constraints' in their rows"
        )
    for caution in coverage.cautions(entries.items()):
        say(f"note: {caution}")
    nothing = [name for name, one in entries.items() if not one.key_parts]
    if nothing:
        other = "by rules" if by == Way.LLM else "--by llm"
        say(
            f"note: none were found in {len(nothing)} of them ({some(nothing)}): write them by hand, or try "
            f"--by gain with a model of yours, or {other} (rules read English)"
        )
    if propose:
        ranks.by_main(lambda: _propose(every, constraints_path, overwrite))
    if backend is not None:
        backend.raise_if_spent()


def _places(tasks: str, out: Path | None) -> tuple[Path, Path]:
    """Where key parts and constraints go: beside `out`, else beside the tasks, else in the working folder.

    The shipped tasks and a run's own have no folder to write into.
    """
    from kpig.config import GENERAL, SUITE
    from kpig.runs.folder import is_run
    from kpig.tasks.readers import annotation_paths, files

    if out is not None:
        return out, out.with_name(files.CONSTRAINTS_FILE)
    if config := config_of(tasks):
        tasks = config.stream.path
    path = Path(os.path.expanduser(tasks))
    if tasks in (SUITE, GENERAL) or is_run(path):
        return Path(files.KEY_PARTS_FILE), Path(files.CONSTRAINTS_FILE)
    if not path.exists():
        raise files.missing(path)
    return annotation_paths(path)


def _propose(tasks: Sequence[Task], path: Path, overwrite: bool) -> None:
    """Write the constraints that the instructions state and the responses meet; tell what was dropped."""
    from kpig.annotate import proposals

    stated = frozenset() if overwrite else proposals.stated(path, tasks)
    found = {task.name: proposals.propose(task) for task in tasks if task.name not in stated}
    written = proposals.write(path, {name: one.kept for name, one in found.items()}, overwrite)
    count = sum(len(found[name].kept) for name in written.tasks)
    say(
        f"constraints of {len(written.tasks)} tasks: {path} ({count} proposed from their words; those of "
        f"{len(stated)} tasks made by hand were kept)"
        if count or stated
        else f"constraints: no words of the {len(found)} instructions state one that the responses meet"
    )
    for line in proposals.told(found):
        say(line)


def _learner(
    path: str, tasks: str, device: Device, dtype: Dtype | None, max_length: int | None
) -> "Learner | None":
    if not path:
        return None
    from kpig.model.loading import load
    from kpig.runs.machine import choose_device

    model = served_model(path, tasks, dtype, max_length)
    return load(model.section, device=choose_device(device.value), clock=model.clock)


def _annotated(found: "Annotation", texts: Mapping[str, str]) -> Table:
    from kpig.tasks import coverage

    table = Table("task", "key parts", "share of the text", "kinds", title="key parts", title_justify="left")
    for name, text in texts.items():
        spans = found.spans.get(name, ())
        share = coverage.share(Instruction(text, spans))
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(span.kind for span in spans).items())
        table.add_row(
            Text(name),
            str(len(spans)) if name in found.spans else "none found",
            f"{100 * share:.0f} %",
            kinds,
        )
    return table
