"""Division: one clause that asks for something, cut into the parts that say what, how long and in which form.

"Summarise the text in French, at most two sentences, but never name it" is an operation, a format, a length
and a content; the joining words and commas belong to none of them.
"""

import re
from dataclasses import dataclass

from kpig.annotate import kinds, labels, lengths, styles
from kpig.annotate.enclosures import Enclosures
from kpig.annotate.lexicon import (
    BASIS,
    CONDITION,
    FIRM_VERB,
    NOUN_VERBS,
    OPERATION_VERBS,
)

LETTER = re.compile(r"\w")
_GAP = re.compile(
    r"(?P<strong>\s*[,;:]\s+(?:(?:and|but|or|so(?!\s+that\b))\s+)?(?:then\s+|also\s+)?|\s+(?:and|but|"
    r"then)\s+(?:then\s+|also\s+|please\s+)?|"
    r"\s+[–—-]\s+)(?=\S)|\s+(?=\S)",
    re.IGNORECASE,
)
_DEMAND = re.compile(
    rf"(?:do\s+not|don'?t|never|always|avoid|not)\s|please\s|{FIRM_VERB}|"
    rf"(?!{NOUN_VERBS})(?:{OPERATION_VERBS})\s+(?!(?:and|or|of|in)\b)\w|(?:{OPERATION_VERBS})\s+(?:\d+|two|"
    rf"three|four|five|ten)\b",
    re.IGNORECASE,
)
_SOURCE = re.compile(
    r"(?:with|using|in)\s+(?:(?:an?|the|only|exact|its|your)\s+)*(?:words?|phrases?|quotes?|quotations?|"
    r"sentences?|spans?|passages?)"
    r"\s+(?:\w+\s+)?(?:from|of|in)\b|(?:copied|taken|quoted|drawn)\s+(?:\w+\s+)?from\b|(?:quoting|citing)\b|"
    r"in\s+(?:the|its|their)\s+(?:\w+\s+)?(?:oldest|newest|last|first|latest|final|second|third|"
    r"previous)\s+\w+\W*$|"
    r"(?:using|based\s+on|relying\s+on)\s+(?:only|nothing\s+but|solely)\b|(?:based|relying)\s+(?:only|"
    r"solely)\b",
    re.IGNORECASE,
)
_ASKED_SOURCE = re.compile(
    r"in\s+(?:the|its|their)\s+(?:oldest|newest|last|first|latest|final|second|third|"
    r"previous)\s+\w+\s*\?$",
    re.IGNORECASE,
)
_SOURCE_NOUN = re.compile(
    r"\b(?:with|using|in)\s+(?:\w+\s+)?(?:words?|phrases?|quotes?|quotations?|spans?|passages?)$",
    re.IGNORECASE,
)
_TAILS = re.compile(
    r"(?:without\s+\w|such\s+that\b|so\s+that\b|based\s+on\b|in\s+the\s+same\s+order\b)", re.IGNORECASE
)
_OBLIGED = re.compile(
    r"(?:the|its?|this|that|your|each|every|all)\s+(?:\w+\s+){0,3}?(?:must|should|has\s+to|have\s+to|"
    r"may\s+not|"
    r"cannot|can't)\b",
    re.IGNORECASE,
)
_PARTICIPLE = re.compile(
    r"(?!including|according|using|following|depending|being|during|regarding|concerning|"
    r"considering)\w{3,}ing\s",
    re.IGNORECASE,
)
_NONE = re.compile(r"no\s+\w", re.IGNORECASE)
_WITH = re.compile(r"with\s+\w", re.IGNORECASE)
_TAIL_KINDS = {"without": "content", "such": "content", "so": "content", "based": "reference", "in": "format"}
_JOINERS = re.compile(r"(?:(?:and|but|or|so(?!\s+that\b)|then|also|please|back)\b[\s,]*)+", re.IGNORECASE)
_JOINER_WORDS = ("and", "but", "or", "so", "then", "please", "as")
_FOR_WHOM = re.compile(r"\s+for\s+(?:them|me|us|him|her)$", re.IGNORECASE)
_BARE_VERB = re.compile(
    r"(?:(?:\w+ly|always|please|and)\s+)*\w+(?:\s+(?:it|them|me|back|only))?$", re.IGNORECASE
)
FORM_VERBS = re.compile(
    r"(?:always\s+|please\s+)?(?:answer|reply|respond|write|return|output|give|speak|use|say|print|keep|"
    r"name|quote)\b",
    re.IGNORECASE,
)
_INCOMPLETE = re.compile(
    r"\b(?:up|be|is|are|being|was|were|or|not|the|a|an|of)$|^(?:each|all|both|and|but|always|never)$",
    re.IGNORECASE,
)
_PRESENTS = re.compile(
    r"(?:(?:please|always|then|also|and)\s+)*(?:write|put|give|print|output|return|show|present|list|"
    r"format|arrange|"
    r"copy|keep|express|provide|order|place)\s+(?:it|them|this|everything|(?:(?:all|the|your|each|every|"
    r"these|its)\s+)+"
    r"(?:final\s+)?(?:answers?|results?|outputs?|responses?|repl(?:y|ies)|words?|lists?|items?|letters?|"
    r"numbers?|names?|"
    r"values?|sentences?))$",
    re.IGNORECASE,
)
"""A verb and what it brings to the reader: the form behind is what it is about, and no part of its own."""

_SAME_OBJECT = re.compile(r"\w+\s+(?:it|them)\b", re.IGNORECASE)
_NOUN = re.compile(r"(?:the|an?|its|his|her)\s", re.IGNORECASE)
_ASKS_FOR = re.compile(
    r"(?:please\s+)?(?:give|return|send|write|output|provide|fill\s+in|use)(?:\s+(?:me|us|back))?\W*$",
    re.IGNORECASE,
)
_SAYS_NOTHING = re.compile(r"(?:only|back|too|please|instead)\W*$", re.IGNORECASE)


@dataclass(frozen=True)
class Piece:
    """Characters `start` to `end`, and the kind where the way it was cut off tells it."""

    start: int
    end: int
    kind: str = ""


def pieces(
    text: str, start: int, end: int, enclosures: Enclosures, is_statement: bool = False
) -> list[Piece]:
    """The pieces of the clause between two offsets, in order, without what joins them.

    A statement ("The answer is in French, two words") is cut behind commas and joining words only.
    """
    clause = text[start:end]
    suffices = lengths.SUFFICES.match(clause)
    if suffices:
        return [Piece(start, start + suffices.end("limit"), "length")]
    if CONDITION.match(clause):
        return [Piece(start, end)]
    if labels.chooses(clause):
        return _labels_and_limits(text, start, end)
    lead = _lead(text, start, end, enclosures)
    found = _tailed(text, start, lead.start() if lead else end, enclosures, is_statement)
    if lead:
        found += _listed(text, start, lead, end, enclosures)
    found = [piece for piece in found if not _SAYS_NOTHING.match(text[piece.start : piece.end])]
    return [piece for piece in found if not _ASKS_FOR.match(text[piece.start : piece.end])] or found[:1]


def _labels_and_limits(text: str, start: int, end: int) -> list[Piece]:
    """A clause that only says which labels there are, and the limits and forms that follow them."""
    found = [Piece(start, end, "label_set")]
    for gap in _GAP.finditer(text, start, end):
        words = text[gap.end() : min(end, gap.end() + _SEEN_BEHIND)]
        if gap["strong"] and (styles.is_nothing_around(words) or lengths.is_limit(words)):
            last = found.pop()
            found += [Piece(last.start, gap.start(), last.kind), Piece(gap.end(), end)]
    return found


def _listed(text: str, start: int, lead: re.Match[str], end: int, enclosures: Enclosures) -> list[Piece]:
    """What follows the operation as a list of labels, or behind a colon."""
    words = text[lead.end() : end]
    if ":" in lead.group() and (_FIELDS.match(text, start, end) or not kinds.lists_answers(words)):
        return _tailed(text, lead.end(), end, enclosures)
    return [Piece(lead.end(), end, "label_set")]


_RULED = re.compile(r"\b(?:if|when|otherwise|else|or)\b")


def _lead(text: str, start: int, end: int, enclosures: Enclosures) -> re.Match[str] | None:
    """The first place where a list of labels, or what a colon announces, begins behind an operation."""
    for lead in labels.LEADS.finditer(text, start, end):
        before = text[max(start, lead.start() - _SEEN_BEFORE) : lead.start()]
        behind = text[lead.end() : min(end, lead.end() + _SEEN_BEHIND)]
        is_apart = LETTER.search(before) and not enclosures.hold(lead.start() + 1)
        if is_apart and not _BARE_FORM.search(before) and not _is_no_list(before, behind):
            return lead
    return None


def _is_no_list(before: str, behind: str) -> bool:
    """Whether what looks like the lead of a list is an example, a name, or "about" and its object."""
    if behind.startswith("("):
        return "..." in behind
    if behind.lower().startswith(("as ", "into ")):
        is_bare = _BARE_VERB.match(before) and FORM_VERBS.match(before)
        return bool(is_bare) or (len(kinds.quotes(behind)) == 1 and not _RULED.search(behind))
    if before.endswith((" about", " between")):
        is_choice = re.search(r"\b(?:if|whether|which)\b", before, re.IGNORECASE)
        return not (is_choice and " or " in behind and labels.is_list(behind))
    return False


_BARE_FORM = re.compile(r"(?:like|as)\s+\w+\s*$", re.IGNORECASE)
_FIELDS = re.compile(
    r"(?:please\s+)?(?:extract|list|give|include|mention|provide|fill|pull|collect|gather|find|get|cover|"
    r"state|add|note)\b",
    re.IGNORECASE,
)
_TRANSFORMS = re.compile(
    r"(?:please\s+)?(?:translate|convert|turn|transform|change|transcribe|transliterate|put|render)\b",
    re.IGNORECASE,
)
_INTO = re.compile(r"(?:to|into)\s", re.IGNORECASE)
_SECOND = re.compile(
    r"(?:translate|summari[sz]e|classify|count|list|rewrite|sort|extract|compute|calculate|"
    r"categori[sz]e|rank)\b",
    re.IGNORECASE,
)
_INVENTS = re.compile(
    r"(?:invent|make\s+up|create|craft|compose|come\s+up|think\s+of|coin|devise|design)\b", re.IGNORECASE
)
_OWN_CLAUSE = re.compile(r"that\s+(?:\w+s|is|are|has|have|can|could|must|should|will|would)\s", re.IGNORECASE)
_OTHER_CASE = re.compile(r"[\"'“`]?[\w-]+[\"'”`]?\s+if\b", re.IGNORECASE)
_THEN = re.compile(rf"(?:{OPERATION_VERBS})\s\w", re.IGNORECASE)
_COUNTED = re.compile(
    r"\b(?:list|set|pair|group|sequence|number|series|\d+|two|three|four|five)$", re.IGNORECASE
)
_SEEN_BEFORE, _SEEN_BEHIND = 80, 240
"""Characters around a gap that are looked at, so that a long clause costs no more by word."""

_ASKED_AFTER = re.compile(
    rf"(?:{OPERATION_VERBS}|who|what|which|when|where|how|why|is|are|does|do|did)\b", re.IGNORECASE
)


def _tailed(
    text: str, start: int, end: int, enclosures: Enclosures, is_statement: bool = False
) -> list[Piece]:
    """The clause cut before every limit, form, source and further demand."""
    bounds = [(start, start)]
    for match in _GAP.finditer(text, start, end):
        gap = _Gap.between(text, bounds[-1][1], match, end)
        if not enclosures.hold(match.end()) and _begins_piece(gap, is_statement):
            bounds.append(match.span())
    ends = [left for left, _ in bounds[1:]] + [end]
    trimmed = (_without_joiners(text, right, stop) for (_, right), stop in zip(bounds, ends, strict=True))
    return [
        Piece(left, right, _tail_kind(text[left:right]) if number else _head_kind(text[left:right]))
        for number, (left, right) in enumerate(trimmed)
        if left < right
    ]


@dataclass(frozen=True)
class _Gap:
    """The white space between two words of a clause and what stands around it, no more than is looked at.

    `head` is how the piece before begins, `tail` how it ends, both the whole of it where it is short; `rest`
    follows; `joint` is what joins the two, empty where white space alone stands between.
    """

    head: str
    tail: str
    rest: str
    joint: str
    is_short: bool

    @classmethod
    def between(cls, text: str, start: int, match: re.Match[str], end: int) -> "_Gap":
        """The gap that the pattern found behind a piece that begins at `start`."""
        stop = match.start()
        return cls(
            text[start : min(stop, start + _SEEN_BEFORE)],
            text[max(start, stop - _SEEN_BEFORE) : stop],
            text[match.end() : min(end, match.end() + _SEEN_BEHIND)],
            match["strong"] or "",
            stop - start <= _SEEN_BEFORE,
        )


def _begins_piece(gap: _Gap, is_statement: bool) -> bool:
    """Whether a new piece begins behind a gap between two words."""
    if not LETTER.search(gap.head) or _INCOMPLETE.search(gap.tail):
        return False
    if (not is_statement or gap.joint) and _begins_phrase(gap):
        return True
    if is_statement and _ASKED_SOURCE.match(gap.rest):
        return True
    return bool(gap.joint) and _begins_joined(gap)


def _begins_phrase(gap: _Gap) -> bool:
    """Whether a limit, a form or a source begins here that needs no comma before it."""
    is_bare = gap.is_short and _BARE_VERB.match(gap.head) and FORM_VERBS.match(gap.head)
    if is_bare or _SOURCE.match(gap.head) or _SOURCE_NOUN.search(gap.tail):
        return False
    if _TRANSFORMS.match(gap.head) and _INTO.match(gap.rest):
        return False
    if _INVENTS.match(gap.head) and _OWN_CLAUSE.match(gap.rest):
        return True
    if lengths.LED_LIMIT.match(gap.rest) and not _COUNTED.search(gap.tail):
        return True
    if lengths.BOUNDED.match(gap.rest) and gap.head.count(" ") > 1:
        return True
    if gap.is_short and _PRESENTS.match(gap.head):
        return False
    return any(phrase.match(gap.rest) for phrase in (styles.LED_FORM, _SOURCE, _TAILS))


def _begins_joined(gap: _Gap) -> bool:
    """Whether a phrase or a demand begins behind a comma, a colon or a joining word."""
    is_word = len(gap.head.split(None, 1)) == 1
    is_mark = "," in gap.joint or ":" in gap.joint
    if BASIS.match(gap.head) and "," not in gap.head and _ASKED_AFTER.match(gap.rest):
        return True
    if is_word and not is_mark:
        return False
    if lengths.is_limit(gap.rest) or (styles.is_form(gap.rest) and (is_mark or not _NOUN.match(gap.rest))):
        return True
    if any(phrase.match(gap.rest) for phrase in (_ASKS_FOR, _OTHER_CASE, _WITH, _OBLIGED)):
        return True
    if is_mark and (_PARTICIPLE.match(gap.rest) or _NONE.match(gap.rest)):
        return True
    if not is_mark and _SAME_OBJECT.match(gap.rest):
        return False
    then = "then" in gap.joint.lower() and _THEN.match(gap.rest)
    return bool(then or _DEMAND.match(gap.rest)) and not is_word


def _head_kind(words: str) -> str:
    return "reference" if _SOURCE.match(words) or BASIS.match(words) else ""


def _tail_kind(words: str) -> str:
    if styles.is_form(words) or lengths.is_limit(words):
        return ""
    if _SOURCE.match(words) or BASIS.match(words):
        return "reference"
    if _SECOND.match(words):
        return "operation"
    if _OWN_CLAUSE.match(words) or _OTHER_CASE.match(words) or _WITH.match(words):
        return "content"
    return _TAIL_KINDS.get(words.split(None, 1)[0].lower(), "") if _TAILS.match(words) else ""


def _without_joiners(text: str, start: int, end: int) -> tuple[int, int]:
    joined = _JOINERS.match(text, start, end)
    start = joined.end() if joined else start
    before, words = -1, text[start:end]
    while before != len(words):
        before, words = len(words), words.rstrip(" \t\n,;:.!–—-")
        words = _FOR_WHOM.sub("", words)
        for joiner in _JOINER_WORDS:
            if words.lower().endswith((f" {joiner}", f",{joiner}")):
                words = words[: -len(joiner)]
    return start, start + len(words)
