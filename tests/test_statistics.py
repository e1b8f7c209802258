"""Intervals, tests and ranks are those of a plain loop and of a hand, also where SciPy's own differ."""

import itertools
import random
import subprocess
import sys
from fractions import Fraction
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from kpig.compare.sheets import _bound
from kpig.compare.statistics import COVERAGE, average_ranks, bootstrap_interval, contrasts, estimate, ranks
from kpig.scoring import significance
from kpig.scoring.significance import (
    MAX_EXACT_PAIRS,
    holm,
    lower_mean_test,
    paired_permutation_test,
    smallest_p,
)

KPIG = [71.0, 74.5, 69.5, 73.0, 70.0, 75.5]
REPLAY = [68.0, 73.0, 70.0, 70.5, 66.0, 71.0]


def test_the_bootstrap_interval_is_that_of_all_possible_resamples():
    rng = random.Random(5)
    values = [rng.gauss(50, 10) for _ in range(5)]
    means = [fmean(drawn) for drawn in itertools.product(values, repeat=5)]
    expected = np.quantile(means, [0.025, 0.975])
    found = bootstrap_interval(values, seed=7, num_resamples=100_000)
    assert found == pytest.approx(tuple(expected), abs=0.02 * (expected[1] - expected[0]))


@pytest.mark.parametrize("num_values", [11, 31])
def test_the_bootstrap_interval_is_close_to_that_of_a_loop(num_values):
    rng = random.Random(num_values)
    values = [rng.gauss(50, 10) for _ in range(num_values)]
    means = [fmean(rng.choices(values, k=num_values)) for _ in range(50_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    found = bootstrap_interval(values, seed=7, num_resamples=100_000)
    assert found == pytest.approx((low, high), abs=0.02 * (high - low))


def test_the_bootstrap_interval_depends_on_its_seed_and_level_alone():
    values = [1.0, 4.0, 2.0, 9.0, 7.0]
    random.seed(1)
    first = bootstrap_interval(values, seed=3)
    random.seed(2)
    assert bootstrap_interval(values, seed=3) == first
    narrow = bootstrap_interval(values, seed=3, level=0.5)
    assert first[0] < narrow[0] < narrow[1] < first[1]
    assert bootstrap_interval([2.5], seed=3) == (2.5, 2.5)


def test_the_ends_of_the_bootstrap_interval_lie_linearly_between_resampled_means():
    lowest, highest = bootstrap_interval([1.0, 4.0, 2.0, 9.0], seed=3, num_resamples=2, level=1 - 1e-12)
    assert highest - lowest > 0.1
    middle = bootstrap_interval([1.0, 4.0, 2.0, 9.0], seed=3, num_resamples=2, level=0.5)
    assert middle == pytest.approx(np.quantile([lowest, highest], [0.25, 0.75]))


@pytest.mark.parametrize("num_values", [3, 6])
def test_an_interval_over_few_values_holds_their_mean_as_often_as_is_said(num_values):
    rng, num = random.Random(num_values), 400
    drawn = [[rng.gauss(0, 1) for _ in range(num_values)] for _ in range(num)]
    held = sum(one.low <= 0 <= one.high for one in (estimate(values, 1000) for values in drawn))
    assert 100 * held / num == pytest.approx(COVERAGE[num_values], abs=6)


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([1.0], 95), ([1.0], 0)])
def test_a_bootstrap_of_nothing_or_at_no_level_is_refused(values, level):
    with pytest.raises(ValueError):
        bootstrap_interval(values, seed=0, level=level)


def scipy_p_value(a, b) -> float:
    def mean_difference(x, y, axis):
        return np.mean(x - y, axis=axis)

    resamples = np.inf if len(a) <= 14 else 20_000
    rng = np.random.default_rng(5)
    arrays = (np.array(a), np.array(b))
    return stats.permutation_test(
        arrays, mean_difference, permutation_type="samples", vectorized=True, n_resamples=resamples, rng=rng
    ).pvalue


def exact_p_value(a, b) -> Fraction:
    """Over all flips, without rounding."""
    gaps = [Fraction(str(x)) - Fraction(str(y)) for x, y in zip(a, b, strict=True)]
    flips = list(itertools.product((1, -1), repeat=len(gaps)))
    sums = [abs(sum(sign * gap for sign, gap in zip(signs, gaps, strict=True))) for signs in flips]
    return Fraction(sum(one >= sums[0] for one in sums), len(flips))


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 7, 13])
@pytest.mark.parametrize("shift", [0.0, 6.0, 25.0])
def test_the_permutation_test_of_few_pairs_counts_every_flip(num_pairs, shift):
    rng = random.Random(f"{num_pairs} {shift}")
    a = [round(rng.gauss(50, 10), 1) for _ in range(num_pairs)]
    b = [round(x + rng.gauss(shift, 10), 1) for x in a]
    assert paired_permutation_test(a, b, seed=0) == exact_p_value(a, b)
    if num_pairs > 1:
        assert paired_permutation_test(a, b, seed=0) == pytest.approx(scipy_p_value(a, b), abs=1e-12)


def test_the_permutation_test_is_what_a_hand_works_out():
    # +-3 +-1 +-2 gives 6, 4, 2, 0, 0, -2, -4, -6; four of the eight are at least 3 - 1 + 2 = 4 from 0.
    assert paired_permutation_test([3.0, 1.0, 2.0], [0.0, 2.0, 0.0], seed=0) == 4 / 8


def test_differences_that_cancel_up_to_rounding_cancel():
    gaps = [-0.3, -0.8, 0.4, 0.1, 1.0, -0.2, -0.2]
    zeros = [0.0] * len(gaps)
    assert paired_permutation_test(gaps, zeros, seed=0) == exact_p_value(gaps, zeros) == 1
    assert scipy_p_value(gaps, zeros) < 0.99, "SciPy's own tolerance has become enough: use its test as it is"


def test_the_permutation_test_of_many_pairs_is_close_to_that_of_scipy():
    rng = random.Random(2)
    a = [rng.gauss(50, 10) for _ in range(31)]
    b = [x + rng.gauss(3, 10) for x in a]
    expected = scipy_p_value(a, b)
    assert 0.02 < expected < 0.98
    assert paired_permutation_test(a, b, seed=1) == pytest.approx(expected, abs=0.02)
    assert paired_permutation_test(b, a, seed=1) == paired_permutation_test(a, b, seed=1)


def test_a_sampled_p_value_is_never_0_and_that_of_equal_scores_is_1():
    assert paired_permutation_test([1.0] * 40, [0.0] * 40, seed=0, num_resamples=99) == 0.01
    assert paired_permutation_test([3.0] * 5, [3.0] * 5, seed=0) == 1.0
    assert paired_permutation_test([3.0] * 40, [3.0] * 40, seed=0, num_resamples=99) == 1.0


@pytest.mark.parametrize(("a", "b"), [([1.0], []), ([], [])])
def test_a_permutation_test_without_pairs_is_refused(a, b):
    with pytest.raises(ValueError, match="pair"):
        paired_permutation_test(a, b, seed=0)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.04], [0.04]),
        # Holm by hand: 4 x 0.005, 3 x 0.01, then 2 x 0.03, and 0.04 is raised to the one before it.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.6, 0.5, 0.02], [1.0, 1.0, 0.06]),
    ],
)
def test_holm_is_what_a_hand_works_out(p_values, expected):
    assert holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0, 2.0], [1, 3, 2]),
        ([5.0, 5.0, 1.0, 5.0], [2, 2, 4, 2]),
        ([2.0], [1]),
        ([0.0, 0.0], [1.5, 1.5]),
    ],
)
def test_the_highest_ranks_first_and_equal_values_share_their_mean_rank(values, expected):
    assert ranks(values) == expected


def test_a_contrast_holds_the_test_and_the_interval_of_the_paired_differences():
    found = contrasts({"kpig": dict(enumerate(KPIG)), "replay": dict(enumerate(REPLAY))}, "kpig")["replay"]
    gaps = [second - first for first, second in zip(KPIG, REPLAY, strict=True)]
    assert found.p == exact_p_value(REPLAY, KPIG)
    assert found.difference == estimate(gaps)
    assert found.difference.mean == pytest.approx(fmean(gaps))
    interval = stats.bootstrap(
        (np.array(KPIG),), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    own = estimate(KPIG)
    assert (own.low, own.high) == pytest.approx((interval.low, interval.high), abs=0.15)


def test_a_single_value_has_no_interval_and_equal_values_one_of_no_width():
    assert estimate([3.0]).low is None and estimate([]) is None
    assert (estimate([3.0, 3.0]).low, estimate([3.0, 3.0]).high) == (3.0, 3.0)


def test_the_smallest_p_is_reached_where_every_pair_points_one_way():
    for num_pairs in (1, 3, 6):
        far = {"a": dict.fromkeys(range(num_pairs), 9.0), "b": {n: float(n) for n in range(num_pairs)}}
        assert contrasts(far, "a")["b"].p == smallest_p(num_pairs) == 2 / 2**num_pairs
    assert smallest_p(MAX_EXACT_PAIRS + 1) < 2 / 2**MAX_EXACT_PAIRS * 2


def test_average_ranks_count_only_cells_that_every_label_has():
    seen = {"a": {1: 9.0, 2: 1.0, 3: 5.0}, "b": {1: 8.0, 2: 2.0}, "c": {1: 8.0, 2: 3.0}}
    found, number = average_ranks([seen, {"a": {1: 1.0}, "b": {1: 2.0}, "c": {}}])
    assert number == 2
    assert found == {"a": (1 + 3) / 2, "b": (2.5 + 2) / 2, "c": (2.5 + 1) / 2}
    assert average_ranks([{}]) == ({}, 0)


def test_loading_the_module_does_not_load_scipy():
    code = "import sys, kpig.cli.commands, kpig.compare.statistics; print('scipy' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


@pytest.mark.parametrize(
    ("num_pairs", "num_tests", "words"),
    [
        (3, 1, "smallest possible p is 2/2^n: 3 pairs here, so no p below 0.25, and none below 0.25 once"),
        (12, 2, "smallest possible p is 2/2^n: 12 pairs here, so no p below 0.00049, and none below 0.00098"),
        (
            16,
            3,
            "p is of 10,000 random flips: 16 pairs here, so no p below 0.0001, and none below 0.0003 once",
        ),
    ],
)
def test_how_small_p_can_be_is_said_as_the_test_of_so_many_pairs_has_it(num_pairs, num_tests, words):
    assert words in _bound(num_pairs, num_tests, f"{num_pairs} pairs")


@pytest.mark.parametrize("most", [1, 70, 2**30])
def test_p_is_the_same_to_the_bit_however_many_resamples_are_held_at_once(most, monkeypatch):
    chance = random.Random(3)
    a, b = ([chance.random() for _ in range(23)] for _ in range(2))
    tests = (paired_permutation_test, lower_mean_test)
    expected = [test(a, b, 5, 999) for test in tests]
    monkeypatch.setattr(significance, "MOST_AT_ONCE", most)
    assert [test(a, b, 5, 999) for test in tests] == expected


@pytest.mark.parametrize("sizes", [(1, 1), (1, 6), (6, 1)])
def test_a_group_of_one_value_has_the_p_of_all_ways_to_part_them(sizes):
    """SciPy refuses such a group."""
    chance = random.Random(sum(sizes))
    a, b = ([chance.choice([0.0, 50.0, 100.0]) for _ in range(size)] for size in sizes)
    every = [*a, *b]
    apart = []
    for chosen in itertools.combinations(range(len(every)), len(a)):
        first = [every[place] for place in chosen]
        second = [value for place, value in enumerate(every) if place not in chosen]
        apart.append(fmean(first) - fmean(second))
    assert lower_mean_test(a, b, 0) == fmean(one <= fmean(a) - fmean(b) + 1e-9 for one in apart)
