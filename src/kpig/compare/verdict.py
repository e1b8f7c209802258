"""What a comparison says in words: who leads, and what differs from the reference beyond noise."""

from dataclasses import dataclass

from kpig.compare.comparison import Comparison
from kpig.compare.lines import Line
from kpig.compare.measures import MEASURES, Measure
from kpig.compare.sheets import LEVEL
from kpig.compare.statistics import Contrast
from kpig.report.text import decimal
from kpig.scoring.significance import smallest_p


@dataclass(frozen=True)
class Verdict:
    """In which main scores a line is better or worse than the reference beyond noise, and in which neither.

    Beyond noise: p adjusted by Holm is below LEVEL.
    """

    label: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    even: tuple[str, ...]


def verdicts(comparison: Comparison) -> list[Verdict]:
    """One for every line that shares a cell with the reference, bounds included."""
    return [_verdict(line) for line in comparison.lines if line.contrasts]


def leads(comparison: Comparison) -> list[str]:
    """Who has the best mean of each P-score, and whether noise could be told from more at all.

    Means compare over the same runs, so lines that lack some are left out of who leads.
    """
    cells = {cell for line in comparison.lines if not line.is_bound for cell in line.runs}
    competing = [line for line in comparison.lines if not line.is_bound and cells <= line.runs.keys()]
    found = [_lead(competing, measure) for measure in MEASURES if measure.key in ("p_seen", "p_held_out")]
    return [sentence for sentence in (*found, _power(comparison)) if sentence]


def _verdict(line: Line) -> Verdict:
    sides: dict[str, list[str]] = {"better": [], "worse": [], "even": []}
    for measure in MEASURES:
        contrast = line.contrasts.get(measure.key)
        if measure.main and contrast:
            side = _side(contrast, measure)
            sides[side].append(measure.short if side == "even" else _words(contrast, measure))
    return Verdict(line.label, *(tuple(sides[side]) for side in ("better", "worse", "even")))


def _side(contrast: Contrast, measure: Measure) -> str:
    if contrast.adjusted >= LEVEL:
        return "even"
    return "better" if (contrast.difference.mean > 0) == (measure.better == "higher") else "worse"


def _words(contrast: Contrast, measure: Measure) -> str:
    return f"{measure.short} {contrast.difference.mean:+z.{measure.digits}f}"


def _lead(lines: list[Line], measure: Measure) -> str:
    scored = [(found.mean, line.label) for line in lines if (found := line.estimates[measure.key])]
    if len(scored) < 2:
        return ""
    best = max(mean for mean, _ in scored)
    names = [label for mean, label in scored if mean == best]
    shown = decimal(best, measure.digits)
    if len(names) > 1:
        return f"{measure.name}: {len(names)} methods share the highest mean, {shown}."
    return f"{measure.name}: {names[0]} has the highest mean over all runs, {shown}."


def _power(comparison: Comparison) -> str:
    """That no difference can be told from noise, where there are too few pairs for it."""
    contrasts = [line.contrasts["p_seen"] for line in comparison.lines if "p_seen" in line.contrasts]
    if not contrasts:
        return ""
    pairs = max(one.difference.n for one in contrasts)
    smallest = min(1.0, len(contrasts) * smallest_p(pairs))
    if smallest < LEVEL:
        return ""
    runs = f"{pairs} pair{'s' * (pairs != 1)} of runs"
    return (
        f"With {runs} no difference can be told from noise: adjusted p is {decimal(smallest, 2)} at least, "
        f"whatever the methods do. More seeds and orders lower it."
    )
