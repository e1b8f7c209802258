"""Clauses: where the sentences of an instruction, and the clauses within them, begin and end.

All positions are character offsets into the text that was given (Python string indices).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kpig.annotate import roles
from kpig.annotate.lexicon import ABBREVIATIONS, EXAMPLE_START

BOUNDARY = re.compile(
    r"[.!?]+[\"'”’`)\]*]*(?=\s+|$|[A-Z][a-z])|\n+(?=\s*[A-Z*•\-\d])"
    r"|(?<=[a-z0-9'\")\]])[ \t]+(?=(?:You|Your|Please|The)\s[a-z])"  # a full stop that was forgotten
)
ENUMERATOR = re.compile(r"(?:\(?[A-Za-z]|\(?\d{1,2}|\(?[ivx]{1,4})[.)]\s")
CLOSED = re.compile(
    r"\"[^\"]{0,120}\"|“[^”]{0,120}”|`[^`]{1,80}`|(?<!\w)'(?!\s)[^'\n]{0,60}'(?!\w)|'\n'"
    r"|\((?:[^()]|\([^()]*\))*\)|\[[^\[\]]*\]|<[^<>\s]{1,40}>"
)
EDGES = ".!;:,"
"""Punctuation at either end of a clause that belongs to no key part, as hand annotation has it."""

FEWEST_WORDS_OF_EXAMPLE = 5
"""Shorter examples in mid-clause fix a form and stay in it: "the hyphen (e.g. -42) symbol". Chosen on the
tasks of superni-stream."""

LOWER_CASE_START = re.compile(r"\s+[a-z]")


@dataclass(frozen=True)
class Clause:
    """Characters `start` to `end` of a text, in its sentence number `sentence` (from 0).

    `bracketed` marks the inside of round brackets that end a clause; the brackets are in no clause.
    """

    start: int
    end: int
    sentence: int
    bracketed: bool = False


def split(text: str) -> tuple[Clause, ...]:
    """The clauses of `text` in order, without overlap, none blank.

    Sentences are cut where a demand on the reader follows something else ("..., and your task is to",
    "Given ..., classify"), at semicolons, and around round brackets at a clause's end.
    """
    closed = tuple(match.span() for match in CLOSED.finditer(text))
    found = []
    for number, (start, end) in enumerate(sentences(text)):
        for left, right, bracketed in _pieces(text, start, end, closed):
            left, right = trimmed(text, left, right)
            if left < right:
                found.append(Clause(left, right, number, bracketed))
    return tuple(found)


def sentences(text: str) -> tuple[tuple[int, int], ...]:
    """Start and end of every sentence, outer white space left out."""
    closed = tuple(match.span() for match in CLOSED.finditer(text))
    spans = (trimmed(text, start, end) for start, end in _sentences(text, closed))
    return tuple((start, end) for start, end in spans if start < end)


def trimmed(text: str, start: int, end: int, characters: str = "") -> tuple[int, int]:
    """The offsets without white space, and without any of `characters`, at either end."""
    while start < end and (text[start].isspace() or text[start] in characters):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in characters):
        end -= 1
    return start, end


def _sentences(text: str, closed: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    start = 0
    for match in BOUNDARY.finditer(text):
        if _ends_sentence(text, start, match, closed):
            yield start, match.end()
            start = match.end()
    if start < len(text):
        yield start, len(text)


def _ends_sentence(text: str, start: int, match: re.Match[str], closed: tuple[tuple[int, int], ...]) -> bool:
    position = match.end()
    if any(left < position < right for left, right in closed) or not text[start:position].strip():
        return False
    if ENUMERATOR.match(text, _next_word(text, position)) and text[match.start()] != "\n":
        return _list_is_over(text, start, position)
    if not match.group().strip():
        return True
    closer = match.group()[-1]
    if closer not in ".!?" and LOWER_CASE_START.match(text, position):
        return False  # 'Where is it?' that ...
    return match.group()[0] != "." or not _is_abbreviation(text[start : match.start()], text[position:])


def _is_abbreviation(before: str, after: str) -> bool:
    """Whether the full stop between the two texts belongs to a shortened word or to an enumerator."""
    last = re.search(r"\S*$", before)
    assert last is not None, "the pattern matches the end of any text"
    word = last.group().lstrip("([\"'/").lower()
    if word == "etc":
        return bool(LOWER_CASE_START.match(after)) and not roles.begins_opening(after.strip())
    if word in ABBREVIATIONS or re.fullmatch(r"(?:[a-z]\.)+[a-z]", word):
        return True
    return bool(re.search(r"(?:^|[.!?:])\s*\(?(?:[A-Za-z]|\d{1,2})$", before))


def _next_word(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _list_is_over(text: str, start: int, position: int) -> bool:
    """Whether an enumerator at `position` opens a list of its own: no colon or item came before."""
    return ":" not in text[start:position] and not ENUMERATOR.match(text, _next_word(text, start))


def _pieces(
    text: str, start: int, end: int, closed: tuple[tuple[int, int], ...]
) -> Iterator[tuple[int, int, bool]]:
    """Start, end and `bracketed` of the clauses of one sentence."""
    for left, right in _without_gaps(start, end, _cuts(text, start, end, closed)):
        for opens, closes in closed:
            if left <= opens and closes <= right and _stands_apart(text, left, opens, closes, right):
                yield left, opens, False
                yield opens + 1, closes - 1, left < opens
                left = closes
        yield left, right, False


def _without_gaps(start: int, end: int, cuts: list[int]) -> Iterator[tuple[int, int]]:
    for cut in cuts:
        yield start, cut
        start = cut
    yield start, end


def _cuts(text: str, start: int, end: int, closed: tuple[tuple[int, int], ...]) -> list[int]:
    sentence = text[start:end]
    positions = sorted({start + offset for offset in roles.demand_offsets(sentence)})
    return [cut for cut in positions if not any(left < cut < right for left, right in closed)]


def _stands_apart(text: str, start: int, opens: int, closes: int, end: int) -> bool:
    """Whether round brackets hold a clause of its own.

    That is an example, or a demand or "i.e." that ends its clause.
    """
    if text[opens] != "(":
        return False
    inside, ends = text[opens + 1 : closes - 1].strip(), not re.search(r"\w", text[closes:end])
    if EXAMPLE_START.match(inside):
        return ends or len(inside.split()) >= FEWEST_WORDS_OF_EXAMPLE
    whole = not re.search(r"\w", text[start:opens])
    return ends and (whole or roles.stands_alone(inside))
