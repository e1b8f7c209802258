"""Answers of a model to prompts, in a file: greedy, in order, nothing scored; a stopped job goes on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kpig import ranks
from kpig.config import ModelSection
from kpig.files import as_line
from kpig.model import identity, loading
from kpig.model.encoding import Encoded
from kpig.model.folder import resolve
from kpig.progress import Watcher
from kpig.records import Example
from kpig.runs import lock
from kpig.runs.answer_file import AnswerFile, left
from kpig.tasks.readers.prompts import STAND_IN


@dataclass(frozen=True)
class Answered:
    """An example with the prompt as the model saw it and its response; `finished`: not cut off."""

    task: str
    example: str
    prompt: str
    response: str
    finished: bool


@dataclass(frozen=True)
class Cut:
    """How many answers were cut off at the limit, and how many inputs were shortened to fit."""

    answers: int
    inputs: int


def predict(
    section: ModelSection,
    examples: Sequence[Example],
    out: Path,
    max_new_tokens: int,
    device: str,
    watch: Watcher,
    clock: str | None = None,
) -> Cut:
    """Write a model's greedy answers to the file `out`, an `Answered` a line, in order; what was cut.

    `clock` is as in `loading.load`. The file is there whole or not at all. Answers gather beside it, in
    `out`.part, so that the same call goes on after a stop, to the same answers. An input that is too long is
    cut at its end; references have no part in that, for nothing is scored. Processes that share the job
    answer a part each, and the main one writes. DataError where an instruction alone does not fit, BusyError
    where another process writes the file.
    """
    learner = ranks.everywhere(lambda: loading.load(section, device=device, clock=clock))
    asked = (replace(one, references=(STAND_IN,)) for one in examples)
    encoded = list(learner.encoder.encode_all(asked, max_new_tokens))
    prompts = [one.prompt for one in encoded]
    every = learner.prompt_batches(prompts, max_new_tokens)
    with ExitStack() as held:
        files: list[AnswerFile] = []  # the main process has one

        def begin() -> list[Sequence[int]]:
            held.enter_context(lock.held(out))
            files.append(AnswerFile(out, _digest(section, prompts, max_new_tokens, device), watch.say))
            return left(every, files[0])

        def keep(given: Mapping[int, Any]) -> None:
            files[0].add(given)

        batches = ranks.by_main(begin)
        num_left = sum(map(len, batches))
        with watch.phase("answer", len(encoded), len(encoded) - num_left):
            for given in learner.answer_batches(prompts, batches, max_new_tokens):
                plain = {number: [one.text, one.finished] for number, one in given.items()}
                ranks.by_main(partial(keep, plain))
                watch.advance(len(given))
        return ranks.by_main(lambda: _published(encoded, files[0]))


def _published(encoded: Sequence[Encoded], answers: AnswerFile) -> Cut:
    """Put the file in its place; what was cut."""
    num_cut_off = sum(not one.finished for one in _in_order(encoded, answers))
    answers.publish(as_line(asdict(one)) for one in _in_order(encoded, answers))
    return Cut(num_cut_off, sum(bool(one.num_cut) for one in encoded))


def _in_order(encoded: Sequence[Encoded], answers: AnswerFile) -> Iterator[Answered]:
    for one, (text, finished) in zip(encoded, answers.read(range(len(encoded))), strict=True):
        yield Answered(one.example.task, one.example.id, one.text, text, finished)


def _digest(section: ModelSection, prompts: Sequence[Sequence[int]], max_new_tokens: int, device: str) -> str:
    """SHA-256, in hex, of all that decides the answers."""
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "device": device}
    total = hashlib.sha256(as_line(settings | section.model_dump(mode="json")).encode())
    total.update(as_line(identity.digests(resolve(section.path))).encode())
    for prompt in prompts:
        total.update(as_line(list(prompt)).encode())
    return total.hexdigest()
