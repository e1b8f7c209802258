"""Patterns tried on a text within limits: they come from a task file and can be slow beyond measure."""

import regex

MAX_MATCHED_CHARACTERS = 10_000
"""Longer responses are not matched. Chosen, far above what the default limit of 64 tokens lets a model
write."""

MAX_MATCH_SECONDS = 1.0
"""Of processor time, for one pattern and one text. Chosen: a pattern that backtracks without end costs a
second each time, no more."""


class Undecided(Exception):
    """Nothing is said: a pattern ran out of its time, so whether it matches depends on the machine.

    Or it takes a dictionary to count the words of the response, or the input has not the number it is held
    against.
    """


def full_match(pattern: str, response: str) -> bool | None:
    """Whether the pattern matches the whole response; None for a response too long to be matched.

    Raises Undecided after MAX_MATCH_SECONDS.
    """
    if len(response) > MAX_MATCHED_CHARACTERS:
        return None
    try:
        return regex.fullmatch(pattern, response, timeout=MAX_MATCH_SECONDS) is not None
    except TimeoutError:
        raise Undecided from None


def captured_number(pattern: str, text: str) -> int | None:
    """What the pattern captures, as an integer; None where it captures nothing or no number."""
    try:
        return int(captured(pattern, text) or "")
    except ValueError:
        return None


def captured(pattern: str, text: str) -> str | None:
    """The first group of the first match in the text; None for no match.

    Raises Undecided after MAX_MATCH_SECONDS.
    """
    try:
        found = regex.search(pattern, text, timeout=MAX_MATCH_SECONDS)
    except TimeoutError:
        raise Undecided from None
    return found.group(1) if found else None
