"""How large a pattern would become when compiled, read from its text before anything compiles it."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_PATTERN_CHARACTERS = 10_000
"""Chosen: a list of a thousand words fits."""

MAX_COMPILED = 100_000
"""Characters and groups, each as often as it must be repeated at least. Chosen, ten times what a response may
be long to be matched: compiling as many took 0.2 s and 60 MB."""

MAX_EXPANDED = 10_000_000
"""The same, each as often as it may be repeated at most. Chosen: these cost nothing to compile, so this only
refuses what nobody means."""

MAX_DIGITS = 20
"""Of a number in a repeat that are read: more are beyond every bound."""

_COUNTED = re.compile(r"\{\s*(\d*)\s*(?:(,)\s*(\d*)\s*)?\}")
Counter = Callable[[re.Match[str]], int | None]
_CALL = re.compile(r"\(\?(?:R|[+-]?\d+|&|P>)")
_FLAGS_THAT_CHANGE_THE_SYNTAX = re.compile(r"\(\?[A-Za-z01]*(?:x|V1)")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]", re.DOTALL)
_COMMENT = re.compile(r"\(\?#[^)]*\)")
_ATOM = re.compile(r"\\.|.", re.DOTALL)


@dataclass
class _Group:
    """An open group: the size of what is complete in it, and of the last piece, which may yet be repeated."""

    complete: int = 1
    last: int = 0

    def put(self, size: int) -> None:
        self.complete, self.last = self.complete + self.last, size

    @property
    def size(self) -> int:
        return self.complete + self.last


def check_bounds(pattern: str) -> None:
    """Raises ValueError, with what is expected, for a pattern that may take any memory to compile.

    So are patterns too long, repeats of repeats, and calls of groups, by which a pattern can hold itself.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(
            f"a regular expression of at most {MAX_PATTERN_CHARACTERS:,} characters (it has {len(pattern):,})"
        )
    size = _size_at_worst if _FLAGS_THAT_CHANGE_THE_SYNTAX.search(pattern) else _size
    _refuse_above(MAX_COMPILED, size(pattern, _least), "that must match")
    _refuse_above(MAX_EXPANDED, size(pattern, _most), "that may match")


def _refuse_above(limit: int, size: int, what: str) -> None:
    if size > limit:
        shown = f"{size:,}" if size < 10**12 else f"{float(min(size, 10**300)):.0e}"
        raise ValueError(
            f"a regular expression {what} at most {limit:,} characters and groups once its repeats are "
            f"written out (about {shown}; lower the numbers in {{...}})"
        )


def _size(pattern: str, count_of: Counter) -> int:
    """Characters and groups of the pattern, each as often as its numbers say; `*` and `+` count once."""
    open_groups, position, last_close = [_Group()], 0, pattern.rfind("]")
    while position < len(pattern):
        group = open_groups[-1]
        if found := _COMMENT.match(pattern, position):
            pass
        elif found := _CALL.match(pattern, position):
            raise ValueError(f"a regular expression without calls of groups ({found[0]}...); write it out")
        elif position < last_close and (found := _CLASS.match(pattern, position)):
            group.put(1)
        elif (found := _COUNTED.match(pattern, position)) and (count := count_of(found)) is not None:
            group.last *= max(1, count)
        else:
            found = _ATOM.match(pattern, position)
            assert found is not None, "the position is within the pattern"
            if found[0] == "(":
                open_groups.append(_Group())
            elif found[0] == ")" and len(open_groups) > 1:
                size = open_groups.pop().size
                open_groups[-1].put(size)
            elif found[0] not in "*+?":
                group.put(1)
        position = found.end()
    return sum(group.size for group in open_groups)


def _most(counted: re.Match[str]) -> int | None:
    """The larger number of a repeat; None where it has no number, so that it is no repeat."""
    numbers = [int(number[:MAX_DIGITS]) for number in counted.group(1, 3) if number]
    return max(numbers) if numbers else None


def _least(counted: re.Match[str]) -> int | None:
    """The first number of a repeat, 0 where there is only a second; None where it has no number."""
    first, _, second = counted.groups()
    return int(first[:MAX_DIGITS]) if first else 0 if second else None


def _size_at_worst(pattern: str, count_of: Counter) -> int:
    """The size if every repeat held all others: an upper bound where flags change what is a repeat."""
    if found := _CALL.search(pattern):
        raise ValueError(f"a regular expression without calls of groups ({found[0]}...); write it out")
    counts = (count_of(found) for found in _COUNTED.finditer(pattern))
    return len(pattern) * math.prod(max(1, count) for count in counts if count)
