"""What the references of a task say of its metric and its constraints, which a right answer must meet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kpig.errors import shown, some
from kpig.records import Constraint, Example, Task
from kpig.tasks import constraints
from kpig.tasks.structured import number_in

MOST_BROKEN = 0.03
"""The share of examples from which it is told that their references break a constraint. Chosen: a slip in
single rows is the data's, more is the constraint's."""

MOST_TRIED = 200
"""Examples of a task whose references are held against a constraint, evenly spaced. Chosen: a share of 3 %
shows in them, and a check of long tasks stays short."""

MOST_UNDECIDED = 3
"""Patterns that run out of their time cost a second each; after so many no further example is tried."""

SAYS_NOTHING: Mapping[str, tuple[str, Callable[[str], bool]]] = MappingProxyType(
    {
        "number": ("no number", lambda text: number_in(text) is None),
        "rougeL": (
            "no ASCII letter or digit",
            lambda text: not any(one.isascii() and one.isalnum() for one in text),
        ),
    }
)
"""Metrics under which no response is right for some references: what these lack, and whether a text does."""

BOUNDS = ("words", "sentences", "characters", "items")

OF_THE_RESPONSE = (
    *(f"{end}_{unit}" for unit in BOUNDS for end in ("min", "max")),
    *("one_of", "not_one_of", "regex", "not_regex", "json", "casing"),
    *("starts_with", "ends_with", "contains", "forbidden_words"),
)
"""Types whose verdict is the same whatever the input is."""


def metric_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence for each metric under which some test examples cannot be answered right."""
    found: dict[str, dict[str, list[str]]] = {}
    for task in tasks:
        _, lacks = SAYS_NOTHING.get(task.metric, ("", lambda text: False))
        unmet = [example.id for example in task.test if all(map(lacks, example.references))]
        if unmet:
            found.setdefault(task.metric, {})[task.name] = unmet
    return [_metric_caution(metric, unmet) for metric, unmet in found.items()]


def _metric_caution(metric: str, unmet: Mapping[str, Sequence[str]]) -> str:
    name, ids = next(iter(unmet.items()))
    return (
        f"{sum(map(len, unmet.values()))} test examples of {some(list(unmet))} have references with "
        f"{SAYS_NOTHING[metric][0]} (the first is '{name}', '{ids[0]}'): under the metric {metric!r} no "
        "answer to them scores; state another metric, such as 'exact', or correct the references"
    )


def constraint_cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence for each task whose references break its own constraints, with the share for each."""
    found = []
    for task in tasks:
        broken = [one for one in _held(task) if one.num_broken > MOST_BROKEN * one.num_tried]
        if broken:
            named = "; ".join(
                f"{one.label} in {one.num_broken} of {one.num_tried}, such as '{one.first}'" for one in broken
            )
            found.append(
                f"task '{task.name}': references break the task's own constraints ({named} examples tried): "
                "a right answer counts as a violation; correct the constraint or the references"
            )
    return found


@dataclass
class _Held:
    """A constraint held against examples: how many, in how many all references break it, the first's id."""

    label: str
    num_tried: int = 0
    num_broken: int = 0
    num_undecided: int = 0
    first: str = ""

    def hold(self, constraint: Constraint, example: Example) -> None:
        if self.num_undecided >= MOST_UNDECIDED:
            return
        verdicts = [constraints.satisfied(constraint, example.input, one) for one in example.references]
        self.num_tried += 1
        self.num_undecided += None in verdicts
        if all(verdict is False for verdict in verdicts):
            self.num_broken += 1
            self.first = self.first or example.id


def _held(task: Task) -> list[_Held]:
    """Each constraint of the task, and those of single rows by their type, held against its examples."""
    examples = (*task.train, *task.validation, *task.test)
    found: dict[str, _Held] = {}
    for example in examples[:: -(-len(examples) // MOST_TRIED) or 1]:
        labelled = [(label(one), one) for one in task.constraints]
        labelled += [(f"{one.type} (of single rows)", one) for one in example.constraints]
        for name, constraint in labelled:
            found.setdefault(name, _Held(name)).hold(constraint, example)
    return list(found.values())


def label(constraint: Constraint) -> str:
    """The constraint in a few words: its type and its parameters."""
    params = ", ".join(
        f"{name} {shown(list(value) if isinstance(value, tuple) else value):.60}"
        for name, value in constraint.params.items()
    )
    return f"{constraint.type} ({params})" if params else constraint.type


def problems(tasks: Sequence[Task]) -> list[str]:
    """A sentence for each task with constraints that no response can meet together."""
    found: dict[str, None] = {}
    for task in tasks:
        own = {repr(one.constraints): one.constraints for one in (*task.train, *task.test)}
        for of_row in own.values():
            for problem in _conflicts((*task.constraints, *of_row)):
                found[f"task '{task.name}': {problem}"] = None
    return list(found)


def _conflicts(demands: Sequence[Constraint]) -> Iterator[str]:
    """What no response can meet: a least above a most, or labels of which each breaks another demand."""
    for unit in BOUNDS:
        for least in (one for one in demands if one.type == f"min_{unit}"):
            for most in (one for one in demands if one.type == f"max_{unit}"):
                if _counts_alike(least, most) and least.params["n"] > most.params["n"]:
                    yield f"no response meets both {label(least)} and {label(most)}; correct one of them"
    for labels in (one for one in demands if one.type == "one_of"):
        if labels.params.get("case_sensitive", True):
            others = [one for one in demands if one is not labels and one.type in OF_THE_RESPONSE]
            if all(_breaks_one(value, others) for value in labels.params["values"]):
                named = " and ".join(label(one) for one in others)
                yield f"each value of {label(labels)} breaks another constraint, {named}; correct them"


def _counts_alike(least: Constraint, most: Constraint) -> bool:
    ways = [{name: value for name, value in one.params.items() if name != "n"} for one in (least, most)]
    return ways[0] == ways[1]


def _breaks_one(value: str, others: Sequence[Constraint]) -> bool:
    return any(constraints.satisfied(one, "", value) is False for one in others)
