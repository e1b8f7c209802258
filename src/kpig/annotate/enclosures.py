"""Enclosures: what stands in quotation marks or brackets of an instruction; nothing is cut inside."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

_ENCLOSED = re.compile(
    r"\"[^\"]{0,120}\"|“[^”]{0,120}”|`[^`]{1,80}`|(?<!\w)'(?!\s)[^'\n]{0,60}'(?!\w)|'\n'"
    r"|\((?:[^()]|\([^()]*\))*\)|\[[^\[\]]*\]|<[^<>\s]{1,40}>|\{[^{}]*\}"
)


class Enclosures:
    """The enclosures of a text, in order and apart, each with its marks."""

    def __init__(self, text: str) -> None:
        self._spans = [match.span() for match in _ENCLOSED.finditer(text)]
        self._starts = [start for start, _ in self._spans]

    def hold(self, position: int) -> bool:
        """Whether an offset lies inside one, past its first character and before its end."""
        before = bisect_left(self._starts, position) - 1
        return before >= 0 and position < self._spans[before][1]

    def between(self, start: int, end: int) -> Sequence[tuple[int, int]]:
        """Start and end of those that lie within two offsets."""
        first, last = bisect_left(self._starts, start), bisect_right(self._starts, end)
        return [span for span in self._spans[first:last] if span[1] <= end]
