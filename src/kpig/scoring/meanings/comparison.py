"""What the numbers of a comparison mean: of runs, and of examples before and after."""

from collections.abc import Mapping

from kpig.scoring.meanings.meaning import HIGHER, LOWER, Meaning

COMPARISON: Mapping[str, Meaning] = {
    "average_rank": Meaning(
        "Average rank",
        "place among the methods, mean over P-scores, seeds and orders",
        "1 would be the best everywhere. It says who is ahead, not by how much.",
        "mean of the ranks by P seen and P held-out in every seed and order that all methods have",
        "1 to the number of methods",
        LOWER,
        "docs/method.md, section 8",
    ),
    "interval": Meaning(
        "Mean and 95 % interval",
        "the mean over runs, and where it likely lies",
        "The interval says how far the mean would move with other seeds and orders. Two methods whose "
        "intervals overlap widely are not told apart.",
        "percentile bootstrap of the mean over runs",
        "in the units of the score",
        "",
        "docs/method.md, section 8; Efron 1979",
        ("mean", "low", "high", "95 % interval", "difference_low", "difference_high"),
    ),
    "runs": Meaning(
        "Runs",
        "runs that a mean is over, each with a seed and a stream order",
        "With few runs nothing is proved: n pairs give no p below 2/2^n.",
        "a count; of a difference, the runs that both methods share in seed and order",
        "1 or more",
        "",
        "docs/method.md, section 8",
        ("n", "pairs"),
    ),
    "difference": Meaning(
        "Difference from the reference",
        "mean difference over shared seeds and orders",
        "What a method has more, or less, than the reference on the same seeds and orders.",
        "mean over shared seeds and orders of score − score of the reference",
        "in the units of the score",
        "",
        "docs/method.md, section 8",
    ),
    "change": Meaning(
        "Change of P-score",
        "points won or lost since the step before, or since the untuned model",
        "What a task has gained or lost, with its standard error over the test examples.",
        "P-score now − P-score before",
        "-100 to 100",
        HIGHER,
        "docs/ship.md",
        ("change ± s.e.",),
    ),
    "standard_error": Meaning(
        "± standard error",
        "how far a number moves with other examples",
        "About two thirds of such measurements lie within one standard error of the true value.",
        "standard deviation over examples / √(number of examples); of pairs, of their differences",
        "0 or more, in the units of the score",
        LOWER,
        "docs/ship.md",
        ("s.e.", "± s.e."),
    ),
    "p_value": Meaning(
        "p",
        "the chance of a difference as large as this if there were none",
        "Small values speak for a real difference. It is not the chance that the difference is real, and "
        "says nothing about its size.",
        "share of sign flips of the paired differences that are as extreme, all flips up to 14 pairs; "
        "two-sided between methods, one-sided (a drop) in kpig gate",
        "above 0, to 1",
        "",
        "docs/method.md, section 8; paired permutation test, Phipson and Smyth 2010",
        ("p value",),
    ),
    "p_adjusted": Meaning(
        "p (Holm)",
        "p, corrected for the number of tests",
        "With many tests some p is small by chance. Where nothing differs, the smallest of these is "
        "below 0.05 in at most one table of twenty.",
        "p times the tests that are left, from the smallest p on, and never falling",
        "above 0, to 1",
        "",
        "docs/method.md, section 8; Holm 1979; docs/ship.md for the gate",
        ("p holm", "adjusted p"),
    ),
}
