"""The errors a user can meet; each says what was given, what was expected and what to do."""

import bisect
import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST_COMPARED, MOST_COMPARED_CHARACTERS = 2000, 200
"""Known words that a slip is compared with, and characters of each. Chosen: difflib takes milliseconds then,
where it would take hours for the names of a million examples or for words as long as a book."""

MOST_SHOWN_CHARACTERS = 300
"""Of a value in a message. Chosen: a path fits, and a number of 5,000 digits does not hide what is wrong."""

OUT_OF_MEMORY = re.compile(r"DefaultCPUAllocator|not enough memory|out of memory|bad_alloc|bad alloc", re.I)
"""How torch words that memory ran out: on a CPU it raises a plain RuntimeError."""


TOO_MANY_DIGITS = re.compile(
    r"Exceeds the limit \((\d+) digits\) for integer .*?; use sys\.\w+\(\) to \w+ \w+ limit"
)
"""How Python words that a number is too long to be read, with advice for its programmers."""


class KpigError(Exception):
    """Something the user can mend. The command line prints it and exits with `exit_code`."""

    exit_code = 1

    def __str__(self) -> str:
        return TOO_MANY_DIGITS.sub(
            r"a number has more than \1 digits; write it shorter, or in quotes", super().__str__()
        )


class UsageError(KpigError):
    """A command that cannot mean anything as it was typed."""

    exit_code = 2


class ConfigError(KpigError):
    """A configuration that cannot be run; the message lists every problem found."""


class DataError(KpigError):
    """A task file, or a task in it, that cannot be used."""


class ModelError(KpigError):
    """A model folder that cannot be loaded or does not fit the job."""


class RunError(KpigError):
    """A run folder that cannot be used as asked."""


class DiskError(RunError):
    """A file that the disk did not take."""


class TrainingError(KpigError):
    """Training that must not go on, such as a loss that is not finite."""


class LostError(KpigError):
    """A process of the job that has ended before its part was done, or cannot be reached."""


def clause(words: object) -> str:
    """Words of another's, such as an error's, without the full stop at their end: to stand in a sentence."""
    return str(words).rstrip().rstrip(".")


class DivergedError(TrainingError):
    """Training whose loss, gradient or weights are not finite: with other settings it may go on."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a machine or a device had no memory left. torch need not be loaded to know its errors."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None


def nearest(word: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that `word` is most likely a slip of, if there is one.

    Of more than MOST_COMPARED known words those are compared that begin or end most like it, and of long
    words the first MOST_COMPARED_CHARACTERS. The answer does not depend on the order of the known words.
    """
    asked = str(word)[:MOST_COMPARED_CHARACTERS]
    choices = {one[:MOST_COMPARED_CHARACTERS]: one for one in sorted(known)}
    compared = list(choices)
    if len(compared) > MOST_COMPARED:
        ends = _neighbours(asked[::-1], [one[::-1] for one in choices])
        compared = sorted({*_neighbours(asked, choices), *(one[::-1] for one in ends)})
    close = difflib.get_close_matches(asked, compared, 1, cutoff)
    return choices[close[0]] if close else None


def _neighbours(word: str, known: Iterable[str]) -> list[str]:
    """The known words about it in alphabetical order: none shares a longer beginning with it."""
    ordered = sorted(known)
    place, reach = bisect.bisect(ordered, word), MOST_COMPARED // 4
    return ordered[max(0, place - reach) : place + reach]


def shown(value: object) -> str:
    """The value as a message shows it: a path or text as it is, else as Python writes it, cut where long."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, Path) else repr(value)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= MOST_SHOWN_CHARACTERS else f"{text[: MOST_SHOWN_CHARACTERS - 3]}..."


def some(names: Sequence[str], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
