"""A cell of a table: its text, the interval beneath it, and the number that it is sorted by."""

from dataclasses import dataclass

from kpig.report.spread import Interval
from kpig.report.text import number_in


@dataclass(frozen=True)
class Cell:
    """What a cell shows; `order` is None where it has no number."""

    text: str
    interval: str = ""
    order: float | None = None


def cell(text: str, interval: Interval | None = None, digits: int = 0) -> Cell:
    """A cell of a text, and the interval of its number with so many decimals where one is known."""
    order = number_in(text)
    if interval is None or order is None:
        return Cell(text, "", order)
    low, high = interval
    return Cell(text, f"{low:z.{digits}f} to {high:z.{digits}f}", order)
