"""How sure a score is over its test examples: standard errors, and 95 % intervals."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from kpig.records import SEED_WORDING
from kpig.report.answered import Answer
from kpig.tasks.constraints import UNDECIDED

MEASURES = ("p", "v", "half", "gain")
"""P-score, V-score and half-listening rate in percent, key-part gain in [-1, 1]."""

RANGES = {"p": (0.0, 100.0), "v": (0.0, 100.0), "half": (0.0, 100.0), "gain": (-1.0, 1.0)}
"""The ends of each of MEASURES."""


NORMAL_95 = 1.96
"""Standard errors from a mean to the ends of its 95 % interval, of a normal distribution."""

Interval = tuple[float, float]


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of independent values; None of fewer than two."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def interval(values: Sequence[float], low: float, high: float) -> Interval | None:
    """The 95 % interval of the mean of values from `low` to `high`; None of fewer than two.

    Of values that are all one end or the other it is Wilson's, which has a width where all are the same;
    of others the normal one, cut at the ends. Source: Wilson (1927), J. Am. Stat. Assoc. 22.
    """
    count, error = len(values), standard_error(values)
    if error is None:
        return None
    if all(one in (low, high) for one in values):
        share = sum(one == high for one in values) / count
        extra = NORMAL_95**2 / count
        middle = (share + extra / 2) / (1 + extra)
        half = math.sqrt(share * (1 - share) * extra + extra**2 / 4) / (1 + extra)
        return low + (high - low) * max(0.0, middle - half), low + (high - low) * min(1.0, middle + half)
    return around(fmean(values), error, low, high)


def around(mean: float, error: float, low: float, high: float) -> Interval:
    """The normal 95 % interval of a mean with a standard error, cut at the ends of its range."""
    return max(low, mean - NORMAL_95 * error), min(high, mean + NORMAL_95 * error)


def of_mean(errors: Iterable[float | None]) -> float | None:
    """Of the unweighted mean of independent means with these errors; None where one is not known."""
    found = list(errors)
    known = [one for one in found if one is not None]
    if not found or len(known) < len(found):
        return None
    return math.sqrt(sum(one**2 for one in known)) / len(known)


def values(answers: Sequence[Answer], wording: str = SEED_WORDING) -> dict[str, list[float]]:
    """What each of MEASURES is the mean of, over a task's answers in one wording."""
    rows = [one for one in answers if one.prediction.wording == wording]
    return {
        "p": [100 * one.score for one in rows if one.score is not None],
        "v": [100.0 * any(kind != UNDECIDED for kind in one.prediction.violations) for one in rows],
        "half": [
            100.0 * (one.prediction.masked_response == one.prediction.response)
            for one in rows
            if one.prediction.masked_response is not None
        ],
        "gain": [one.prediction.gain.prob for one in rows if one.prediction.gain is not None],
    }
