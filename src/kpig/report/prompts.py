"""The prompt of a test example, cut at the key parts of its instruction, and the rules it is judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kpig.errors import RunError
from kpig.records import SEED_WORDING, Constraint, Example, Instruction, Prediction, Task
from kpig.report.record import RunRecord
from kpig.runs import kept
from kpig.runs.folder import RunDir

Pieces = list[tuple[str, str]]
"""The text in pieces, each with the kind of its key part, "" between key parts."""


@dataclass(frozen=True)
class Known:
    """What a run keeps of a test example: the example, and its task; None where it keeps neither."""

    task: Task | None = None
    example: Example | None = None

    @property
    def rules(self) -> tuple[Constraint, ...]:
        """The demands that the response is held against, in the order of the judge."""
        own = self.example.constraints if self.example else ()
        return (*(self.task.constraints if self.task else ()), *own)

    @property
    def input(self) -> str | None:
        """What the rules are checked with."""
        return self.example.input if self.example else None


class Examples:
    """The tasks that a run keeps, by name, and their test examples by id and references."""

    def __init__(self, run: RunRecord):
        self._tasks = _tasks(run)
        self._examples = {
            (task.name, one.id, one.references): one for task in self._tasks.values() for one in task.test
        }

    def known(self, prediction: Prediction) -> Known:
        """What the run keeps of the example that was answered."""
        key = (prediction.task, prediction.example, prediction.references)
        return Known(self._tasks.get(prediction.task), self._examples.get(key))


def _tasks(run: RunRecord) -> Mapping[str, Task]:
    """Tasks as the steps keep them; runs of earlier versions keep none, and a damaged one tells nothing."""
    found = {}
    names = dict.fromkeys(name for step in run.scores.steps for name in step.tasks)
    for step in run.scores.steps:
        for name in step.tasks or names:
            try:
                found[name] = kept.read(RunDir(run.path).step(step.step), name)
            except RunError:
                continue
    return found


def pieces(prediction: Prediction, known: Known) -> Pieces:
    """The prompt, cut at the key parts of its instruction; one piece where these cannot be told."""
    for instruction in _instructions(prediction, known):
        start = _place(prediction.prompt, instruction, known.input)
        if start is not None:
            return _cut(prediction.prompt, instruction, start)
    return [(prediction.prompt, "")]


def _instructions(prediction: Prediction, known: Known) -> Sequence[Instruction]:
    if known.task is None or known.example is None:
        return ()
    if prediction.wording == SEED_WORDING:
        return (known.example.instruction,)
    return known.task.new_wordings(known.example)


def _place(prompt: str, instruction: Instruction, given: str | None) -> int | None:
    """Where the instruction stands in the prompt: in front of its input, should it stand there twice."""
    text = instruction.text.rstrip()
    before_input = prompt.find(f"{text}\n\nInput: {(given or '')[:20]}")
    place = before_input if before_input >= 0 else prompt.find(text)
    return place if place >= 0 and text else None


def _cut(prompt: str, instruction: Instruction, start: int) -> Pieces:
    found: Pieces = []
    position = 0
    for span in instruction.key_parts:
        first, last = (min(start + place, len(prompt)) for place in (span.start, span.end))
        found += [(prompt[position:first], ""), (prompt[first:last], span.kind)]
        position = last
    return [(text, kind) for text, kind in (*found, (prompt[position:], "")) if text]
