"""Answers that need no model: what a base model has to beat."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from kpig.records import Example, Task
from kpig.tasks import measures

Answer = Callable[[Task, Example], str]
NUM_CONSTANTS = 20
"""The commonest responses that are tried as the answer to everything. Chosen: each is scored on all test
examples."""


def constant(tasks: Sequence[Task]) -> tuple[str, float]:
    """The one response that scores best as the answer to everything, of the commonest, and its P-score."""
    counts = Counter(example.response for task in tasks for example in task.train)
    candidates = [text for text, _ in counts.most_common(NUM_CONSTANTS)]
    scored = [(p_score(tasks, _always(text)), text) for text in candidates]
    best, text = max(scored)
    return text, best


def _always(text: str) -> Answer:
    return lambda task, example: text


def copy(tasks: Sequence[Task]) -> float:
    """P-score of answering with the input."""
    return p_score(tasks, lambda task, example: example.input)


def commonest_of_task(tasks: Sequence[Task]) -> float:
    """P-score of answering with the commonest training response of the task: it has read the labels."""
    commonest = {
        task.name: Counter(one.response for one in task.train).most_common(1)[0][0] for task in tasks
    }
    return p_score(tasks, lambda task, example: commonest[task.name])


def p_score(tasks: Sequence[Task], answer: Answer) -> float:
    """The P-score of docs/method.md, section 7: mean over tasks of 100 × the task's metric on tests."""
    return fmean(_task_score(task, answer) for task in tasks)


def _task_score(task: Task, answer: Answer) -> float:
    score = measures.measure(task.metric)
    return 100 * fmean(score(answer(task, example), example.references) for example in task.test)
