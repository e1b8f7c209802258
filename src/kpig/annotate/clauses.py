"""Clauses: where the sentences of an instruction, and the clauses within them, begin and end.

All positions are character offsets into the text that was given (Python string indices).
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from kpig.annotate import headings, notations, roles
from kpig.annotate.enclosures import Enclosures
from kpig.annotate.lexicon import ABBREVIATIONS, EXAMPLE_START

BOUNDARY = re.compile(
    r"(?<![.!?])[.!?]++[\"'”’`)\]*]*+(?=\s|$|[A-Z][a-z])|\n(?=[^\S\n]*[A-Z*•\-\d])"
    r"|(?<=[a-z0-9'\")\]])[ \t]+(?=(?:You|Your|Please|The)\s[a-z])"  # a full stop that was forgotten
)
ENUMERATOR = re.compile(r"(?:\(?[A-Za-z]|\(?\d{1,2}|\(?[ivx]{1,4})[.)]\s")
ENUMERATED = re.compile(r"\(?(?:[A-Za-z]|\d{1,2})$")
EDGES = ".!;:,"
"""Punctuation at either end of a clause that belongs to no key part, as hand annotation has it."""

FEWEST_WORDS_OF_EXAMPLE = 5
"""Shorter examples in mid-clause fix a form and stay in it: "the hyphen (e.g. -42) symbol". Chosen on the
tasks of superni-stream."""

LONGEST_WORD, LONGEST_OPENING = 40, 200
"""Characters that are looked at before and behind a full stop, so that a long text costs no more by word."""

LETTER = re.compile(r"\w")
LOWER_CASE_START = re.compile(r"\s+[a-z]")


@dataclass(frozen=True)
class Clause:
    """Characters `start` to `end` of a text, in its sentence number `sentence` (from 0).

    `bracketed` marks the inside of round brackets that end a clause; the brackets are in no clause.
    `under` is what the heading above tells (`headings`), `notation` the kind of a clause whose layout
    tells it (`notations`).
    """

    start: int
    end: int
    sentence: int
    bracketed: bool = False
    under: str = ""
    notation: str = ""


def split(text: str) -> tuple[Clause, ...]:
    """The clauses of `text` in order, without overlap, none blank.

    Sentences are cut where a demand on the reader follows something else ("..., and your task is to",
    "Given ..., classify"), at semicolons, and around round brackets at a clause's end. Headings are in no
    clause; a notation is one of its own.
    """
    enclosures = Enclosures(text)
    found: list[Clause] = []
    for number, (sentence, under, notation) in enumerate(_told(text, enclosures)):
        is_whole = notation or under == "label_set"
        pieces = [(*sentence, False)] if is_whole else _pieces(text, *sentence, enclosures)
        for left, right, bracketed in pieces:
            left, right = trimmed(text, left, right)
            if left < right:
                found.append(Clause(left, right, number, bracketed, under, notation))
    return tuple(found)


def sentences(text: str) -> tuple[tuple[int, int], ...]:
    """Start and end of every sentence, outer white space left out."""
    return tuple(sentence for sentence, _, _ in _told(text, Enclosures(text)))


def _told(text: str, enclosures: Enclosures) -> Iterator[tuple[tuple[int, int], str, str]]:
    """Every sentence and notation in order, with what the heading above it and the notation tell."""
    rest = deque(notations.find(text))
    for section in headings.sections(text):
        start = section.start
        while rest and rest[0].end <= section.end:
            one = rest.popleft()
            if one.outset >= start:
                yield from (
                    (span, section.role, "") for span in _sentences(text, start, one.outset, enclosures)
                )
                yield (one.start, one.end), section.role, one.kind
                start = one.end
        yield from ((span, section.role, "") for span in _sentences(text, start, section.end, enclosures))


def trimmed(text: str, start: int, end: int, characters: str = "") -> tuple[int, int]:
    """The offsets without white space, and without any of `characters`, at either end."""
    while start < end and (text[start].isspace() or text[start] in characters):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in characters):
        end -= 1
    return start, end


def _sentences(text: str, start: int, end: int, enclosures: Enclosures) -> Iterator[tuple[int, int]]:
    """Start and end of the sentences between two offsets, outer white space left out."""
    start, colon, seen = _next_word(text, start), -1, start
    for match in BOUNDARY.finditer(text, start, end):
        colon = max(colon, text.rfind(":", seen, match.end()))
        seen = match.end()
        if _ends_sentence(text, start, match, enclosures, colon >= start):
            yield trimmed(text, start, match.end())
            start = _next_word(text, match.end())
    if start < end:
        yield trimmed(text, start, end)


def _ends_sentence(
    text: str, start: int, match: re.Match[str], enclosures: Enclosures, has_colon: bool
) -> bool:
    position = match.end()
    if enclosures.hold(position) or position <= start:
        return False
    if ENUMERATOR.match(text, _next_word(text, position)) and text[match.start()] != "\n":
        return not has_colon and not ENUMERATOR.match(text, start)
    if not match.group().strip():
        return True
    closer = match.group()[-1]
    if closer not in ".!?" and LOWER_CASE_START.match(text, position):
        return False  # 'Where is it?' that ...
    return match.group()[0] != "." or not _is_abbreviation(text, start, match.start(), position)


def _is_abbreviation(text: str, start: int, stop: int, position: int) -> bool:
    """Whether the full stop at `stop` belongs to a shortened word or to an enumerator."""
    word = text[max(start, stop - LONGEST_WORD) : stop].split()[-1:] or [""]
    last = word[0].lstrip("([\"'/").lower()
    if last == "etc":
        return bool(LOWER_CASE_START.match(text, position)) and not roles.begins_opening(
            text[_next_word(text, position) : position + LONGEST_OPENING]
        )
    if last in ABBREVIATIONS or re.fullmatch(r"(?:[a-z]\.)+[a-z]", last):
        return True
    numbered = ENUMERATED.search(text, max(start, stop - 3), stop)
    if numbered is None:
        return False
    before = _last_word_end(text, start, numbered.start())
    return before == start or (before < numbered.start() and text[before - 1] in ".!?:")


def _last_word_end(text: str, start: int, position: int) -> int:
    while position > start and text[position - 1].isspace():
        position -= 1
    return position


def _next_word(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _pieces(text: str, start: int, end: int, enclosures: Enclosures) -> Iterator[tuple[int, int, bool]]:
    """Start, end and `bracketed` of the clauses of one sentence."""
    for left, right in _without_gaps(start, end, _cuts(text, start, end, enclosures)):
        for opens, closes in enclosures.between(left, right):
            if _stands_apart(text, left, opens, closes, right):
                yield left, opens, False
                yield opens + 1, closes - 1, left < opens
                left = closes
        yield left, right, False


def _without_gaps(start: int, end: int, cuts: list[int]) -> Iterator[tuple[int, int]]:
    for cut in cuts:
        yield start, cut
        start = cut
    yield start, end


def _cuts(text: str, start: int, end: int, enclosures: Enclosures) -> list[int]:
    positions = sorted({start + offset for offset in roles.demand_offsets(text[start:end])})
    return [cut for cut in positions if not enclosures.hold(cut)]


def _stands_apart(text: str, start: int, opens: int, closes: int, end: int) -> bool:
    """Whether round brackets hold a clause of its own.

    That is an example, or a demand or "i.e." that ends its clause.
    """
    if text[opens] != "(":
        return False
    inside = text[opens + 1 : closes - 1].strip()
    ends = not LETTER.search(text, closes, end)
    if EXAMPLE_START.match(inside):
        return ends or len(inside.split()) >= FEWEST_WORDS_OF_EXAMPLE
    whole = not LETTER.search(text, start, opens)
    return ends and (whole or roles.stands_alone(inside))
