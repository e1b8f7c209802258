"""Means with intervals, paired tests corrected for their number, and average ranks. Plain numbers only.

SciPy draws and ranks; it loads with the first number that needs it.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import TypeVar

from kpig.scoring.significance import NUM_RESAMPLES, SEED, holm, paired_permutation_test

Cell = TypeVar("Cell", bound=Hashable)
Values = Mapping[Cell, float]
"""A number for every cell (seed and stream order) in which it was measured."""

COVERAGE: Mapping[int, int] = MappingProxyType({2: 50, 3: 75, 4: 80, 5: 84, 6: 86, 7: 87, 8: 89})
"""How often in a hundred an `estimate` over so few values holds the mean they are drawn from, where they are
normal: the percentile bootstrap is too narrow over few. Simulated, 20 000 times each; with 9 it is 90."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n values and its 95 % bootstrap interval; a single value has no interval."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Contrast:
    """The mean paired difference from the reference over shared cells, its p value and Holm's.

    `p` is two-sided; `adjusted` counts all comparisons of the same measure with the reference.
    """

    difference: Estimate
    p: float
    adjusted: float


def estimate(values: Sequence[float], num_resamples: int = NUM_RESAMPLES) -> Estimate | None:
    """The mean of the values and its interval, drawn from a fixed seed; None without values."""
    return _estimate(values, num_resamples) if values else None


def _estimate(values: Sequence[float], num_resamples: int = NUM_RESAMPLES) -> Estimate:
    mean = fmean(values)
    if len(values) == 1:
        return Estimate(mean, None, None, 1)
    if min(values) == max(values):
        return Estimate(mean, mean, mean, len(values))
    return Estimate(mean, *bootstrap_interval(values, SEED, num_resamples), len(values))


def contrasts(values: Mapping[str, Values[Cell]], reference: str) -> dict[str, Contrast]:
    """Every label that shares a cell with the reference, compared with it over the cells they share."""
    found = {}
    for label, own in values.items():
        cells = [cell for cell in own if cell in values[reference]]
        if label != reference and cells:
            found[label] = ([own[cell] for cell in cells], [values[reference][cell] for cell in cells])
    p_values = [paired_permutation_test(a, b, SEED) for a, b in found.values()]
    return {
        label: Contrast(_estimate([x - y for x, y in zip(a, b, strict=True)]), p, adjusted)
        for (label, (a, b)), p, adjusted in zip(found.items(), p_values, holm(p_values), strict=True)
    }


def paired_difference(one: Values[Cell], other: Values[Cell]) -> tuple[Estimate, float] | None:
    """The mean of `one` minus `other` over the cells they share, and its p, for no other pair corrected.

    None where they share no cell.
    """
    cells = [cell for cell in one if cell in other]
    if not cells:
        return None
    a, b = [one[cell] for cell in cells], [other[cell] for cell in cells]
    return _estimate([x - y for x, y in zip(a, b, strict=True)]), paired_permutation_test(a, b, SEED)


def bootstrap_interval(
    values: Sequence[float], seed: int, num_resamples: int = NUM_RESAMPLES, level: float = 0.95
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron 1979), drawn from `seed` alone.

    Raises ValueError without values, and for a level outside (0, 1).
    """
    if not values or not 0 < level < 1:
        raise ValueError(f"give values and a level between 0 and 1, not {len(values)} values and {level}")
    if len(values) == 1:
        return values[0], values[0]
    import numpy
    from scipy import stats

    found = stats.bootstrap(
        (values,),
        numpy.mean,
        n_resamples=num_resamples,
        confidence_level=level,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return float(found.low), float(found.high)


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the highest value, and so on; equal values share the mean of their ranks."""
    from scipy import stats

    return [float(rank) for rank in stats.rankdata([-value for value in values])]


def average_ranks(measures: Sequence[Mapping[str, Values[Cell]]]) -> tuple[dict[str, float], int]:
    """The mean rank of every label over the measures and the cells that all labels have, and their number.

    Higher values rank first. A measure without a common cell is passed over; no labels come back where
    no measure has one.
    """
    found: dict[str, list[float]] = {}
    for of_label in measures:
        for cell in _common(of_label):
            placed = ranks([values[cell] for values in of_label.values()])
            for label, rank in zip(of_label, placed, strict=True):
                found.setdefault(label, []).append(rank)
    num_ranked = len(next(iter(found.values()), ()))
    return {label: fmean(of_label) for label, of_label in found.items()}, num_ranked


def _common(of_label: Mapping[str, Values[Cell]]) -> list[Cell]:
    cells = dict.fromkeys(cell for values in of_label.values() for cell in values)
    return [cell for cell in cells if all(cell in values for values in of_label.values())]
