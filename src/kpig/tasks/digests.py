"""The digest of a task: SHA-256 of everything that it holds, the same for the same task."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from kpig.records import Constraint, Example, Instruction, Task


def of_task(task: Task) -> str:
    """SHA-256, in hex, of everything the task holds."""
    found = hashlib.sha256()
    for piece in _pieces(task):
        found.update(piece.encode())
    return found.hexdigest()


def of_value(value: object) -> str:
    """SHA-256, in hex, of a value that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(_json(value).encode()).hexdigest()


def _pieces(task: Task) -> Iterator[str]:
    """The task as one JSON object with its keys in order, example by example: there may be a million."""
    head = {
        "name": task.name,
        "metric": task.metric,
        "categories": task.categories,
        "constraints": _constraint_fields(task.constraints),
        "instructions": [_instruction_fields(one) for one in task.instructions],
        "evaluation_instructions": [_instruction_fields(one) for one in task.evaluation_instructions],
    }
    yield _json(head).removesuffix("}")
    stated = (("test", task.test), ("train", task.train), ("validation", task.validation))
    for split, examples in stated[: None if task.validation else 2]:
        yield f',"{split}":['
        for number, example in enumerate(examples):
            yield "," * (number > 0) + _json(_example_fields(example, task))
        yield "]"
    yield "}"


def _instruction_fields(instruction: Instruction) -> list[object]:
    spans = [[span.start, span.end, span.kind] for span in instruction.key_parts]
    return [instruction.text, instruction.origin, spans]


def _example_fields(example: Example, task: Task) -> list[object]:
    """The example as JSON values; null stands for the seed instruction, which nearly all examples carry."""
    wording = None if example.instruction == task.instruction else _instruction_fields(example.instruction)
    fields: list[object] = [example.id, example.task, wording, example.input, example.references]
    if example.context or example.as_system:
        said = [[message.role, message.text] for message in example.context]
        fields.append([said, example.as_system])
    if example.constraints:
        fields.append({"constraints": _constraint_fields(example.constraints)})
    return fields


def _constraint_fields(constraints: Sequence[Constraint]) -> list[object]:
    return [[one.type, one.params, one.kind] for one in constraints]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """Mappings and sets among a constraint's parameters, as JSON knows them."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{value!r} has no JSON form")
