"""The two readings of a comparison: at equal updates and at equal computing (docs/method.md, section 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kpig.compare.comparison import Comparison
from kpig.compare.lines import Line
from kpig.errors import some

NEAR = {"updates": 0.01, "computing": 0.1}
"""By how much a line's cost may differ from the reference's and count as equal. Chosen: updates are counted,
so that only a rounded last update differs; tokens depend on which examples are drawn."""


MISSING = {
    "updates": "That reading needs runs with as many updates.",
    "computing": "That reading needs runs of its own: more updates or more replay for the cheaper method.",
}
"""What to do where a reading has nothing to compare."""


@dataclass(frozen=True)
class Spent:
    """What a line costs beside the reference: the mean of each key of NEAR, and its ratio to the reference's.

    A ratio is None where the reference has spent nothing.
    """

    line: Line
    cost: Mapping[str, float]
    ratio: Mapping[str, float | None]

    def is_equal(self, key: str) -> bool:
        """Whether the line has spent as much as the reference, as near as NEAR says."""
        ratio = self.ratio[key]
        return ratio is not None and abs(ratio - 1) <= NEAR[key]

    @property
    def equal_in(self) -> str:
        """In what the line is equal to the reference, in a word or two."""
        found = [key for key in NEAR if self.is_equal(key)]
        return " and ".join(found) or "neither"


def spent(comparison: Comparison) -> list[Spent]:
    """The cost of every line, in the order of the lines."""
    costs = {line.label: _costs(line) for line in comparison.lines}
    base = costs[comparison.reference]
    return [
        Spent(
            line,
            costs[line.label],
            {key: costs[line.label][key] / base[key] if base[key] else None for key in NEAR},
        )
        for line in comparison.lines
    ]


def _costs(line: Line) -> dict[str, float]:
    found = {key: line.estimates[key] for key in NEAR}
    return {key: one.mean if one else 0.0 for key, one in found.items()}


def sentences(comparison: Comparison) -> list[str]:
    """Which lines each reading may set beside the reference, and that there are none where there are none."""
    others = [
        one for one in spent(comparison) if one.line.label != comparison.reference and not one.line.is_bound
    ]
    if not others:
        return []
    return [_sentence(comparison.reference, key, others) for key in NEAR]


def _sentence(reference: str, key: str, others: Sequence[Spent]) -> str:
    reading = f"At equal {key} (within {NEAR[key]:.0%})"
    equal = [one.line.label for one in others if one.is_equal(key)]
    if equal:
        return f"{reading} {reference} compares with: {some(equal)}."
    return f"{reading} no method here compares with {reference}. {MISSING[key]}"


def front(points: Sequence[tuple[float, float] | None], better: str) -> list[int]:
    """The places of the points (cost, score) that no other beats, cheapest first.

    A point beats another that is no cheaper and no better, unless both are equal. `better` is "higher" or
    "lower"; None stands for what was not measured.
    """
    sign = 1 if better == "higher" else -1
    known = [(cost, sign * score, place) for place, (cost, score) in _known(points)]
    kept = [
        (cost, -score, place)
        for cost, score, place in known
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s, _ in known)
    ]
    return [place for _, _, place in sorted(kept)]


def _known(points: Sequence[tuple[float, float] | None]) -> list[tuple[int, tuple[float, float]]]:
    return [(place, point) for place, point in enumerate(points) if point is not None]
