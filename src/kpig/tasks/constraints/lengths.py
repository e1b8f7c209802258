"""How long a text is: words, and characters as readers count them, in any script.

Where a script does not show where a word ends, the number is only known to lie between two.
"""

from typing import NamedTuple

import regex


class Bounds(NamedTuple):
    """A number known to be at least `low` and at most `high`; the same where it is known."""

    low: int
    high: int

    def __add__(self, other: object) -> "Bounds":
        assert isinstance(other, Bounds), "only numbers of one kind are added"
        return Bounds(self.low + other.low, self.high + other.high)


_SYLLABIC = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}ーｰ"
_UNDIVIDED = r"\p{Line_Break=Complex_Context}\p{Tibetan}"
"""Thai, Lao, Khmer, Burmese and the like: only a dictionary tells their words."""

_WITHOUT_SPACES = regex.compile(f"[{_SYLLABIC}{_UNDIVIDED}]")
_PARTS = regex.compile(
    rf"(?P<character>[{_SYLLABIC}])|(?P<run>[{_UNDIVIDED}]+)|[^\W{_SYLLABIC}{_UNDIVIDED}]+(?:['\u2019-]\w+)*"
)
_CHARACTER = regex.compile(r"\X")


def is_without_spaces(text: str) -> bool:
    """Whether the text holds a character of a script whose words no spaces part."""
    return _WITHOUT_SPACES.search(text) is not None


def num_characters(text: str) -> int:
    """Characters as a reader sees them, spaces too: a letter with its accents is one, so is a flag."""
    return sum(1 for _ in _CHARACTER.finditer(text))


def num_words(text: str) -> Bounds:
    """Words: what stands between white space.

    A Chinese or Japanese character is a word, as word processors count. A run of Thai, Lao, Khmer, Burmese
    or Tibetan holds at least one word and at most one for each of its characters.
    """
    pieces = text.split()
    marked = [piece for piece in pieces if is_without_spaces(piece)]
    plain = len(pieces) - len(marked)
    return sum(map(_parts_of, marked), Bounds(plain, plain))


def _parts_of(piece: str) -> Bounds:
    """The words of a piece without white space that holds a script without spaces."""
    found = Bounds(0, 0)
    for part in _PARTS.finditer(piece):
        most = num_characters(part[0]) if part["run"] else 1
        found += Bounds(1, most)
    return found
