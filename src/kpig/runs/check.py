"""What can be found wrong with a config before a model loads, and what is sound but may surprise.

Torch loads where LoRA is to be put on a model, and for a method of a third party.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kpig.config import GENERAL, SUITE, MethodSection, ModelSection, RunConfig
from kpig.config.table import merged
from kpig.config.tree import examined, load_table, settings_of
from kpig.config.words import listed
from kpig.errors import ConfigError, KpigError, some
from kpig.methods import chosen
from kpig.model.folder import adapter_problem, check_folder, resolve
from kpig.records import Stream, Task
from kpig.runs import fitting, machine, trackers, validation
from kpig.tasks import coverage, own_answers, repetition, stream, system_prompts
from kpig.tasks.matching import collisions, normalize
from kpig.tasks.metric_choice import share_unread

MOST_UNREAD = 0.05
"""The share of unread letters from which a P-score is doubtful. Chosen: names and quotes in another script
may stand in a text that is read."""

MOST_COLLIDED = 0.05
"""The share of examples with references that ROUGE-L cannot tell apart from which it is told. Chosen."""

MOST_SHOWN, MOST_SHOWN_CHARACTERS = 5, 30
"""Of collisions, of texts in one, and of characters of a text, in a sentence. Chosen."""

CONSEQUENCES = {
    "exact": "the responses are scored by 'exact', which keeps both",
    "accuracy": "'accuracy' takes one for the other; state the metric 'exact', which keeps both",
    "rougeL": "ROUGE-L takes one for the other; if answers are right or wrong, state the metric 'exact'",
}


def check(path: Path, overrides: Sequence[str] = ()) -> tuple[RunConfig, Stream]:
    """The config and the stream that it describes, when both are sound.

    Raises a KpigError that lists every problem of the config and its method, or else of the model folder
    and the data.
    """
    table = merged(load_table(path), overrides)
    config, problems = examined(table)
    problems += _method_problems(table)
    if config is None or problems:
        raise ConfigError(listed(str(path), problems))
    if problem := machine.device_problem(config):
        problems.append(f"[train] {problem}")
    if problem := trackers.problem(config.run.track):
        problems.append(f"[run] {problem}")
    if problem := model_problem(config.model) or machine.model_problem(config.model):
        problems.append(f"[model] {problem}")
    try:
        found = stream.configured(config) if problems else fitting.stream_of(config)
    except KpigError as error:
        problems += [f"[stream] {error}", *_first_words(path, config)]
    else:
        problems += [f"[stream] {one}" for one in own_answers.problems((*found.tasks, *found.held_out))]
    if not problems:
        problems = learning_problems(config, found)
    if problems:
        raise ConfigError(listed(str(path), problems))
    return config, found


def require(config: RunConfig, tasks: Stream) -> None:
    """ConfigError where a stream cannot be learned as a config asks, which `check` refuses too."""
    every = (*tasks.tasks, *tasks.held_out)
    problems = [f"[stream] {one}" for one in own_answers.problems(every)]
    if problems := [*problems, *validation.problems(config, tasks)]:
        raise ConfigError("\n".join(problems))


def _first_words(path: Path, config: RunConfig) -> list[str]:
    """The comment that a config begins with, where task files that it names are missing: it may tell why."""
    held_out = config.stream.held_out
    others = (held_out,) if isinstance(held_out, str) else held_out
    named = (config.stream.path, config.stream.variants, *others)
    if all(one in ("", SUITE, GENERAL) or Path(one).exists() for one in named):
        return []
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    words = first.removeprefix("#").strip()
    return [f"[stream] {path} itself begins: {words}"] if first.startswith("#") and words else []


def model_problem(model: str | ModelSection) -> str:
    """Why no stream can be learned from a model, as far as its folder tells; "" for nothing.

    A path stands for its [model] section with all else at its default.
    """
    section = ModelSection(path=model) if isinstance(model, str) else model
    try:
        if problem := adapter_problem(section):
            return problem
        check_folder(resolve(section.path))
    except KpigError as error:
        return str(error)
    return ""


def _method_problems(table: Mapping[str, Any]) -> list[str]:
    """Those of the [method] table alone, so that a slip elsewhere does not hide them."""
    try:
        section = MethodSection.model_validate(table.get("method", {}))
    except ValidationError:
        return []
    return chosen.problems(section)


def learning_problems(config: RunConfig, tasks: Stream) -> list[str]:
    """What the method says of the config and the stream, and settings that nothing could be decided by."""
    try:
        chosen.create(config).arrange(tasks.steps)
        found = []
    except KpigError as error:
        found = [str(error)]
    return [*found, *validation.problems(config, tasks)]


def cautions(config: RunConfig, tasks: Stream) -> list[str]:
    """Sentences about what a run will do, that whoever starts it may not expect; there may be none."""
    found = [*machine.cautions(config.model), *weight_cautions(config), *_half_cautions(config)]
    found += scorer_cautions((*tasks.tasks, *tasks.held_out))
    found += own_answers.constraint_cautions((*tasks.tasks, *tasks.held_out))
    found += own_instruction_cautions((*tasks.tasks, *tasks.held_out))
    found += data_cautions((*tasks.tasks, *tasks.held_out))
    found += _bare_example_cautions(config, tasks)
    found += validation.cautions(config, tasks)
    found += coverage.cautions(coverage.instructions((*tasks.tasks, *tasks.held_out)))
    bare = [task.name for task in tasks.tasks if not _has_key_parts(task)]
    if config.method.name != "kpig" or not bare:
        return found
    return [
        f"{len(bare)} of {len(tasks.tasks)} tasks have no key parts ({some(bare)}): no gain, no masked "
        "twin, so kpig learns them as replay does; kpig annotate finds key parts (its rules read English)",
        *found,
    ]


def _has_key_parts(task: Task) -> bool:
    return any(one.key_parts for one in (*task.instructions, *task.own_instructions))


def _bare_example_cautions(config: RunConfig, tasks: Stream) -> list[str]:
    """A sentence where examples are bare in tasks that have key parts elsewhere, though kpig needs them."""
    partly = [task for task in tasks.tasks if _has_key_parts(task)]
    examples = [example for task in partly for example in task.train]
    bare = sum(not example.instruction.key_parts for example in examples)
    if config.method.name != "kpig" or not bare:
        return []
    return [
        f"{bare} of {len(examples)} training examples in tasks with key parts have an instruction or a "
        "wording without any: kpig learns these as replay does; find key parts with kpig annotate, or state "
        "'key_parts' in their rows"
    ]


def own_instruction_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where examples of a task keep instructions of their own."""
    own = [task.name for task in tasks if task.own_instructions]
    if not own:
        return []
    return [
        f"{len(own)} of {len(tasks)} tasks have examples with instructions of their own ({some(own)}): each "
        "example keeps the one it came with. Where they are wordings of one instruction, say so: "
        "'wording_of' in JSONL and tables, or a variants.json"
    ]


def data_cautions(tasks: Sequence[Task]) -> list[str]:
    """Sentences about examples that contradict or repeat each other, and about system prompts."""
    return [*repetition.cautions(tasks), *system_prompts.cautions(tasks)]


def weight_cautions(config: RunConfig) -> list[str]:
    """A sentence where all weights are tuned in bfloat16, which has no room for small updates."""
    if config.model.dtype != "bfloat16" or config.model.adapter != "none":
        return []
    return [
        'model.dtype = "bfloat16" with adapter = "none": an update of less than about 1/400 of a weight is '
        "lost in rounding. Of the shipped model's weights 30 updates moved 6 % at a learning rate of 2e-5 "
        f"and 44 % at 2e-4, in float32 all; yours is {config.train.learning_rate:g}. "
        'Set model.dtype = "float32", or model.adapter = "lora"'
    ]


def _half_cautions(config: RunConfig) -> list[str]:
    device = machine.choose_device(config.train.device)
    return machine.half_cautions(settings_of(config), device)


def scorer_cautions(tasks: Sequence[Task]) -> list[str]:
    """Sentences about references that the scorer cannot read or tell apart."""
    return [*_unread_cautions(tasks), *_collision_cautions(tasks), *own_answers.metric_cautions(tasks)]


@dataclass(frozen=True)
class _Collided:
    """References of a task that are the same to its scorer, and in how many examples such stand."""

    task: Task
    groups: Sequence[Sequence[str]]
    num_touched: int

    @property
    def num_examples(self) -> int:
        return len(self.task.train) + len(self.task.test)


def _collision_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence for each metric whose tasks have references that are the same to it, if any that count."""
    found = [collided for task in tasks if (collided := _collided(task)) is not None]
    metrics = dict.fromkeys(one.task.metric for one in found)
    return [_collision_caution([one for one in found if one.task.metric == metric]) for metric in metrics]


def _collided(task: Task) -> _Collided | None:
    examples = [example.references for example in (*task.train, *task.test)]
    if task.metric not in CONSEQUENCES:
        return None
    found = collisions(examples)
    if task.metric == "rougeL":
        found = [texts for texts in found if _differ_in_meaning(texts)]
    collided = {text for texts in found for text in texts}
    num_touched = sum(any(one.strip() in collided for one in references) for references in examples)
    if not found or (task.metric == "rougeL" and num_touched < MOST_COLLIDED * len(examples)):
        return None
    return _Collided(task, found, num_touched)


def _collision_caution(found: Sequence[_Collided]) -> str:
    """One sentence about tasks of one metric; it shows the references of the first."""
    first = found[0]
    shown = "; ".join(_collision(texts) for texts in first.groups[:MOST_SHOWN])
    more = f" and {len(first.groups) - MOST_SHOWN} more" if len(first.groups) > MOST_SHOWN else ""
    who, of_first = f"task '{first.task.name}'", ""
    if len(found) > 1:
        who, of_first = f"{len(found)} tasks ({some([one.task.name for one in found])})", "of the first: "
    return (
        f"{who}: without case and punctuation some references are the same text or none "
        f"({of_first}{shown}{more}), in {sum(one.num_touched for one in found)} of "
        f"{sum(one.num_examples for one in found)} examples: {CONSEQUENCES[first.task.metric]}"
    )


def _differ_in_meaning(texts: Sequence[str]) -> bool:
    """Whether the texts differ in more than what ends a sentence and its capitals, or say nothing at all."""
    return len({text.lower().rstrip(".!? ") for text in texts}) > 1 or not normalize(texts[0])


def _collision(texts: Sequence[str]) -> str:
    shown = " = ".join(repr(text[:MOST_SHOWN_CHARACTERS]) for text in texts[:MOST_SHOWN])
    return shown if normalize(texts[0]) else f"{shown} = nothing"


def _unread_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where ROUGE-L judges tasks whose references it hardly reads: the scorer knows ASCII only."""
    unread = [task.name for task in tasks if task.metric == "rougeL" and _unread(task) >= MOST_UNREAD]
    if not unread:
        return []
    return [
        f"{len(unread)} of {len(tasks)} tasks have references with letters outside ASCII ({some(unread)}): "
        "ROUGE-L of Super-NaturalInstructions drops them and compares what is left, so the P-score of these "
        "tasks means little"
    ]


def _unread(task: Task) -> float:
    return share_unread(reference for example in task.test for reference in example.references)
