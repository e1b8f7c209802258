"""Tasks as files that kpig reads: rows of examples, and beside them key parts, constraints and wordings.

What was written is read as the same tasks, examples and splits. Two things are not kept: a metric of the
user's own, which data may not name, and a further wording that names no key parts where the task's has some.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kpig.errors import DataError, some
from kpig.files import publish_json, publish_parts
from kpig.records import Constraint, Example, Instruction, Task
from kpig.tasks import constraints, key_parts
from kpig.tasks.drafts import VALIDATION
from kpig.tasks.measures import METRICS
from kpig.tasks.readers.files import CONSTRAINTS_FILE, KEY_PARTS_FILE, VARIANTS_FILE
from kpig.tasks.readers.variants import WAYS, WRITTEN

ROWS_FILE = "tasks.jsonl"


def write(folder: Path, steps: Sequence[Sequence[Task]]) -> None:
    """Write the tasks of the steps of a stream into a folder, with all their examples.

    Raises DataError for an example whose instruction is the system prompt, which such rows cannot say, and
    RunError where the disk does not take them.
    """
    tasks = [task for step in steps for task in step]
    check(tasks)
    beside: dict[str, dict[str, Any]] = {
        KEY_PARTS_FILE: {task.name: _annotation(task) for task in tasks},
        CONSTRAINTS_FILE: {task.name: list(map(constraints.stated, _demands(task))) for task in tasks},
        VARIANTS_FILE: {task.name: _variants(task) for task in tasks},
    }
    for name, every in beside.items():
        if entries := {task: one for task, one in every.items() if one}:
            publish_json(folder / name, entries)
    publish_parts(folder / ROWS_FILE, _lines(steps))


def unwritten(task: Task) -> list[Instruction]:
    """Further wordings of a task that files cannot say: they name no key parts, and its instruction does."""
    return [one for one in _further(task) if _seed(task).key_parts and not one.key_parts]


def _lines(steps: Sequence[Sequence[Task]]) -> Iterator[bytes]:
    for number, step in enumerate(steps, start=1):
        for task in step:
            for row in _rows(task, number):
                yield f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n".encode()


def _rows(task: Task, step: int) -> Iterator[dict[str, Any]]:
    """A row for each example; the first states what holds for the task, the first of a wording its seed."""
    seed, own = _seed(task), _own_demands(task)
    left = {seed, *task.instructions}
    metric = {"metric": task.metric} if task.metric in METRICS else {}
    head: dict[str, Any] = {"step": step, "categories": list(task.categories), **metric}
    splits = (("train", task.train), ("test", task.test), (VALIDATION, task.validation))
    for split, examples in splits:
        for example in examples:
            is_new = example.instruction in left
            left.discard(example.instruction)
            found = {
                "task": task.name,
                "id": example.id,
                "split": split,
                "instruction": example.instruction.text,
                **({"wording_of": seed.text} if is_new else {}),
                **_before(example),
                **({"input": example.input} if example.input else {}),
                "output": list(example.references),
                **({"constraints": list(map(constraints.stated, example.constraints))} if own else {}),
                **head,
            }
            head = {}
            yield found


def _before(example: Example) -> dict[str, Any]:
    """What was said before: a system prompt, and pairs of question and answer."""
    system = [one.text for one in example.context[:1] if one.role == "system"]
    turns = [one.text for one in example.context[len(system) :]]
    history = [list(pair) for pair in zip(turns[::2], turns[1::2], strict=True)]
    return ({"system": system[0]} if system else {}) | ({"history": history} if history else {})


def _examples(task: Task) -> tuple[Example, ...]:
    return (*task.train, *task.test, *task.validation)


def _carried(task: Task) -> list[Instruction]:
    """The instructions of the task's examples, each once."""
    return list(dict.fromkeys(example.instruction for example in _examples(task)))


def _seed(task: Task) -> Instruction:
    """What rows are said to be wordings of: the seed, or where no example carries it one that some do."""
    carried = _carried(task)
    return next((one for one in task.instructions if one in carried), carried[0])


def _further(task: Task) -> list[Instruction]:
    """Wordings that no example carries, those for evaluation last."""
    carried = {one.text for one in _carried(task)}
    every = (*task.instructions, *task.evaluation_instructions)
    return [one for one in every if one.text not in carried]


def _variants(task: Task) -> list[dict[str, Any]]:
    """The entries of a variants.json."""
    absent = unwritten(task)
    return [
        {
            "instruction": one.text,
            "key_parts": key_parts.stated(one.text, one.key_parts),
            "way": next((way for way in WAYS if way == one.origin.split()[0]), WRITTEN),
            "evaluation": one in task.evaluation_instructions,
        }
        for one in _further(task)
        if one not in absent
    ]


def _annotation(task: Task) -> dict[str, Any]:
    """The entry of a keyparts.json; {} where no instruction has key parts."""
    seed = _seed(task)
    others = [_entry(one) for one in _carried(task) if one != seed and one.key_parts]
    own = {"own": others} if others else {}
    return {**_entry(seed), **own} if seed.key_parts else own


def _entry(instruction: Instruction) -> dict[str, Any]:
    parts = key_parts.stated(instruction.text, instruction.key_parts)
    return {"definition": instruction.text, "key_parts": parts}


def _own_demands(task: Task) -> bool:
    """Whether rows state constraints of their own: those that differ. Others are read as the task's."""
    return len({tuple(_plain(example.constraints)) for example in _examples(task)}) > 1


def _demands(task: Task) -> tuple[Constraint, ...]:
    """What a constraints.json says of the task: its own, and those that all its examples have."""
    shared = () if _own_demands(task) else _examples(task)[0].constraints
    return (*task.constraints, *shared)


def _plain(found: Iterable[Constraint]) -> Iterator[str]:
    return (json.dumps(constraints.stated(one), sort_keys=True, allow_nan=False) for one in found)


def check(tasks: Iterable[Task]) -> None:
    """Raise DataError where `write` would for these tasks."""
    found = [task.name for task in tasks if any(example.as_system for example in _examples(task))]
    if found:
        raise DataError(
            f"{len(found)} tasks ({some(found)}) have their instruction in the system prompt, which rows of "
            "kpig's own cannot say; give files that name the instruction apart"
        )
