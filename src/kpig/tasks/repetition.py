"""Examples that ask the same: they contradict or repeat each other, or are learned and tested."""

from collections import Counter
from collections.abc import Callable, Sequence

from kpig.errors import some
from kpig.records import Example, Task

MOST_SHOWN = 5
"""Pairs of examples that a sentence shows. Chosen."""

RIGHT_OR_WRONG = frozenset({"exact", "accuracy", "number"})
"""Metrics of an answer that is right or wrong as a whole."""


def cautions(tasks: Sequence[Task]) -> list[str]:
    """Sentences about them; there may be none."""
    return [
        *_contradiction_cautions(tasks),
        *_taught_apart_cautions(tasks),
        *_repetition_cautions(tasks),
        *_repeated_test_cautions(tasks),
        *_leak_cautions(tasks),
    ]


def _contradiction_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence for each task whose test examples ask the same and have no reference in common."""
    found = []
    for task in tasks:
        groups = _asking_the_same(task.test)
        apart = [group for group in groups if _share_no_reference(group)]
        if apart:
            pairs = ", ".join(map(_pair, apart[:MOST_SHOWN]))
            more = f" and {len(apart) - MOST_SHOWN} more" if len(apart) > MOST_SHOWN else ""
            found.append(
                f"task '{task.name}': test examples contradict each other, with the same instruction and "
                f"input and other outputs ({pairs}{more}): no answer is right for all of them. Where "
                "each output is a good one, make one example of them, with the outputs as a list"
            )
    return found


def _taught_apart_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where training examples ask the same and teach other responses, one of which alone is right.

    That is so for metrics of right and wrong. Of a text there may be many good ones.
    """
    judged = [task for task in tasks if task.metric in RIGHT_OR_WRONG]
    apart = [(task.name, group) for task in judged for group in _asking_the_same(task.train)]
    apart = [(name, group) for name, group in apart if _share_no_reference(group)]
    if not apart:
        return []
    counts = Counter(name for name, group in apart for _ in group)
    _, first = apart[0]
    return [
        f"{sum(counts.values())} training examples ({some(list(counts))}) have the instruction and input of "
        f"another one of their task and another output, such as {_pair(first)}: each is learned, "
        "and one of them is wrong; correct it, or leave it out"
    ]


def _repetition_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where training examples are there more than once, output included."""
    counts = _counts(
        tasks, lambda task: len(task.train) - len({(*_asked(one), one.references) for one in task.train})
    )
    return [
        f"{sum(counts.values())} training examples repeat another one of their task word for word "
        f"({some(list(counts))}); each is trained on as often as it is there"
    ] * bool(counts)


def _repeated_test_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where test examples ask the same as another one of their task, without contradiction."""
    counts = _counts(
        tasks,
        lambda task: sum(len(one) - 1 for one in _asking_the_same(task.test) if not _share_no_reference(one)),
    )
    return [
        f"{sum(counts.values())} test examples ask the same as another one of their task "
        f"({some(list(counts))}); each counts as one in the scores; make one example of them, with their "
        "outputs as a list"
    ] * bool(counts)


def _leak_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where test examples of a task are training examples of another, output included."""
    trained: dict[tuple[object, ...], str] = {}
    for task in tasks:
        trained.update({(*_asked(one), one.references): task.name for one in task.train})
    counts = _counts(tasks, lambda task: sum((*_asked(one), one.references) in trained for one in task.test))
    return [
        f"{sum(counts.values())} test examples ({some(list(counts))}) are training examples of another task "
        "word for word: their scores tell what was learned by heart; leave them out of one"
    ] * bool(counts)


def _counts(tasks: Sequence[Task], count: Callable[[Task], int]) -> dict[str, int]:
    """How many examples of each task are such, by name; tasks without any are left out."""
    return {task.name: number for task in tasks if (number := count(task))}


def _asking_the_same(examples: Sequence[Example]) -> list[list[Example]]:
    """The examples in groups of two or more that a model cannot tell apart."""
    groups: dict[tuple[object, ...], list[Example]] = {}
    for example in examples:
        groups.setdefault(_asked(example), []).append(example)
    return [group for group in groups.values() if len(group) > 1]


def _asked(example: Example) -> tuple[object, ...]:
    return (example.instruction.text, example.input, example.context)


def _share_no_reference(group: Sequence[Example]) -> bool:
    return not set.intersection(*({one.strip() for one in example.references} for example in group))


def _pair(group: Sequence[Example]) -> str:
    """The ids of the first example and of one without a reference in common, or else of the second."""
    one, second, *others = group
    other = next((two for two in (second, *others) if _share_no_reference((one, two))), second)
    return f"'{one.id}' and '{other.id}'"
