"""What can be found wrong with a config before a model loads, and what is sound but may surprise.

Torch loads only to ask the method, when nothing else is wrong.
"""

from collections.abc import Sequence
from pathlib import Path

from kpig import config as configuration
from kpig.tasks import stream
from kpig.config import RunConfig
from kpig.errors import ConfigError, KpigError, some
from kpig.methods import why_missing
from kpig.model.folder import check_folder, is_adapter, resolve
from kpig.records import Stream, Task

MOST_UNREAD = 0.05
"""The share of unread letters from which a P-score is doubtful. Chosen: names and quotes in another script
may stand in a text that is read."""


def check(path: Path, overrides: Sequence[str] = ()) -> tuple[RunConfig, Stream]:
    """The config and the stream that it describes, when both are sound.

    Raises a KpigError that lists every problem of the config, or else of the model folder and the data.
    """
    config = configuration.load(path, overrides)
    problems = [missing] if (missing := why_missing(config.method.name)) else []
    try:
        folder = resolve(config.model.path)
        check_folder(folder)
        if is_adapter(folder):
            problems.append(f"[model] {folder} is an adapter; train from a whole model")
    except KpigError as error:
        problems.append(f"[model] {error}")
    try:
        found = stream.configured(config)
    except KpigError as error:
        problems.append(f"[stream] {error}")
    if not problems:
        problems = _method_problems(config, found)
    if problems:
        raise ConfigError(f"{path}: " + "\n".join(problems))
    return config, found


def _method_problems(config: RunConfig, tasks: Stream) -> list[str]:
    from kpig.methods.base import create

    try:
        create(config).arrange(tasks.steps)
    except KpigError as error:
        return [str(error)]
    return []


def cautions(config: RunConfig, tasks: Stream) -> list[str]:
    """Sentences about what a run will do, that whoever starts it may not expect; none where there are none."""
    bare = [task.name for task in tasks.tasks if not any(one.key_parts for one in task.instructions)]
    found = scorer_cautions((*tasks.tasks, *tasks.held_out))
    if config.method.name != "kpig" or not bare:
        return found
    return [
        f"{len(bare)} of {len(tasks.tasks)} tasks have no key parts ({some(bare)}): no gain, no masked twin, so kpig learns "
        "them as replay does; kpig annotate finds key parts (its rules read English)",
        *found,
    ]


def scorer_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where ROUGE-L judges tasks whose references it hardly reads: the published scorer knows ASCII only."""
    unread = [task.name for task in tasks if task.metric == "rougeL" and _share_unread(task) >= MOST_UNREAD]
    if not unread:
        return []
    return [
        f"{len(unread)} of {len(tasks)} tasks have references with letters outside ASCII ({some(unread)}): ROUGE-L of "
        "Super-NaturalInstructions drops them and compares what is left, so the P-score of these tasks means little"
    ]


def _share_unread(task: Task) -> float:
    """The share of the letters and digits in a task's references that the scorer drops."""
    text = "".join(reference for example in task.test for reference in example.references)
    read = [character.isascii() for character in text if character.isalnum()]
    return 1 - sum(read) / len(read) if read else 0.0
