"""Whether a difference of scores is more than chance: paired permutation tests, Holm's correction. No torch.

SciPy flips; it loads with the first number that needs it. Two things are ours. Which flips count as extreme:
scores are percentages with many ties, and SciPy's own tolerance, 2e-14 of the observed mean, is less than the
rounding of a sum that nearly cancels. And Holm's correction, which SciPy 1.17 does not have (its
`false_discovery_control` bounds another error).
"""

from collections.abc import Sequence
from typing import Any

SEED = 0
"""Of all random draws: the same scores give the same table."""

NUM_RESAMPLES = 10_000
MAX_EXACT_PAIRS = 14
"""2^14 = 16,384 flips: about as many as are drawn at random for more pairs. Chosen."""

MOST_AT_ONCE = 2**20
"""Values of all resamples that are held at once, each of eight bytes and a few copies. SciPy alone holds all,
which is gigabytes for a run of hundreds of tasks. Chosen: a quarter of it was slower."""

ROUNDING = 1e-9
"""The share of all differences by which two sums of them may differ and count as equal."""


def paired_permutation_test(
    a: Sequence[float], b: Sequence[float], seed: int, num_resamples: int = NUM_RESAMPLES
) -> float:
    """The two-sided p value of the mean difference of pairs when the sign of each is a coin toss.

    Exact over all 2^n sign flips up to MAX_EXACT_PAIRS pairs; beyond, (hits + 1) / (num_resamples + 1)
    over random flips drawn from `seed` (Phipson and Smyth 2010). Raises ValueError for unequal lengths and
    for no pairs.
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"pairs need equal lengths above 0, not {len(a)} and {len(b)}")
    if len(a) == 1:
        return 1.0
    import numpy
    from scipy import stats

    differences = numpy.subtract(a, b)
    bound = abs(differences.sum()) - ROUNDING * numpy.abs(differences).sum()

    def is_extreme(flipped: Any, axis: int) -> Any:
        return (numpy.abs(flipped.sum(axis=axis)) >= bound).astype(float)

    found = stats.permutation_test(
        (differences,),
        is_extreme,
        batch=_batch(len(a)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=2 ** len(a) if len(a) <= MAX_EXACT_PAIRS else num_resamples,
        rng=seed,
        vectorized=True,
    )
    return float(found.pvalue)


def lower_mean_test(
    a: Sequence[float], b: Sequence[float], seed: int, num_resamples: int = NUM_RESAMPLES
) -> float:
    """The one-sided p value of the mean of `a` being below that of `b` when chance parts them.

    Exact where there are no more than `num_resamples` ways to part the values. Raises ValueError for an empty
    group.
    """
    if not a or not b:
        raise ValueError(f"both groups need values, not {len(a)} and {len(b)}")
    import numpy
    from scipy import stats

    bound = numpy.mean(a) - numpy.mean(b) + ROUNDING * numpy.abs([*a, *b]).sum()
    if min(len(a), len(b)) == 1:  # which SciPy refuses: each value in turn is the one by itself
        every = numpy.array([*a, *b], dtype=float)
        rest = (every.sum() - every) / (len(every) - 1)
        return float(((every - rest if len(a) == 1 else rest - every) <= bound).mean())

    def is_extreme(one: Any, other: Any, axis: int) -> Any:
        return (one.mean(axis=axis) - other.mean(axis=axis) <= bound).astype(float)

    found = stats.permutation_test(
        (numpy.asarray(a), numpy.asarray(b)),
        is_extreme,
        batch=_batch(len(a) + len(b)),
        permutation_type="independent",
        alternative="greater",
        n_resamples=num_resamples,
        rng=seed,
        vectorized=True,
    )
    return float(found.pvalue)


def _batch(num_values: int) -> int:
    """Resamples at a time. The draws, and so the p value, are the same for any number of them."""
    return max(1, MOST_AT_ONCE // num_values)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for their number by Holm's step-down procedure (1979), in the order given."""
    ascending = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for position, number in enumerate(ascending):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def smallest_p(num_pairs: int, num_resamples: int = NUM_RESAMPLES) -> float:
    """The smallest p value that the paired permutation test can give for so many pairs."""
    return 2 / 2**num_pairs if num_pairs <= MAX_EXACT_PAIRS else 1 / (num_resamples + 1)
