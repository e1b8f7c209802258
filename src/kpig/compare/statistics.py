"""Means with intervals, paired tests corrected for their number, and average ranks. Plain numbers only."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from kpig.scoring import metrics

SEED = 0
"""Of all random draws here: the same runs give the same table."""

SMALLEST_RANDOM_P = 1 / 10_001
"""Of the permutation test with random flips, beyond metrics.MAX_EXACT_PAIRS pairs."""

Values = Mapping[Hashable, float]
"""A number for every cell (seed and stream order) in which it was measured."""


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


def estimate(values: Sequence[float], num_resamples: int = 10_000) -> Estimate | None:
    """The mean of the values and its interval, drawn from a fixed seed; None without values."""
    if not values:
        return None
    mean = fmean(values)
    if len(values) == 1:
        return Estimate(mean, None, None, 1)
    if min(values) == max(values):
        return Estimate(mean, mean, mean, len(values))
    return Estimate(mean, *metrics.bootstrap_interval(values, SEED, num_resamples), len(values))


def contrasts(values: Mapping[str, Values], reference: str) -> dict[str, Contrast]:
    """Every label that shares a cell with the reference, compared with it over the cells they share."""
    found = {}
    for label, own in values.items():
        cells = [cell for cell in own if cell in values[reference]]
        if label != reference and cells:
            found[label] = ([own[cell] for cell in cells], [values[reference][cell] for cell in cells])
    p_values = [metrics.paired_permutation_test(a, b, SEED) for a, b in found.values()]
    return {
        label: Contrast(estimate([x - y for x, y in zip(a, b, strict=True)]), p, adjusted)
        for (label, (a, b)), p, adjusted in zip(found.items(), p_values, holm(p_values), strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for their number by Holm's step-down procedure (1979), in the order given."""
    ascending = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for position, number in enumerate(ascending):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def smallest_p(num_pairs: int) -> float:
    """The smallest p value that the paired permutation test can give for so many pairs."""
    return 2 / 2**num_pairs if num_pairs <= metrics.MAX_EXACT_PAIRS else SMALLEST_RANDOM_P


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the highest value, and so on; equal values share the mean of their ranks."""
    return [
        sum(other > value for other in values) + (1 + sum(other == value for other in values)) / 2
        for value in values
    ]


def average_ranks(measures: Sequence[Mapping[str, Values]]) -> tuple[dict[str, float], int]:
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


def _common(of_label: Mapping[str, Values]) -> list[Hashable]:
    cells = dict.fromkeys(cell for values in of_label.values() for cell in values)
    return [cell for cell in cells if all(cell in values for values in of_label.values())]
