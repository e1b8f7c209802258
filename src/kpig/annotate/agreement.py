"""Agreement of found with stated key parts, character by character, white space left out.

F1 alone flatters: where most of an instruction is key, calling all of it key scores near 0.8. The
Matthews correlation of that answer is 0, so both are given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from kpig.records import KeySpan


@dataclass(frozen=True)
class Agreement:
    """Characters of an instruction counted by what was found (positive) and what was stated (true)."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def f1(self) -> float:
        """F1 of the key characters, in [0, 1]; 1 where none is found and none is stated."""
        wrong = self.false_positive + self.false_negative
        return (
            2 * self.true_positive / (2 * self.true_positive + wrong) if self.true_positive + wrong else 1.0
        )

    @property
    def correlation(self) -> float:
        """Matthews correlation in [-1, 1]: 1 where all characters agree, else 0 if one side is constant."""
        if not self.false_positive and not self.false_negative:
            return 1.0
        tp, fp, fn, tn = self.true_positive, self.false_positive, self.false_negative, self.true_negative
        scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / sqrt(scale) if scale else 0.0


def compare(text: str, found: Iterable[KeySpan], stated: Iterable[KeySpan]) -> Agreement:
    """The agreement of two sets of spans of one instruction; their kinds are not compared."""
    found_at, stated_at = _covered(found), _covered(stated)
    inked = [position for position, character in enumerate(text) if not character.isspace()]
    both = sum(position in found_at and position in stated_at for position in inked)
    num_found = sum(position in found_at for position in inked)
    num_stated = sum(position in stated_at for position in inked)
    return Agreement(both, num_found - both, num_stated - both, len(inked) - num_found - num_stated + both)


def macro(agreements: Sequence[Agreement]) -> tuple[float, float]:
    """Mean F1 and mean Matthews correlation, each instruction counting once. Raises ValueError on none."""
    if not agreements:
        raise ValueError("no agreements to average; expected at least one instruction")
    count = len(agreements)
    return sum(one.f1 for one in agreements) / count, sum(one.correlation for one in agreements) / count


def _covered(spans: Iterable[KeySpan]) -> set[int]:
    return {position for span in spans for position in range(span.start, span.end)}
