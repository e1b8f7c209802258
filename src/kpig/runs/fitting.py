"""Which examples a model cannot read: those that do not fit even without their input. No weights."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from kpig.config import SUITE, RunConfig
from kpig.errors import DataError, ModelError, some
from kpig.model import vocabulary
from kpig.model.encoding import Encoder
from kpig.records import Example, Instruction, Stream, Task
from kpig.scoring import probing
from kpig.tasks import stream
from kpig.tasks.drafts import Draft, example_of
from kpig.tasks.problems import brief

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
    """An example that does not fit, and the tokens that it needs without its input.

    `answer` are tokens of room for an answer, 0 where the response needs more; `wording` is the text under
    which it does not fit, "" where that is its own instruction.
    """

    example: Example
    num_tokens: int
    answer: int = 0
    wording: str = ""


class Fitter:
    """Leaves out of each task the rows that do not fit, before it is split, and counts them."""

    def __init__(self, config: RunConfig, run: Path | None = None):
        self.encoder = _encoder(config, run)
        self.room = room_of(self.encoder)
        self.most = config.evaluate.max_new_tokens
        self.found: list[TooLong] = []
        self.num_rows = 0

    def __call__(self, draft: Draft) -> Draft:
        """The task with the rows that fit. DataError where none does.

        A row that may become a test example, because it states no split, needs room for an answer too.
        """
        kept = []
        self.num_rows += len(draft.rows)
        for row in draft.rows:
            reserved = self.most if row.split in (None, "test") else 0
            if found := _too_long(self.encoder, self.room, example_of(draft, row), reserved):
                self.found.append(found)
            else:
                kept.append(row)
        if not kept:
            last = self.found[-1]
            raise DataError(
                f"{draft.where}: task '{draft.name}': none of its {len(draft.rows)} examples fits the model: "
                f"{_needs(self.encoder, last)}. {_cure(last)}, or leave the task out"
            )
        return draft if len(kept) == len(draft.rows) else replace(draft, rows=tuple(kept))

    def tell(self) -> None:
        """Log how many rows were left out, if there are any."""
        if self.found:
            log.warning("%s; skipped", _sentence(self.encoder, self.found, self.num_rows))


def stream_of(config: RunConfig, run: Path | None = None) -> Stream:
    """The stream that a run of the config learns: without what its model cannot read, where that is skipped.

    `run` is the folder of such a run, whose models have the tokenizer too where the one it began with is
    gone. Raises as `stream.configured` does, and ModelError where the tokenizer cannot be loaded.
    """
    if not _skips(config):
        return stream.configured(config)
    fitter = Fitter(config, run)
    found = stream.configured(config, fitter)
    fitter.tell()
    return found


def _skips(config: RunConfig) -> bool:
    return config.stream.bad_rows == "skip" and config.stream.path != SUITE


def _encoder(config: RunConfig, run: Path | None) -> Encoder:
    """That of the model that a config names, or else of the last one that the run has saved."""
    try:
        return vocabulary.encoder_of(config.model, CLOCK)
    except ModelError:
        saved = sorted(run.glob("steps/*/model")) if run else []
        if not saved:
            raise
        return vocabulary.encoder_of(config.model.model_copy(update={"path": str(saved[-1])}), CLOCK)


def require(encoder: Encoder, tasks: Stream, config: RunConfig) -> None:
    """DataError that tells how many examples do not fit and what the longest needs, if there are any."""
    if found := too_long(encoder, tasks, config):
        longest = max(found, key=lambda one: one.num_tokens)
        skip = "" if _skips(config) or longest.wording else ', or leave them out: stream.bad_rows = "skip"'
        num_examples = sum(len(one.train) + len(one.validation) + len(one.test) for one in _all(tasks))
        raise DataError(f"{_sentence(encoder, found, num_examples)}. {_cure(longest)}{skip}.")


def too_long(encoder: Encoder, tasks: Stream, config: RunConfig) -> list[TooLong]:
    """The examples that do not fit, in the order of the stream, each once.

    They are tried under every wording that they may be trained under or are tested under. A test example
    needs room for an answer of evaluate.max_new_tokens.
    """
    room = room_of(encoder)
    found: dict[tuple[str, str], TooLong] = {}
    for example, stated, num_reserved in _read_and_asked(encoder, room, tasks, config):
        one = _too_long(encoder, room, example, num_reserved)
        key = (example.task, example.id)
        if one and (key not in found or one.num_tokens > found[key].num_tokens):
            found[key] = (
                one if example.instruction == stated else replace(one, wording=example.instruction.text)
            )
    return list(found.values())


def _too_long(encoder: Encoder, room: int, example: Example, num_reserved: int) -> TooLong | None:
    """What an example needs, where that is more than fits; `room` as `room_of`."""
    if num_bytes_apart(encoder, example, num_reserved) <= room:
        return None
    needed = encoder.num_tokens_apart(example, num_reserved)
    if needed <= encoder.max_length:
        return None
    is_short = len(encoder.response_ids(example.response)) < num_reserved
    return TooLong(example, needed, num_reserved if is_short else 0)


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


def _read_and_asked(
    encoder: Encoder, room: int, tasks: Stream, config: RunConfig
) -> Iterator[tuple[Example, Instruction, int]]:
    """Every example as it is learned or tested: with its own instruction, and the room for an answer.

    Under further wordings only where the longest of the task may be too long: there may be twenty of each.
    """
    for task in tasks.tasks:
        for example in (*task.train, *task.validation):
            yield example, example.instruction, 0
        longest = max((_num_bytes_of(one, encoder.mask_text) for one in task.instructions), default=0)
        for example in task.train:
            own = _num_bytes_of(example.instruction, encoder.mask_text)
            if num_bytes_apart(encoder, example) - own + longest <= room:
                continue
            for wording in task.wordings(example):
                if wording != example.instruction:
                    yield replace(example, instruction=wording), example.instruction, 0
    for task in _all(tasks):
        stated = {example.id: example.instruction for example in task.test}
        for probe in probing.probes({"": [task]}, config.evaluate):
            yield probe.example, stated[probe.example.id], config.evaluate.max_new_tokens


def _sentence(encoder: Encoder, found: Sequence[TooLong], num_examples: int) -> str:
    """How many examples do not fit, which of them needs most, and the limit; with no full stop."""
    longest = max(found, key=lambda one: one.num_tokens)
    ids = [f"{one.example.task}: {one.example.id}" for one in found]
    count = "1 example does" if len(found) == 1 else f"{len(found)} examples do"
    return (
        f"{count} not fit the model even without the input ({some(ids, MOST_NAMED)}), of {num_examples}: "
        f"{_needs(encoder, longest)}"
    )


def _needs(encoder: Encoder, one: TooLong) -> str:
    before = "the system prompt, earlier turns, " if len(encoder.messages(one.example)) > 1 else ""
    under = f" under the wording {brief(one.wording)}" if one.wording else ""
    answer = f"room for an answer of {one.answer}" if one.answer else "the response"
    return (
        f"example {one.example.id!r} of task {one.example.task!r} needs {one.num_tokens} tokens for {before}"
        f"the instruction{under} and {answer}; the limit is {encoder.max_length}: model.max_length, or the "
        "model's own where that is lower"
    )


def _cure(one: TooLong) -> str:
    """What to do about the example that needs most, as the beginning of a sentence."""
    where = "shorten the instruction"
    if one.wording:
        where = "leave that wording out of the variants"
    elif one.answer:
        where = "lower evaluate.max_new_tokens"
    return f"Raise it to at least {one.num_tokens}; where the model cannot, {where} or take another model"


def _all(tasks: Stream) -> tuple[Task, ...]:
    return (*tasks.tasks, *tasks.held_out)
