"""The examples that a base model is trained on, and those kept aside to judge it: one file, splits stated."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kpig.errors import DataError
from kpig.files import as_line, publish_bytes
from kpig.model.encoding import Encoder
from kpig.records import Example, Task
from kpig.tasks import stream


@dataclass(frozen=True)
class Mixture:
    """Tasks with their kept examples, and how many were left out for which reason."""

    tasks: tuple[Task, ...]
    too_long: int
    repeats_a_test: int

    @property
    def num_train(self) -> int:
        """Training examples of all tasks."""
        return sum(len(task.train) for task in self.tasks)


def read_mixture(path: str, test_per_task: int) -> tuple[tuple[Task, ...], int]:
    """The tasks at `path` with `test_per_task` unseen examples each, and how many were dropped for it.

    Unseen means: no task trains on an input that equals a test input in letters and digits, case apart.
    """
    tasks = stream.load(path, test_per_task=test_per_task).tasks
    tested = {plain(example.input) for task in tasks for example in task.test} - {""}
    kept = tuple(
        replace(task, train=tuple(one for one in task.train if plain(one.input) not in tested), validation=())
        for task in tasks
    )
    return kept, sum(len(task.train) for task in tasks) - sum(len(task.train) for task in kept)


def fitting(tasks: Sequence[Task], encoder: Encoder, num_reserved: int, dropped: int) -> Mixture:
    """What fits into the encoder's length limit uncut; a task that is left without examples goes too."""
    chosen, before = [], sum(len(task.train) + len(task.test) for task in tasks)
    for task in tasks:
        train = tuple(one for one in task.train if _fits(encoder, one, 0))
        test = tuple(one for one in task.test if _fits(encoder, one, num_reserved))
        if train and test:
            chosen.append(replace(task, train=train, test=test))
    if not chosen:
        raise DataError(f"no task has examples within {encoder.max_length} tokens; raise --max-length")
    left = sum(len(task.train) + len(task.test) for task in chosen)
    return Mixture(tuple(chosen), before - left, dropped)


def write_mixture(mixture: Mixture, path: Path) -> None:
    """As JSONL, one example a line, packed; the same bytes for the same mixture."""
    lines = [
        as_line(_fields(task, example, split))
        for task in mixture.tasks
        for split, examples in (("train", task.train), ("test", task.test))
        for example in examples
    ]
    publish_bytes(path, gzip.compress("".join(lines).encode(), mtime=0))


def plain(text: str) -> str:
    """Letters and digits only, in lower case: what two texts must share to count as the same."""
    return "".join(character for character in text.lower() if character.isalnum())


def _fits(encoder: Encoder, example: Example, num_reserved: int) -> bool:
    try:
        return encoder.encode(example, num_reserved).num_cut == 0
    except DataError:
        return False


def _fields(task: Task, example: Example, split: str) -> dict[str, Any]:
    return {
        "task": task.name,
        "id": example.id,
        "instruction": example.instruction.text,
        "input": example.input,
        "output": list(example.references),
        "categories": list(task.categories),
        "metric": task.metric,
        "constraints": _label_set(task),
        "split": split,
        **_said_before(example),
    }


def _said_before(example: Example) -> dict[str, Any]:
    """Its system prompt, and the pairs of earlier turns, where there are any."""
    texts = {
        role: [one.text for one in example.context if one.role == role]
        for role in ("system", "user", "assistant")
    }
    pairs = list(zip(texts["user"], texts["assistant"], strict=True))
    system = {"system": texts["system"][0]} if texts["system"] else {}
    return {**system, "history": pairs} if pairs else system


def _label_set(task: Task) -> list[dict[str, Any]]:
    """Where the label set is closed, a response outside it is a violation; other tasks state nothing. [D]"""
    if task.metric not in ("accuracy", "exact"):
        return []
    labels = sorted({one.response for one in (*task.train, *task.test)})
    return [{"type": "one_of", "values": labels, "case_sensitive": task.metric == "exact"}]
