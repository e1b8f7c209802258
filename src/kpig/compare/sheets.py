"""The tables of a comparison as text: the same cells in every format. A cell may hold two lines."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kpig.compare.budgets import NEAR, Spent, spent
from kpig.compare.comparison import Comparison
from kpig.compare.lines import Line
from kpig.compare.measures import COSTS, MEASURES, Measure
from kpig.compare.statistics import Contrast, Estimate
from kpig.report.text import NONE, decimal
from kpig.scoring.meanings import legend
from kpig.scoring.significance import MAX_EXACT_PAIRS, NUM_RESAMPLES, smallest_p

ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
LEVEL = 0.05
"""The p value, adjusted by Holm, below which a difference gets a star: the usual one."""

FURTHER = {
    "Average": "average",
    "Backward transfer": "backward_transfer",
    "Forward transfer": "forward_transfer",
    "Next step": "next_step",
    "Half": "half_listening",
    "Gain": "gain",
    "Gap": "wording_gap",
}
"""How the headings of the further scores begin, and the number that each means."""

UNEQUAL = "These runs do not compare; what must be equal differs:"


@dataclass(frozen=True)
class Sheet:
    """A title, headings, rows of cells (the first one a label), and the sentences beneath.

    `values` are the numbers behind the cells, by which a column sorts; None where there is none.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    values: tuple[tuple[float | None, ...], ...] = ()


class Cell(NamedTuple):
    """The text of a cell, and the number that it sorts by."""

    text: str
    value: float | None = None


def _sheet(
    title: str, headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], notes: Sequence[str]
) -> Sheet:
    """A sheet of labels and their cells."""
    return Sheet(
        title,
        tuple(headings),
        tuple((label, *(cell.text for cell in cells)) for label, cells in rows),
        tuple(notes),
        tuple(tuple(cell.value for cell in cells) for _, cells in rows),
    )


def sheets(comparison: Comparison) -> list[Sheet]:
    """The main table, the differences from the reference, the further scores, and the cost."""
    others = [line for line in comparison.lines if line.label != comparison.reference]
    found = [_main(comparison), _differences(comparison, others), _further(comparison), _cost(comparison)]
    return [sheet for sheet in found if sheet.rows and len(sheet.headings) > 1]


def _main(comparison: Comparison) -> Sheet:
    measures = [measure for measure in _measured(comparison) if measure.main]
    rows = [
        (
            line.label,
            [
                *_scores(line, measures),
                Cell(decimal(line.rank, 2), line.rank),
                Cell(str(len(line.runs)), len(line.runs)),
            ],
        )
        for line in comparison.lines
    ]
    headings = ("Method", *map(_heading, measures), "Average rank ↓", "Runs")
    return _sheet("Scores", headings, rows, _main_notes(comparison))


def _main_notes(comparison: Comparison) -> list[str]:
    notes = [
        "Mean over the runs (seed and stream order), and its 95 % bootstrap interval in brackets. ↑: higher "
        f"is better, ↓: lower is better, {NONE}: not measured. Scorer: {comparison.scorer}."
    ]
    if any(" " in line.label for line in comparison.lines):
        notes.append(
            "Behind a method stand the settings in which its rows differ, where they are not the method's "
            "defaults."
        )
    if comparison.num_ranked:
        notes.append(
            "Average rank: over the P-scores on seen and held-out tasks in every seed and order that all "
            f"ranked methods have ({comparison.num_ranked} rankings); bounds (mtl, init) are not ranked."
        )
    if any(c.adjusted < LEVEL for line in comparison.lines for c in line.contrasts.values()):
        notes.append(
            f"*: differs from {comparison.reference} (Holm-adjusted p < {LEVEL}); see the differences."
        )
    return notes


def _differences(comparison: Comparison, others: Sequence[Line]) -> Sheet:
    """Paired differences from the reference in the main measures."""
    measures = [measure for measure in _measured(comparison) if measure.main]
    rows = [
        (line.label, [_difference(line.contrasts.get(m.key), m) for m in measures])
        for line in others
        if line.contrasts
    ]
    headings = ("Method", *map(_heading, measures))
    return _sheet(f"Differences from {comparison.reference}", headings, rows, _test_notes(others))


def _test_notes(others: Sequence[Line]) -> list[str]:
    """How the p values are made, and how small they can be at all."""
    numbers = sorted({c.difference.n for line in others for c in line.contrasts.values()})
    if not numbers:
        return []
    num_tests = sum(bool(line.contrasts) for line in others)
    tested = Counter(key for line in others for key in line.contrasts)
    fewer = ", fewer where bounds have no such score" if min(tested.values()) < num_tests else ""
    pairs = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    pairs += " pair" if numbers == [1] else " pairs"
    return [
        "Mean paired difference over shared seeds and orders, its 95 % bootstrap interval, the two-sided p "
        f"of the paired permutation test, and in brackets p adjusted by Holm for {num_tests} "
        f"comparison{'s' * (num_tests != 1)} in a column{fewer}.",
        _bound(numbers[-1], min(tested.values()), pairs),
    ]


def _bound(num_pairs: int, num_tests: int, pairs: str) -> str:
    """How small a p can be with so many pairs, and once adjusted for so many tests."""
    smallest = smallest_p(num_pairs)
    least, adjusted = (f"{one:.2g}" for one in (smallest, min(1.0, num_tests * smallest)))
    if num_pairs > MAX_EXACT_PAIRS:
        return (
            f"Above {MAX_EXACT_PAIRS} pairs p is of {NUM_RESAMPLES:,} random flips: {pairs} here, so no p "
            f"below {least}, and none below {adjusted} once adjusted, whatever the methods do. Fewer methods "
            "at a time lower it, more pairs do not."
        )
    return (
        f"With n pairs the smallest possible p is 2/2^n: {pairs} here, so no p below {least}, and none below "
        f"{adjusted} once adjusted, whatever the methods do. More seeds and orders, or fewer methods at a "
        "time, lower it."
    )


def _further(comparison: Comparison) -> Sheet:
    measures = [measure for measure in _measured(comparison) if not measure.main]
    rows = [(line.label, _scores(line, measures)) for line in comparison.lines]
    shown = {
        heading: key
        for heading, key in FURTHER.items()
        if any(measure.short.startswith(heading) for measure in measures)
    }
    return _sheet("Further scores", ("Method", *map(_heading, measures)), rows, (legend(shown),))


def _cost(comparison: Comparison) -> Sheet:
    rows = [
        (line.label, [_count(line.estimates[cost.key], cost) for cost in COSTS]) for line in comparison.lines
    ]
    return _sheet(
        "Cost, mean per run",
        ("Method", *(cost.short for cost in COSTS)),
        rows,
        (
            "Tokens are real ones without padding: trained on (forward and backward), and only read. "
            "Computing: tokens trained on, plus a third of those only read. Gain seconds lie within train "
            "seconds.",
        ),
    )


def budgets(comparison: Comparison) -> Sheet:
    """What every line costs in both budgets beside the reference, and what it reaches with that."""
    measures = [measure for measure in _measured(comparison) if measure.main]
    reference = comparison.reference
    rows = [
        (one.line.label, [*_budget(one, reference), *_scores(one.line, measures)])
        for one in spent(comparison)
    ]
    headings = ("Method", "Updates", "Computing", f"Equal to {reference} in", *map(_heading, measures))
    near = " or ".join(f"{share:.0%} of {name}" for name, share in NEAR.items())
    notes = (
        "Computing is tokens trained on, plus a third of those only read. In brackets: the ratio to "
        f"{reference}. Equal means within {near}. A method is better only where "
        "it is not worse at equal computing either.",
    )
    return _sheet("Both budgets", headings, rows, notes)


def _budget(one: Spent, reference: str) -> list[Cell]:
    costs = [Cell(f"{one.cost[key]:,.0f}\n({decimal(one.ratio[key], 2)} x)", one.cost[key]) for key in NEAR]
    return [*costs, Cell(NONE if one.line.label == reference else one.equal_in)]


def _measured(comparison: Comparison) -> list[Measure]:
    """The measures that some line has."""
    return [m for m in MEASURES if any(line.estimates[m.key] for line in comparison.lines)]


def _heading(measure: Measure) -> str:
    return measure.short + ARROWS[measure.better]


def _scores(line: Line, measures: Sequence[Measure]) -> list[Cell]:
    return [_score(line.estimates[m.key], m.digits, line.contrasts.get(m.key)) for m in measures]


def _score(found: Estimate | None, digits: int, contrast: Contrast | None) -> Cell:
    if found is None:
        return Cell(NONE)
    star = "*" if contrast and contrast.adjusted < LEVEL else ""
    return Cell(_with_interval(found, lambda value: decimal(value, digits), star), found.mean)


def _difference(contrast: Contrast | None, measure: Measure) -> Cell:
    if contrast is None:
        return Cell(NONE)
    text = _with_interval(contrast.difference, lambda value: f"{value:+z.{measure.digits}f}")
    return Cell(f"{text}\np {_p(contrast.p)} ({_p(contrast.adjusted)})", contrast.difference.mean)


def _with_interval(found: Estimate, write: Callable[[float], str], mark: str = "") -> str:
    mean = write(found.mean) + mark
    return (
        mean
        if found.low is None or found.high is None
        else f"{mean}\n[{write(found.low)}, {write(found.high)}]"
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _count(found: Estimate | None, cost: Measure) -> Cell:
    return Cell(NONE) if found is None else Cell(f"{found.mean:,.{cost.digits}f}", found.mean)
