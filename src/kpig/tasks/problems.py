"""What is wrong with task files, collected so that a user learns of all of it at once; what to tell of it."""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from kpig.errors import DataError

MOST_PROBLEMS_SHOWN = 20
"""Chosen: what a terminal shows without scrolling."""

PLACE = re.compile(r"\b(line|row|instance) (\d+)\b(: example '[^']*')?")
"""Where in its file a message finds a problem. What is left tells the kind of the problem."""

log = logging.getLogger(__name__)


class Problems:
    """The problems found so far, so that a user learns of all of them at once.

    `found` are those that are shown, a problem of many rows once, with their number; of further ones, of
    which bad data may hold millions, only the number is kept. `rows` collects the problems of single rows:
    it is this object itself where they are refused, another where they are skipped and told. `notes` are
    sentences about what was read otherwise than it stands there, each with the number of its rows; `unused`
    are the columns that nothing was made of, by their file.
    """

    def __init__(self, skips_rows: bool = False) -> None:
        self.found: list[str] = []
        self.rows: Problems = Problems() if skips_rows else self
        self.notes: Counter[str] = Counter()
        self.unused: dict[str, Counter[str]] = {}
        self.num_skipped = 0
        self.num_more = 0
        self._last_noted: dict[str, str] = {}
        """For each note the place that was counted last."""

        self._same: dict[str, list[int]] = {}
        """For each kind of problem that is shown its place in `found`, and how often it occurs."""

    @property
    def is_full(self) -> bool:
        """Whether a further problem will not be shown, so that no time need go into its words."""
        return len(self.found) >= MOST_PROBLEMS_SHOWN

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a DataError raised inside the block as a problem, and go on after the block."""
        try:
            yield
        except DataError as error:
            self.num_skipped += 1
            self.add(*str(error).splitlines())

    def add(self, *lines: str) -> None:
        """Keep problems, one per line, as long as they are shown; of one in many rows the first."""
        for line in lines:
            kind = PLACE.sub("", line, count=1)
            if kind in self._same:
                self._same[kind][1] += 1
            elif self.is_full:
                self.num_more += 1
            else:
                self._same[kind] = [len(self.found), 1]
                self.found.append(line)

    def note(self, sentence: str, where: str) -> None:
        """Count a row, at the place `where`, for a note: once, however many of its values it is true of."""
        if self._last_noted.get(sentence) != where:
            self._last_noted[sentence] = where
            self.notes[sentence] += 1

    def lines(self) -> list[str]:
        """The problems in words, how often each occurs, and how many more there are."""
        counts = {place: count for place, count in self._same.values()}
        lines = [
            line + (f" (and so in {counts[place] - 1} more)" if counts.get(place, 1) > 1 else "")
            for place, line in enumerate(self.found)
        ]
        return lines + ([f"... and {self.num_more} more problems"] if self.num_more else [])

    def check(self) -> None:
        """Raise one DataError naming the problems, one per line, if there are any."""
        if self.found:
            raise DataError("\n".join(self.lines()))

    def tell(self) -> None:
        """Log the notes, and the rows that were skipped with the reasons."""
        for note, count in self.notes.items():
            log.warning("%s (%s)", note, _rows(count))
        for file, columns in self.unused.items():
            names = ", ".join(f"{brief(name)} ({_rows(count)})" for name, count in columns.items())
            log.warning(
                "%s: columns that are not used: %s; [stream.columns] tells which column is what", file, names
            )
        if self.rows is not self and self.rows.found:
            reasons = "\n  ".join(self.rows.lines())
            log.warning("%s cannot be used, skipped:\n  %s", _rows(self.rows.num_skipped), reasons)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def brief(value: object) -> str:
    """The value as a message shows it: on one line, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
