"""Which examples a model cannot read: those that do not fit even without their input. No weights."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from kpig.config import SUITE, RunConfig
from kpig.errors import DataError, some
from kpig.model import vocabulary
from kpig.model.encoding import Encoder
from kpig.records import Example, Instruction, Stream, Task
from kpig.scoring import probing
from kpig.tasks import stream

CLOCK = "2026-01-01T12:00:00"
"""What a chat template that asks for the date is told: what is left out must be the same tomorrow."""

ROOM_FOR_MASKS = 64
"""Tokens by which a masked twin, and what stands between the parts of a prompt, may be longer. Chosen."""

ROOM_FOR_A_TURN = 16
"""Tokens that a chat template may put around one turn. Chosen."""

MOST_NAMED = 3
"""Examples that a message names. Chosen: enough to find what they have in common."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TooLong:
    """An example that does not fit, and the tokens that it needs without its input."""

    example: Example
    num_tokens: int


def stream_of(config: RunConfig) -> Stream:
    """The stream that a run of the config learns: without what its model cannot read, where that is skipped.

    Raises as `stream.configured` does, and as `fitted`.
    """
    return fitted(config, stream.configured(config))


def fitted(config: RunConfig, tasks: Stream) -> Stream:
    """The stream without the examples that do not fit, where the config skips rows that cannot be used.

    How many these are is logged. Raises DataError where a task has no training or test example left, and
    ModelError where the tokenizer cannot be loaded.
    """
    if config.stream.bad_rows != "skip" or config.stream.path == SUITE:
        return tasks
    encoder = vocabulary.encoder_of(config.model, CLOCK)
    found = too_long(encoder, tasks, config)
    if not found:
        return tasks
    log.warning("%s; skipped", _sentence(encoder, found, tasks))
    gone = {(one.example.task, one.example.id) for one in found}
    learned = {task.name for task in tasks.tasks}
    kept = {task.name: _without(task, gone, task.name in learned) for task in _all(tasks)}
    return replace(
        tasks,
        steps=tuple(tuple(kept[task.name] for task in step) for step in tasks.steps),
        held_out=tuple(kept[task.name] for task in tasks.held_out),
    )


def require(encoder: Encoder, tasks: Stream, config: RunConfig) -> None:
    """DataError that tells how many examples do not fit and what the longest needs, if there are any."""
    if found := too_long(encoder, tasks, config):
        needed = max(one.num_tokens for one in found)
        skip = "" if config.stream.path == SUITE else ', or leave them out with stream.bad_rows = "skip"'
        raise DataError(
            f"{_sentence(encoder, found, tasks)}. Raise it to at least {needed}; where the model cannot, "
            f"shorten them or take another model{skip}."
        )


def too_long(encoder: Encoder, tasks: Stream, config: RunConfig) -> list[TooLong]:
    """The examples that do not fit, in the order of the stream, each once.

    They are tried under every wording that decides: the longest to be trained under, and those of tests. A
    test example needs room for an answer of evaluate.max_new_tokens.
    """
    room = room_of(encoder)
    found: dict[tuple[str, str], TooLong] = {}
    for example, num_reserved in _read_and_asked(tasks, config):
        if num_bytes_apart(encoder, example, num_reserved) > room:
            needed = encoder.num_tokens_apart(example, num_reserved)
            key = (example.task, example.id)
            if needed > encoder.max_length and (key not in found or needed > found[key].num_tokens):
                found[key] = TooLong(example, needed)
    return list(found.values())


def room_of(encoder: Encoder) -> int:
    """Bytes of an example's texts that surely fit: a token is at least a byte of text.

    So most examples need not be encoded to be known to fit.
    """
    return encoder.max_length - len(encoder.text_ids("x")) - ROOM_FOR_MASKS - len(encoder.system.encode())


def num_bytes_apart(encoder: Encoder, example: Example, num_reserved: int = 0) -> int:
    """Of all texts but the input, and what a template puts around earlier turns; see `room_of`.

    The response, or room for an answer of `num_reserved` tokens where that is more, is among them.
    """
    said = sum(len(message.text.encode()) + ROOM_FOR_A_TURN for message in example.context)
    asked = _num_bytes_of(example.instruction, encoder.mask_text)
    return said + asked + max(len(example.response.encode()), num_reserved)


@lru_cache(maxsize=4096)
def _num_bytes_of(instruction: Instruction, mask_text: str) -> int:
    """Of an instruction or its masked twin, whichever is longer. Thousands of examples share one."""
    return max(len(text.encode()) for text in (instruction.text, instruction.masked(mask_text)))


def _read_and_asked(tasks: Stream, config: RunConfig) -> Iterator[tuple[Example, int]]:
    """Every example that is learned or tested, with the room for an answer that it needs at least."""
    for task in tasks.tasks:
        for example in (*task.train, *task.validation):
            yield example, 0
        for example in task.train:
            longest = task.longest_wording(example)
            if longest != example.instruction:
                yield replace(example, instruction=longest), 0
    for probe in probing.probes({"": _all(tasks)}, config.evaluate):
        yield probe.example, config.evaluate.max_new_tokens


def _sentence(encoder: Encoder, found: Sequence[TooLong], tasks: Stream) -> str:
    """How many examples do not fit, which of them needs most, and the limit; with no full stop."""
    longest = max(found, key=lambda one: one.num_tokens)
    example, ids = longest.example, [f"{one.example.task}: {one.example.id}" for one in found]
    parts = "the system prompt, earlier turns, " if len(encoder.messages(example)) > 1 else ""
    count = "1 example does" if len(found) == 1 else f"{len(found)} examples do"
    return (
        f"{count} not fit the model even without the input ({some(ids, MOST_NAMED)}), of "
        f"{_num_examples(tasks)}: example {example.id!r} of task {example.task!r} needs most, "
        f"{longest.num_tokens} tokens for {parts}the instruction and the response, or room for an answer; "
        f"the limit is {encoder.max_length}: model.max_length, or the model's own where that is lower"
    )


def _without(task: Task, gone: set[tuple[str, str]], is_learned: bool) -> Task:
    def left(examples: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(one for one in examples if (one.task, one.id) not in gone)

    kept = replace(task, train=left(task.train), test=left(task.test), validation=left(task.validation))
    for split, examples in (("training", kept.train if is_learned else (0,)), ("test", kept.test)):
        if not examples:
            raise DataError(
                f"task '{task.name}': none of its {split} examples fits the model, so that skipping what "
                "cannot be used leaves none; raise model.max_length, or leave the task out"
            )
    return kept


def _all(tasks: Stream) -> tuple[Task, ...]:
    return (*tasks.tasks, *tasks.held_out)


def _num_examples(tasks: Stream) -> int:
    return sum(len(task.train) + len(task.validation) + len(task.test) for task in _all(tasks))
