"""How a run asked its model, from the tasks that it keeps: the forms of its prompts, an example of each. No
torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kpig.errors import RunError
from kpig.records import Example, Instruction
from kpig.runs import kept
from kpig.runs.served import Tuned

STAND_IN = Example("", "", Instruction("Reverse the words."), "one two", ("",))
"""What is shown of a form, for examples of the run may be nobody else's business."""


@dataclass(frozen=True)
class Form:
    """Where the instruction stands, as `Example.as_system` tells, in which tasks, and their first example."""

    as_system: bool
    tasks: tuple[str, ...]
    example: Example

    @property
    def stand_in(self) -> Example:
        """An example in this form with texts that are nobody's."""
        return replace(STAND_IN, as_system=self.as_system)


def forms(tuned: Tuned) -> list[Form]:
    """The one or two forms in which the tasks that a step has learned are asked, as they came; none where the
    run keeps no tasks.

    RunError where a task that is kept is damaged, or stream.json is.
    """
    names: dict[bool, dict[str, None]] = {}
    first: dict[bool, Example] = {}
    for number, learned in enumerate(learned_by(tuned), start=1):
        step_dir = tuned.run.step(number)
        for name in (one for one in learned if kept.are_there(step_dir, [one])):
            for example in kept.read(step_dir, name).test:
                names.setdefault(example.as_system, {})[name] = None
                first.setdefault(example.as_system, example)
    return [Form(as_system, tuple(names[as_system]), example) for as_system, example in first.items()]


def learned_by(tuned: Tuned) -> Sequence[Sequence[str]]:
    """The names of the tasks of each step as far as this one, as its folder keeps them.

    A method may have put the steps of the stream together (mtl). Where a run keeps no tasks they are those of
    the stream's steps. RunError where stream.json is damaged.
    """
    path = tuned.run.path / "stream.json"
    try:
        steps = tuned.run.read("stream.json")["steps"]
        stated = [[task["task"] for task in step["tasks"]] for step in steps]
    except (KeyError, TypeError) as error:
        raise RunError(f"{path}: is damaged (it names no tasks for its steps); restore it") from error
    folders = map(tuned.run.step, range(1, tuned.number + 1))
    names = [name for step in stated for name in step]
    found = [[name for name in names if kept.are_there(folder, [name])] for folder in folders]
    return found if any(found) else stated[: tuned.number]
