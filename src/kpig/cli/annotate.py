"""The command `annotate`: find the key parts of instructions, and the constraints that they state."""

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpig import ranks
from kpig.cli import findings
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
    read_tasks,
    run_at,
    served_model,
)
from kpig.cli.chat_model import ChatModel, takes_chat_model
from kpig.cli.screen import say
from kpig.errors import UsageError, some
from kpig.records import Instruction, Task

if TYPE_CHECKING:
    from kpig.model.learner import Learner


UNREAD = "all instructions are single examples' own"
"""Why no constraint is proposed for a stream of such: one holds for all examples of its task."""


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
    from kpig.tasks import coverage, system_prompts

    _check_options(by, model, chat)
    place, constraints_path = _places(tasks, out)
    kept = frozenset() if overwrite else ranks.by_main(lambda: keyparts.by_hand(place))
    every = _read(tasks, like, overwrite)
    chosen = [task for task in every if task.name not in kept or job.further(task)]
    for caution in system_prompts.cautions(every):
        say(f"note: {caution}; then give that config as TASKS, or --like a run that has it", file=sys.stderr)
    backend = chat.backend(device) if by == Way.LLM else None
    if backend is not None:
        _announce(len(frozenset().union(*job.texts(chosen).values())), len(chosen))
    learner = ranks.everywhere(lambda: _learner(model, tasks, device, dtype, max_length))
    found = job.annotate(chosen, by.value, backend, learner, examples, Bars())
    texts = {task.name: task.instruction.text for task in chosen}
    entries = {name: Instruction(texts[name], one) for name, one in found.spans.items() if name not in kept}
    ranks.by_main(lambda: keyparts.write(place, entries, by.value, overwrite, found.own, job.texts(chosen)))
    findings.tell(found, texts)
    say(
        f"key parts of {len(entries)} tasks: {place} ({len(kept)} made by hand were kept); "
        f"look: kpig show {tasks}" + (f" --like {like}" if like else "")
    )
    findings.tell_further(found, chosen, by.value)
    for caution in coverage.cautions(entries.items()):
        say(f"note: {caution}")
    findings.tell_bare([name for name in texts if name not in kept and not found.spans.get(name)], by.value)
    if propose:
        ranks.by_main(lambda: _propose(every, constraints_path, _places(tasks, None)[1], overwrite))
    if backend is not None:
        backend.raise_if_spent()
        backend.raise_if_failed("What was found is kept.")
        findings.raise_if_useless(found)


def _check_options(by: Way, model: str, chat: ChatModel) -> None:
    """Refuse options that mean nothing to a way. UsageError."""
    if ranks.num_started() > 1 and not (model and by in (Way.GAIN, Way.BEST)):
        raise UsageError(
            "several processes share what gain measures, and nothing else of kpig annotate; give --by gain "
            "with a --model, or start it in one process"
        )
    if by != Way.LLM:
        chat.refuse(f"with --by {by.value}; give --by llm to ask a chat model")
    if model and by not in (Way.GAIN, Way.BEST):
        raise UsageError(
            f"--model has no effect with --by {by.value}; leave it out, or give --by gain or best"
        )


def _read(tasks: str, like: str, overwrite: bool) -> tuple[Task, ...]:
    """The tasks, whatever wording their old key parts are of: those that a program wrote are made anew."""
    from kpig.tasks.readers.renewal import Renewal

    renewal = Renewal(overwrite)
    found = read_tasks(tasks, for_training=True, like=run_at(like, tasks), renewal=renewal)
    if renewal.stale:
        names = list(renewal.stale)
        say(
            f"note: key parts of {len(names)} tasks ({some(names)}) are of another wording than their "
            f"instruction and are made anew; of {names[0]} {renewal.stale[names[0]]}",
            file=sys.stderr,
        )
    return found


def _announce(num_texts: int, num_tasks: int) -> None:
    """Say before the first request how many there may be."""
    say(
        f"note: the chat model is asked about {num_texts} instructions of {num_tasks} tasks: {num_texts} "
        f"requests, {2 * num_texts} where every answer has a mistake; failed attempts come on top, answers "
        "in the cache cost none; --max-requests bounds them",
        file=sys.stderr,
    )


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


def _propose(tasks: Sequence[Task], path: Path, beside: Path, overwrite: bool) -> None:
    """Write the constraints that the instructions state and the responses meet; tell what was dropped.

    `beside` is the file that is read with the tasks: what it holds is not stated by their rows.
    """
    from kpig.annotate import proposals

    stated = frozenset() if overwrite else proposals.stated(path, tasks, beside)
    found = {task.name: proposals.propose(task) for task in tasks if task.name not in stated}
    written = proposals.write(path, {name: one.kept for name, one in found.items()}, overwrite)
    count = sum(len(found[name].kept) for name in written.tasks)
    kept = f"those of {len(stated)} tasks made by hand were kept"
    num_read = sum(not task.own_instructions for task in tasks if task.name in found)
    if count:
        say(f"constraints of {len(written.tasks)} tasks: {path} ({count} proposed from their words; {kept})")
    elif num_read:
        also = f"; {kept}" if stated else ""
        say(f"constraints: no words of the {num_read} instructions state one that the responses meet{also}")
    else:
        say(f"constraints: none were read; {kept}" if stated else f"constraints: none were read; {UNREAD}")
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
