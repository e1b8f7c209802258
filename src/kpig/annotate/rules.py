"""Key parts of an instruction from its own text: clauses, carriers and cue words, and no model.

The spans follow the conventions of hand annotation: a key part begins at the verb, or at the output as
subject; openers, carriers, input descriptions, examples and background stay outside (docs/method.md,
section 2).
"""

import re

from kpig.annotate import roles
from kpig.annotate.clauses import EDGES, Clause, split, trimmed
from kpig.annotate.lexicon import BASIS, SAID_AGAIN
from kpig.annotate.roles import BACKGROUND, DEMAND, EXAMPLE, INPUT, OUTSIDE, RULE, STATEMENT, Reading
from kpig.annotate.surroundings import Surroundings, is_key
from kpig.records import KeySpan


def find(text: str) -> tuple[KeySpan, ...]:
    """The key parts of an instruction, sorted and without overlap; empty where nothing is asked for.

    No span begins or ends with white space, a comma, a colon or a full stop.
    """
    clauses = split(text)
    spans: list[KeySpan] = []
    for clause, reading in zip(clauses, _settled(text, clauses), strict=True):
        if reading.role not in OUTSIDE:
            start = clause.start + reading.offset
            spans += _cut(
                text, start, clause.end, roles.kind(text[start : clause.end], reading.role, first=not spans)
            )
    return tuple(spans)


def _settled(text: str, clauses: tuple[Clause, ...]) -> list[Reading]:
    """The readings of all clauses, those of statements decided by what the other clauses tell.

    Input and labels count wherever they are described; the words of the output only from the operation
    on, because what stands before it describes the input.
    """
    readings = [roles.read(text[clause.start : clause.end]) for clause in clauses]
    words = [text[c.start + r.offset : c.end] for c, r in zip(clauses, readings, strict=True)]
    around = Surroundings()
    for said, reading in zip(words, readings, strict=True):
        if reading.role == INPUT:
            around.learn_input(said)
        elif reading.role not in (*OUTSIDE, STATEMENT):
            around.learn_labels(said)
    for number, (clause, said) in enumerate(zip(clauses, words, strict=True)):
        if number and clause.sentence == clauses[number - 1].sentence:
            readings[number] = _continued(said, clause, readings[number], readings[number - 1])
        readings[number] = _decided(said, readings[number], around)
    return readings


def _decided(words: str, reading: Reading, around: Surroundings) -> Reading:
    if reading.role == DEMAND:
        around.learn_output(words)
    if reading.role != STATEMENT:
        return reading
    if not is_key(words, around):
        return Reading(BACKGROUND)
    around.learn_labels(words)
    return Reading("reference" if BASIS.match(words) else RULE, reading.offset)


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

_LABEL_LIST = re.compile(
    r":\s+(?=\S)|,?\s+(?=as\s+(?:one\s+of\s+|either\s+)?[\"'“`]|into\s+[\"'“`]|on\s+a\s+scale\b)|,\s+(?=(?:else|otherwise)\b)",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r",?\s+(?=such\s+that\b|so\s+that\b|based\s+on\b|in\s+the\s+same\s+order\b)", re.IGNORECASE
)
_EMPTY_TAIL = re.compile(
    r",?\s+based\s+on\s+your\s+(?:own\s+)?(?:judge?ment|understanding|opinion)\W*$", re.I
)
_LIKE = re.compile(r",?\s+(?:for\s+example|for\s+instance)\b.*$", re.IGNORECASE | re.DOTALL)
_TAIL_KINDS = {"such": "content", "so": "content", "based": "reference", "in": "format"}


def _cut(text: str, start: int, end: int, kind: str) -> list[KeySpan]:
    """The key spans between two offsets, a label list or another tail at the end as a span of its own."""
    for pattern in (_EMPTY_TAIL, _LIKE):
        tail = pattern.search(text, start, end)
        end = tail.start() if tail and tail.start() > start else end
    pieces = _divided(text, start, end) if kind == "operation" else [(start, end, kind)]
    spans = [KeySpan(*_bounded(text, left, right), part_kind) for left, right, part_kind in pieces]
    return [span for span in spans if re.search(r"\w", text[span.start : span.end])]


def _divided(text: str, start: int, end: int) -> list[tuple[int, int, str]]:
    for pattern in (_LABEL_LIST, _TAIL):
        match = pattern.search(text, start, end)
        if match and match.start() > start and _balanced(text[start : match.start()]):
            tail_kind = _TAIL_KINDS.get(text[match.end() : end].split(None, 1)[0].lower(), "label_set")
            return [(start, match.start(), "operation"), (match.end(), end, tail_kind)]
    return [(start, end, "operation")]


def _balanced(text: str) -> bool:
    return text.count("(") == text.count(")")


def _bounded(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets without white space, final punctuation, and brackets that face the wrong way."""
    start, end = trimmed(text, start, end, EDGES)
    while start < end and text[end - 1] in "([":
        start, end = trimmed(text, start, end - 1, EDGES)
    while start < end and text[start] in ")]":
        start, end = trimmed(text, start + 1, end, EDGES)
    return start, end
