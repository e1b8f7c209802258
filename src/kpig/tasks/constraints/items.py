"""The items of a response that is a list: bullets, numbers, lines, or parts between marks."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import regex

_BULLET = regex.compile(r"(?m)^[ \t]*(?:[-*+–—·]\s+|[•‣◦▪●]\s*)(?=\S)")
_NUMBER = regex.compile(r"(?m)^[ \t]*\(?\d{1,4}[.):]\s+(?=\S)")
_NUMBER_WITHIN = regex.compile(r"(?:^|(?<=\s))\(?(\d{1,4})[.)]\s+(?=\S)")
_COMMA = regex.compile(r",(?!\d)|(?<!\d),|[、，،]")
_SEMICOLON = regex.compile(r"[;；؛]")


def _numbered(text: str) -> int:
    """Lines that begin with a number; within one line, numbers that count on from the first."""
    if (lines := sum(1 for _ in _NUMBER.finditer(text))) > 1:
        return lines
    found, expected = 0, None
    for mark in _NUMBER_WITHIN.finditer(text):
        number = int(mark[1])
        if expected is None or number == expected:
            found, expected = found + 1, number + 1
    return found


def _filled(parts: list[str]) -> int:
    return sum(1 for part in parts if part.strip())


LISTS: Mapping[str, Callable[[str], int]] = MappingProxyType(
    {
        "bullets": lambda text: sum(1 for _ in _BULLET.finditer(text)),
        "numbers": _numbered,
        "lines": lambda text: _filled(text.splitlines()),
        "commas": lambda text: _filled(_COMMA.split(text)),
        "semicolons": lambda text: _filled(_SEMICOLON.split(text)),
    }
)
"""How to count the items of each kind of list, by its name."""


def num_items(text: str, item_separator: str | None = None, list: str | None = None) -> int:
    """Items that are not blank, cut exactly at the separator or as the kind of list (of LISTS) has them.

    A comma between two digits parts no items.
    """
    if list is not None:
        return LISTS[list](text)
    assert item_separator is not None, "the parameters of a constraint name one of both"
    return _filled(text.split(item_separator))
