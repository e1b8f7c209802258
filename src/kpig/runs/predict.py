"""Answers of a model to prompts: greedy, in order, nothing scored."""

from collections.abc import Sequence
from dataclasses import dataclass

from kpig.config import ModelSection
from kpig.model import loading
from kpig.progress import Watcher
from kpig.records import Example


@dataclass(frozen=True)
class Answered:
    """An example with the prompt as the model saw it and its response; `finished`: not cut off."""

    task: str
    example: str
    prompt: str
    response: str
    finished: bool


def predict(
    section: ModelSection,
    examples: Sequence[Example],
    max_new_tokens: int,
    device: str,
    watch: Watcher,
    clock: str | None = None,
) -> list[Answered]:
    """The greedy answers of a model, in the order of the examples; `clock` as in `loading.load`.

    An input that is too long is cut at its end. DataError where an instruction alone does not fit.
    """
    learner = loading.load(section, device=device, clock=clock)
    encoded = [learner.encoder.encode(example, max_new_tokens) for example in examples]
    with watch.phase("answer", len(encoded)):
        answers = learner.answers([one.prompt for one in encoded], max_new_tokens, advance=watch.advance)
    return [
        Answered(example.task, example.id, one.text, answer.text, answer.finished)
        for example, one, answer in zip(examples, encoded, answers, strict=True)
    ]
