"""The tasks that a run keeps of every step, to go on when their files are gone. No torch.

`steps/NN/tasks/` has a file for each task that the step taught, `steps/00/tasks/` for each held-out one: all
but the training examples, of which a method's memory keeps what it needs in `state/`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kpig.errors import KpigError, RunError, clause
from kpig.files import name_for, publish_json
from kpig.records import Example, Instruction, Message, Task
from kpig.scoring.typed_json import Misfit, parse
from kpig.tasks import constraints, digests
from kpig.tasks.measures import require_known

FOLDER = "tasks"


@dataclass(frozen=True)
class _Example:
    """A test example; without an instruction it carries the seed instruction."""

    id: str
    input: str
    references: tuple[str, ...]
    instruction: Instruction | None = None
    context: tuple[Message, ...] = ()
    as_system: bool = False
    constraints: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class _Task:
    """A file of `steps/NN/tasks/`; `digest` is that of the task as it is kept."""

    digest: str
    name: str
    metric: str
    categories: tuple[str, ...]
    constraints: tuple[dict[str, Any], ...]
    instructions: tuple[Instruction, ...]
    evaluation_instructions: tuple[Instruction, ...]
    test: tuple[_Example, ...]


def write(step_dir: Path, tasks: Iterable[Task]) -> None:
    """Keep tasks in the folder of a step."""
    for task in tasks:
        publish_json(_path(step_dir, task.name), _plain(untaught(task)))


def are_there(step_dir: Path, names: Iterable[str]) -> bool:
    """Whether a step has kept all these tasks; runs of earlier versions kept none."""
    return all(_path(step_dir, name).is_file() for name in names)


def read(step_dir: Path, name: str) -> Task:
    """A task as a step has kept it. RunError where its file is missing or damaged."""
    path = _path(step_dir, name)
    try:
        found = parse(path.read_bytes(), _Task)
        task = _task(found, str(path))
        require_known(task.metric)
    except (OSError, Misfit, KpigError) as error:
        raise _damaged(path, clause(error)) from error
    if task.name != name or digests.of_task(task) != found.digest:
        raise _damaged(path, "it is not what the run wrote")
    return task


def untaught(task: Task) -> Task:
    """The task without the examples that it is learned from."""
    return replace(task, train=(), validation=())


def instructed(task: Task) -> Task:
    """The task without any example: what it asks for, and how answers to it are judged."""
    return replace(task, train=(), validation=(), test=())


def _path(step_dir: Path, name: str) -> Path:
    return step_dir / FOLDER / f"{name_for(name)}.json"


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"{path}: cannot be read as a task that the run keeps: {why}; restore it")


def _plain(task: Task) -> dict[str, Any]:
    return {
        "digest": digests.of_task(task),
        "name": task.name,
        "metric": task.metric,
        "categories": task.categories,
        "constraints": [constraints.stated(one) for one in task.constraints],
        "instructions": [asdict(one) for one in task.instructions],
        "evaluation_instructions": [asdict(one) for one in task.evaluation_instructions],
        "test": [_example(one, task) for one in task.test],
    }


def _example(example: Example, task: Task) -> dict[str, Any]:
    """Without what nearly no example has."""
    own = {
        "instruction": None if example.instruction == task.instruction else asdict(example.instruction),
        "context": [asdict(one) for one in example.context],
        "as_system": example.as_system,
        "constraints": [constraints.stated(one) for one in example.constraints],
    }
    found = {"id": example.id, "input": example.input, "references": example.references}
    return found | {key: value for key, value in own.items() if value}


def _task(found: _Task, where: str) -> Task:
    if not found.instructions:
        raise Misfit("it has no instruction")
    test = (
        Example(
            id=one.id,
            task=found.name,
            instruction=one.instruction or found.instructions[0],
            input=one.input,
            references=one.references,
            context=one.context,
            as_system=one.as_system,
            constraints=tuple(constraints.parse(entry, where) for entry in one.constraints),
        )
        for one in found.test
    )
    return Task(
        name=found.name,
        instructions=found.instructions,
        train=(),
        test=tuple(test),
        metric=found.metric,
        categories=found.categories,
        constraints=tuple(constraints.parse(one, where) for one in found.constraints),
        evaluation_instructions=found.evaluation_instructions,
    )
