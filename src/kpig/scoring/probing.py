"""Which test examples an evaluation asks, and in which words. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kpig.config import EvaluateSection
from kpig.records import NEW_WORDING, SEED_WORDING, Example, Task


@dataclass(frozen=True)
class Probe:
    """One test example to answer: its task, the group the task is in, and the kind of its wording."""

    task: Task
    example: Example
    group: str
    wording: str


def probes(groups: Mapping[str, Sequence[Task]], settings: EvaluateSection) -> list[Probe]:
    """Every test example of every group, and again under a wording never trained on where there is one."""
    chosen = []
    for group, tasks in groups.items():
        for task in tasks:
            chosen += [Probe(task, example, group, SEED_WORDING) for example in task.test]
            if settings.new_wordings:
                chosen += [Probe(task, example, group, NEW_WORDING) for example in _in_new_words(task)]
    return chosen


def _in_new_words(task: Task) -> list[Example]:
    """The test examples under the evaluation wordings in turn, but those with an instruction of their own."""
    found = []
    for number, example in enumerate(task.test):
        if wordings := task.new_wordings(example):
            found.append(replace(example, instruction=wordings[number % len(wordings)]))
    return found
