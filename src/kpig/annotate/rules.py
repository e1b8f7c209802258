"""Key parts of an instruction from its own text: clauses, carriers and cue words, and no model.

The spans follow the conventions of hand annotation: a key part begins at the verb, or at the output as
subject; openers, carriers, headings, input descriptions, examples and background stay outside; a limit, a
form and a list of labels are parts of their own (docs/method.md, section 2).
"""

import re
from collections.abc import Sequence

from kpig.annotate import division, fragments, headings, kinds, labels, lengths, roles, styles
from kpig.annotate.clauses import EDGES, Clause, split, trimmed
from kpig.annotate.enclosures import Enclosures
from kpig.annotate.lexicon import BASIS, SAID_AGAIN
from kpig.annotate.roles import (
    BACKGROUND,
    DEMAND,
    EXAMPLE,
    FRAGMENT,
    INPUT,
    OPENER,
    OUTSIDE,
    PERMISSION,
    RULE,
    STATEMENT,
    WISH,
    Reading,
)
from kpig.annotate.surroundings import Surroundings, is_key, is_somebodys
from kpig.records import KEY_PART_KINDS, KeySpan


def find(text: str) -> tuple[KeySpan, ...]:
    """The key parts of an instruction, sorted and without overlap; empty where nothing is asked for.

    Where no clause asks for anything by its words, the last one that describes no input does. No span
    begins or ends with white space, a comma, a colon or a full stop.
    """
    clauses = split(text)
    readings = _settled(text, clauses)
    spans = _spans(text, clauses, readings)
    return tuple(spans or _spans(text, clauses, _last_resort(readings)))


def demanded(text: str) -> tuple[KeySpan, ...]:
    """The same, but empty where no clause asks for anything by its words."""
    clauses = split(text)
    return tuple(_spans(text, clauses, _settled(text, clauses)))


def _last_resort(readings: Sequence[Reading]) -> list[Reading]:
    """The readings with the last clause that may ask for something taken as a fragment that does."""
    silent = (OPENER, INPUT, EXAMPLE, PERMISSION)
    candidates = [number for number, one in enumerate(readings) if one.role not in silent]
    return [
        Reading(FRAGMENT, one.offset) if number in candidates[-1:] else one
        for number, one in enumerate(readings)
    ]


def _settled(text: str, clauses: tuple[Clause, ...]) -> list[Reading]:
    """The readings of all clauses, those of statements decided by what the other clauses tell.

    Input and labels count wherever they are described; the words of the output only from the operation
    on, because what stands before it describes the input.
    """
    before = (None, *clauses)
    readings = [
        _read(text, clause, last is not None and last.under == clause.under)
        for last, clause in zip(before, clauses, strict=False)
    ]
    words = [text[c.start + r.offset : c.end] for c, r in zip(clauses, readings, strict=True)]
    around = Surroundings(has_demand=any(one.role == DEMAND for one in readings))
    for said, reading in zip(words, readings, strict=True):
        if reading.role == INPUT:
            around.learn_input(said)
        elif reading.role not in (*OUTSIDE, STATEMENT, WISH):
            around.learn_labels(said)
    for number, (clause, said) in enumerate(zip(clauses, words, strict=True)):
        if number and clause.notation:
            readings[number] = _noted(clause, readings[number - 1])
        elif number and clause.sentence == clauses[number - 1].sentence:
            readings[number] = _continued(said, clause, readings[number], readings[number - 1])
        readings[number] = _decided(said, readings[number], around, not number)
        around.asked = around.asked or readings[number].role == "format"
    return readings


def _read(text: str, clause: Clause, is_later: bool) -> Reading:
    """What a clause's own words, its layout and the heading above it tell.

    `is_later` tells that it is not the first clause under its heading.
    """
    if clause.notation:
        return Reading(BACKGROUND if clause.under == headings.ASIDE else clause.notation)
    words = text[clause.start : clause.end]
    own = roles.read(words)
    if own.role not in (STATEMENT, RULE, WISH):
        return own
    if clause.under == headings.ASIDE:
        return Reading(STATEMENT if is_later and _is_form(words) else BACKGROUND, own.offset)
    if clause.under == headings.TASK:
        return Reading(FRAGMENT, own.offset)
    if clause.under in KEY_PART_KINDS and clause.under != "content":
        return Reading(clause.under, own.offset)
    return Reading(FRAGMENT if clause.under else own.role, own.offset)


def _is_form(words: str) -> bool:
    return fragments.is_fragment(words) and fragments.states_form(words)


def _noted(clause: Clause, before: Reading) -> Reading:
    """The reading of a notation: that of the clause before where this describes the input."""
    return before if before.role in (INPUT, EXAMPLE) else Reading(clause.notation)


def _decided(words: str, reading: Reading, around: Surroundings, is_first: bool) -> Reading:
    """The reading of a clause once all that stands before it, and every demand, is known."""
    if reading.role in (DEMAND, FRAGMENT):
        around.learn_output(words)
    if reading.role == WISH:
        return Reading(BACKGROUND if around.has_demand else FRAGMENT, reading.offset)
    if reading.role == RULE and is_somebodys(words, around):
        return Reading(BACKGROUND)
    if reading.role != STATEMENT:
        return reading
    if is_key(words, around):
        around.learn_labels(words)
        return Reading("reference" if BASIS.match(words) else RULE, reading.offset)
    if is_first and not around.has_demand and fragments.is_title(words):
        around.learn_output(words)
        return Reading(FRAGMENT, reading.offset)
    if _is_form(words) or (around.asked and fragments.is_rule(words)):
        return Reading(RULE if around.has_demand else FRAGMENT, reading.offset)
    return Reading(BACKGROUND)


def _continued(words: str, clause: Clause, own: Reading, before: Reading) -> Reading:
    """The reading of a clause that goes on in the sentence of the clause before it."""
    if before.role == EXAMPLE and not clause.bracketed:
        return before
    inherited = before.role if before.role in OUTSIDE else RULE
    said_again = SAID_AGAIN.match(words)
    if clause.bracketed and said_again:
        return Reading(inherited, own.offset + said_again.end())
    if own.role == STATEMENT and before.role != BACKGROUND:
        return Reading(inherited, own.offset)
    return own


# --- the parts of one clause ---------------------------------------------------------------------------

_EMPTY_TAIL = re.compile(
    r",?\s+based\s+on\s+your\s+(?:own\s+)?(?:judge?ment|understanding|opinion)\W*$", re.I
)
_ASKED = re.compile(r"(?<=[\w\"'”’)])\?$")
_LIKE = re.compile(r",?\s+(?:for\s+example|for\s+instance)\b.*$", re.IGNORECASE | re.DOTALL)


def _spans(text: str, clauses: tuple[Clause, ...], readings: Sequence[Reading]) -> list[KeySpan]:
    spans: list[KeySpan] = []
    asked, enclosures = False, Enclosures(text)
    for clause, reading in zip(clauses, readings, strict=True):
        if reading.role not in OUTSIDE:
            found = _cut(text, clause, reading, asked, enclosures)
            asked = asked or bool(clause.notation) or any(span.kind == "operation" for span in found)
            spans += found
    return spans


def _cut(text: str, clause: Clause, reading: Reading, asked: bool, enclosures: Enclosures) -> list[KeySpan]:
    """The key spans of one clause; limits, forms and lists of labels are spans of their own."""
    if clause.notation:
        return [KeySpan(clause.start, clause.end, clause.notation)]
    start = clause.start + reading.offset
    end = _without_examples(text, start, clause.end)
    spans: list[KeySpan] = []
    for piece in _pieces(text, start, end, reading.role, enclosures):
        left, right = _bounded(text, piece.start, piece.end)
        if re.search(r"\w", text[left:right]):
            kind = piece.kind or _kind(text[left:right], reading.role, asked)
            asked = asked or kind == "operation"
            is_question = kind in ("operation", "reference") and not reading.offset
            right -= not is_question and bool(_ASKED.search(text, left, right))
            spans.append(KeySpan(left, right, kind))
    return spans


def _without_examples(text: str, start: int, end: int) -> int:
    """Where a clause ends without "for example" and all behind it, and without a tail that says nothing."""
    for pattern in (_EMPTY_TAIL, _LIKE):
        tail = pattern.search(text, start, end)
        end = tail.start() if tail and tail.start() > start else end
    return end


def _pieces(text: str, start: int, end: int, role: str, enclosures: Enclosures) -> list[division.Piece]:
    if role == "label_set":
        return [division.Piece(start, end)]
    words = text[start:end]
    is_statement = (role == RULE and not fragments.is_fragment(words)) or bool(kinds.QUESTION.match(words))
    return division.pieces(text, start, end, enclosures, is_statement)


def _kind(words: str, role: str, asked: bool) -> str:
    if role == "format" and not asked and not fragments.states_form(words):
        return "operation"
    if role == "format" and lengths.is_limit(words):
        return "length"
    if role == "format" and labels.is_slashed(words):
        return "label_set"
    if role in KEY_PART_KINDS:
        return role
    if role in (FRAGMENT, RULE) and not asked and styles.is_language(words):
        return "operation"
    return kinds.of_rule(words) if role == RULE else kinds.of_demand(words, not asked)


_ENCLOSED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_BULLET = re.compile(r"[-*•–]\s+")


def _bounded(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets without white space, marks of a list, final punctuation, and brackets facing wrongly."""
    start, end = trimmed(text, start, end, EDGES)
    bullet = _BULLET.match(text, start, end)
    start = bullet.end() if bullet else start
    while end - start > 2 and _ENCLOSED.fullmatch(text, start, end):
        start, end = trimmed(text, start + 1, end - 1, EDGES)
    while start < end and text[end - 1] in "([":
        start, end = trimmed(text, start, end - 1, EDGES)
    while start < end and text[start] in ")]":
        start, end = trimmed(text, start + 1, end, EDGES)
    return start, end
