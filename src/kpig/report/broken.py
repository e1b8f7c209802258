"""Which rules an answer breaks, and why, in words."""

from collections import Counter
from collections.abc import Sequence

from kpig.records import Constraint, Prediction
from kpig.report.prompts import Known
from kpig.tasks import constraints
from kpig.tasks.constraints import CONSTRAINTS, UNDECIDED, reasons


def demands(rules: Sequence[Constraint]) -> list[tuple[str, str]]:
    """What each rule asks for, and the kind of violation that it stands for."""
    return [(reasons.demand(one), _kind(one)) for one in rules]


def broken(prediction: Prediction, known: Known) -> list[tuple[int, str]]:
    """The places of the broken rules among `known.rules`, each with what the answer has instead.

    A rule is checked again only where its kind alone does not tell: several have that kind, not all broken.
    """
    told = Counter(prediction.violations)
    kinds = Counter(map(_kind, known.rules))
    return [
        (place, reasons.instead(rule, prediction.response))
        for place, rule in enumerate(known.rules)
        if told[_kind(rule)]
        and (told[_kind(rule)] == kinds[_kind(rule)] or _is_broken(rule, prediction, known))
    ]


def degenerate(prediction: Prediction) -> str:
    """Why an answer is degenerate; empty where it is not."""
    if "degenerate" not in prediction.violations:
        return ""
    if not prediction.response.strip():
        return "it is empty"
    return (
        "it repeats the prompt or the input" if prediction.finished else "it was cut off at the token limit"
    )


def undecided(prediction: Prediction) -> int:
    """How many rules got no verdict."""
    return prediction.violations.count(UNDECIDED)


def _kind(rule: Constraint) -> str:
    return rule.kind or CONSTRAINTS[rule.type].kind


def _is_broken(rule: Constraint, prediction: Prediction, known: Known) -> bool:
    return known.input is not None and constraints.satisfied(rule, known.input, prediction.response) is False
