"""What a run will not see or change of its data and its model, counted before it begins."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from kpig.config import RunConfig
from kpig.errors import ModelError, some
from kpig.model import vocabulary
from kpig.model.encoding import Encoded, Encoder
from kpig.model.folder import is_adapter, is_local, resolve
from kpig.records import Example, Stream, Task
from kpig.runs import fitting

MOST_ENCODED = 2_000
"""Examples that `cautions` encodes of those that may not fit, the longest first. Chosen: it takes seconds."""


@dataclass(frozen=True)
class Cut:
    """Examples, by task, whose input is shortened or whose references no answer can be as long as."""

    inputs: dict[str, int]
    references: dict[str, int]
    num_examples: int
    num_test: int
    at_least: bool = False

    @property
    def num_inputs(self) -> int:
        """How many examples have a shortened input."""
        return sum(self.inputs.values())

    def sentences(self, max_length: int, max_new_tokens: int) -> list[str]:
        """One sentence for each of the two, where it occurs; both limits are in tokens."""
        found, more = [], "at least " if self.at_least else ""
        if self.inputs:
            found.append(
                f"{more}{self.num_inputs} of {self.num_examples} examples have an input that does not fit "
                f"{max_length} tokens ({some(list(self.inputs))}): its end is cut off. Raise "
                "model.max_length, where the model reads more, or shorten them"
            )
        if self.references:
            found.append(
                f"{more}{sum(self.references.values())} of {self.num_test} test examples have references "
                f"of more than evaluate.max_new_tokens = {max_new_tokens} tokens "
                f"({some(list(self.references))}): an answer as long is cut off there and counts as "
                "degenerate. Raise it"
            )
        return found


def cautions(config: RunConfig, tasks: Stream) -> list[str]:
    """Sentences about what is cut and what LoRA leaves out, for a model that lies in a folder.

    Its weights are not read, and of examples that may be cut the longest are looked at. Raises DataError
    as `fitting.require` does.
    """
    if not is_local(resolve(config.model.path)):
        return []
    encoder = vocabulary.encoder_of(config.model)
    fitting.require(encoder, tasks, config)
    chosen, left = _longest(encoder, tasks, config)
    found = replace(_counted(encoder, chosen, config), at_least=left > 0)
    sizes = replace(found, num_examples=_num_examples(tasks), num_test=sum(map(_num_test, _all(tasks))))
    return [*sizes.sentences(encoder.max_length, config.evaluate.max_new_tokens), *_left_out(config)]


def cut(encoder: Encoder, tasks: Stream, config: RunConfig) -> Cut:
    """What is cut of all examples. Raises DataError as `fitting.require` does."""
    fitting.require(encoder, tasks, config)
    return _counted(encoder, _learned_and_tested(tasks), config)


def _left_out(config: RunConfig) -> list[str]:
    fresh = config.model.adapter == "lora" and not is_adapter(resolve(config.model.path))
    if not fresh or config.model.lora_targets:
        return []
    from kpig.model import adapters, loading

    try:
        return adapters.left_out(loading.outline(config.model))
    except ModelError:  # some models can be built with numbers only; the run itself tells
        return []


def _counted(encoder: Encoder, examples: Iterable[tuple[Example, bool]], config: RunConfig) -> Cut:
    inputs: dict[str, int] = {}
    references: dict[str, int] = {}
    most, num_examples, num_test = config.evaluate.max_new_tokens, 0, 0
    for encoded, is_test in _encoded(encoder, examples, most):
        example = encoded.example
        num_examples, num_test = num_examples + 1, num_test + is_test
        if encoded.num_cut:
            inputs[example.task] = inputs.get(example.task, 0) + 1
        if is_test and len(encoded.response) > most and not _has_shorter(encoder, example, most):
            references[example.task] = references.get(example.task, 0) + 1
    return Cut(inputs, references, num_examples, num_test)


def _encoded(
    encoder: Encoder, examples: Iterable[tuple[Example, bool]], most: int
) -> Iterator[tuple[Encoded, bool]]:
    """Each example encoded, with room for an answer of `most` tokens where it is a test example."""
    for is_test, members in groupby(examples, lambda one: one[1]):
        for encoded in encoder.encode_all((example for example, _ in members), most if is_test else 0):
            yield encoded, is_test


def _has_shorter(encoder: Encoder, example: Example, most: int) -> bool:
    return any(len(encoder.response_ids(reference)) <= most for reference in example.references[1:])


def _learned_and_tested(tasks: Stream) -> Iterator[tuple[Example, bool]]:
    """Every example that is read while a task is learned, and every test example; True for the latter."""
    yield from ((example, False) for task in tasks.tasks for example in (*task.train, *task.validation))
    yield from ((example, True) for task in _all(tasks) for example in task.test)


def _longest(encoder: Encoder, tasks: Stream, config: RunConfig) -> tuple[list[tuple[Example, bool]], int]:
    """The examples that may be cut, the longest first, and how many of them are left out."""
    room, most = fitting.room_of(encoder), config.evaluate.max_new_tokens

    def num_bytes(example: Example, is_test: bool = False) -> int:
        return fitting.num_bytes_apart(encoder, example, most * is_test) + len(example.input.encode())

    doubtful = [
        (example, is_test)
        for example, is_test in _learned_and_tested(tasks)
        if num_bytes(example, is_test) > room or (is_test and len(example.response.encode()) >= most)
    ]
    doubtful.sort(key=lambda one: num_bytes(one[0]), reverse=True)
    return doubtful[:MOST_ENCODED], len(doubtful[MOST_ENCODED:])


def _all(tasks: Stream) -> tuple[Task, ...]:
    return (*tasks.tasks, *tasks.held_out)


def _num_test(task: Task) -> int:
    return len(task.test)


def _num_examples(tasks: Stream) -> int:
    read = sum(len(task.train) + len(task.validation) for task in tasks.tasks)
    return read + sum(map(_num_test, _all(tasks)))
