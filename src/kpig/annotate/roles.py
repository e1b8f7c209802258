"""Roles: what a clause of an instruction does, as far as its own words tell.

A key role is a kind of key part (`records.KEY_PART_KINDS`); the roles of OUTSIDE are part of none.
"""

import re
from dataclasses import dataclass

from kpig.annotate import kinds, labels
from kpig.annotate.lexicon import (
    ADVERB,
    BASIS,
    CARRIER,
    CONDITION,
    COURTESY,
    DEMAND_CARRIER,
    ENUMERATION,
    EXAMPLE_START,
    FINITE_AFTER_GERUND,
    FIRM_FOLLOWERS,
    FIRM_VERB,
    FOLLOWERS,
    FORM_EXAMPLE,
    GERUND,
    HEADING,
    INPUT_PASSIVE,
    INPUT_START,
    LABELS_ARE,
    LIST_OF_LABELS,
    NAMED_BY_VERB,
    NOT_VERBS,
    NOTE,
    NOUN_VERBS,
    OBLIGATION,
    OPENING,
    OPERATION_VERBS,
    OUTPUT_SUBJECT,
    PERMISSION_START,
    PERMITTED_MEANS,
    PERSONA,
    READING_ORDER,
    READING_VERBS,
    SAID_AGAIN,
    SURE_VERB,
    WISH_FOR,
    YOU_MUST,
)

OPENER, INPUT, EXAMPLE, PERMISSION, BACKGROUND = "opener", "input", "example", "permission", "background"
OUTSIDE = (OPENER, INPUT, EXAMPLE, PERMISSION, BACKGROUND)
DEMAND = "demand"  # asks for something: a key part, its kind still open
RULE = "rule"  # says more of what is asked for: a key part, its kind still open
FRAGMENT = "fragment"  # has no verb and yet asks for something: a key part, its kind still open
WISH = "wish"  # asks for something where nothing else in the instruction does
STATEMENT = "statement"  # the rest of the instruction decides whether it is key


LONGEST_FORM_EXAMPLE = 160
"""Characters; a longer example is a worked one, and not there to fix the form. Chosen."""


@dataclass(frozen=True)
class Reading:
    """The role of a clause, and the number of characters of opener and carrier before what it asks."""

    role: str
    offset: int = 0


def read(clause: str) -> Reading:
    """The role of a clause as far as its own words tell it; STATEMENT where they do not."""
    start = _opening_end(clause)
    rest = clause[start:]
    if not rest:
        return Reading(OPENER)
    form = FORM_EXAMPLE.match(rest)
    if form and len(rest) < LONGEST_FORM_EXAMPLE:
        return Reading("format", start + form.end())
    if labels.MAPPED.match(rest):
        return Reading("label_set", start)
    if EXAMPLE_START.match(rest):
        return Reading(EXAMPLE)
    if COURTESY.match(rest):
        return Reading(OPENER)
    if READING_ORDER.match(rest.rstrip(" .!")):
        return Reading(INPUT)
    means = PERMITTED_MEANS.match(rest)
    if means:
        return Reading(RULE, start + means.end())
    if PERMISSION_START.match(rest):
        return Reading(PERMISSION)
    noted = start
    while note := NOTE.match(clause, noted):
        noted = note.end()
    if noted > start:
        return _read_note(clause, noted)
    carrier = CARRIER.match(rest)
    if carrier:
        return _read_demand(clause, start + carrier.end())
    return _read_uncarried(clause, start)


def _opening_end(text: str) -> int:
    opening = OPENING.match(text)
    return opening.end() if opening else 0


def _read_note(clause: str, start: int) -> Reading:
    """What follows "note that" is key unless it says itself that it is not."""
    inner = read(clause[start:])
    return Reading(RULE if inner.role == STATEMENT else inner.role, start + inner.offset)


def _read_demand(clause: str, start: int) -> Reading:
    """A demand that begins at `start`, or after it where it first asks to read the input."""
    reading = _READING_FIRST.match(clause, start)
    return Reading(DEMAND, reading.start(1) if reading else start)


_READING_FIRST = re.compile(
    rf"(?:{READING_VERBS})\s[^.]*?(?:,\s*|\s)(?:and|to|then)\s+(?:then\s+)?({FIRM_VERB}|"
    rf"(?:{OPERATION_VERBS})\s)",
    re.IGNORECASE,
)


def _read_uncarried(clause: str, start: int) -> Reading:
    rest = clause[start:]
    wish = WISH_FOR.match(rest)
    if wish:
        return Reading(WISH, start + wish.end())
    named = LABELS_ARE.match(rest)
    if named and (len(kinds.quotes(rest)) > 1 or labels.is_list(rest[named.end() :])):
        return Reading("label_set", start)
    if LIST_OF_LABELS.match(rest) and kinds.lists_labels(rest):
        return Reading("label_set", start)
    if INPUT_START.match(rest):
        return Reading(INPUT)
    if rest.endswith("?"):
        return Reading(DEMAND, start)
    if begins_imperative(rest) and not _ACT_AS.match(rest):
        return _read_demand(clause, start)
    if PERSONA.match(rest):
        return Reading(BACKGROUND)
    if _has_heading(rest) or (CONDITION.match(rest) and _main_clause_demands(rest)):
        return Reading(RULE, start)
    if INPUT_PASSIVE.search(rest) and not OBLIGATION.search(rest) and not OUTPUT_SUBJECT.match(rest):
        return Reading(INPUT)
    return Reading(STATEMENT, start)


_ACT_AS = re.compile(r"(?:act|imagine|pretend|work)\s+(?:as|that|you|to\s+be)\b", re.IGNORECASE)


def begins_opening(text: str) -> bool:
    """Whether the text begins like a new sentence even in lower case.

    That is an opener, a carrier or an input description.
    """
    return bool(OPENING.match(text) or CARRIER.match(text) or re.match(r"you\b|given\b", text))


def begins_imperative(text: str) -> bool:
    """Whether the text begins with a verb in the imperative, known or told by the word after it."""
    number = ENUMERATION.match(text)
    bare = text[number.end() :] if number else text
    if re.match(r"(?:do\s+not|don'?t|never|not)\b", bare, re.IGNORECASE):
        return True
    if NAMED_BY_VERB.match(bare):
        return False
    if (
        SURE_VERB.match(bare)
        or _VERB_AND_LIST.match(bare)
        or (GERUND.match(bare) and not FINITE_AFTER_GERUND.search(bare))
    ):
        return True
    unknown = re.match(rf"([A-Z][a-z]+)\s+(?!that\b|in\b|with\b|by\b|as\b)(?:{FOLLOWERS})", bare)
    return bool(unknown and _may_be_verb(unknown.group(1)))


_VERB_AND_LIST = re.compile(rf"(?!{NOUN_VERBS})(?:{OPERATION_VERBS})\s*:\s", re.IGNORECASE)


def _may_be_verb(word: str) -> bool:
    return word.lower() not in NOT_VERBS and not re.search(r"(?:ing|ed|ly|s)$", word.lower())


def _has_heading(text: str) -> bool:
    """Whether a demand or a rule follows a heading such as "Tense:"."""
    end = 0
    while heading := HEADING.match(text, end):
        end = heading.end()
    return end > 0 and read(text[end:]).role in (DEMAND, RULE)


_MAIN_DEMAND = re.compile(
    rf",\s*(?:then\s+)?(?:please\s+)?(?:{FIRM_VERB}|{ADVERB}(?:{OPERATION_VERBS})\b(?!\s+(?:is|are)))"
    rf"|\bthen\s+(?:{OPERATION_VERBS})\b|\b{YOU_MUST}\s"
    r"|\b(?:output|answer|return|print|respond|write|label)\s+(?:with\s+|is\s+|should\s+be\s+)?[\"'“`\d]",
    re.IGNORECASE,
)


def _main_clause_demands(text: str) -> bool:
    """Whether a demand follows the condition that the text begins with."""
    otherwise = re.match(r"(?:otherwise|else)\b", text, re.IGNORECASE)
    return bool(otherwise or _MAIN_DEMAND.search(text) or OBLIGATION.search(text))


# --- where a sentence turns to a demand ----------------------------------------------------------------

_LATER_CARRIER = re.compile(
    r"(?:\bon\s+(?:that|this)\s|\bin\s+which\s|"
    r"(?<!that)(?<!which)(?<!what)(?<!if)(?<!when)(?<!where)(?<!how)(?<!because)(?<!as)(?<!and)(?<!who)"
    r"(?<!whether)(?<!until)(?<!while)(?<!before)(?<!after)[\s,;:]\s*)"
    rf"((?:(?:and|so|but|then)\s+)?{DEMAND_CARRIER})",
    re.IGNORECASE,
)
_CONDITION_BEFORE = re.compile(
    r"(?:^|[,;.:]\s*)(?:(?:and|but|or|so)\s+)?(?:if|when|unless)\b[^,;]*,\s*$", re.IGNORECASE
)
_KNOWN_VERB = re.compile(rf"[,.;:]\s*(?:and\s+|then\s+)?((?:please\s+)?(?:{FIRM_VERB}))", re.IGNORECASE)
_PLAIN_VERB = re.compile(
    rf",\s*(?:and\s+|then\s+)?({ADVERB}(?!{NOUN_VERBS})(?:{OPERATION_VERBS})\s+(?!and\b|or\b))", re.IGNORECASE
)
_BARE_VERB = re.compile(
    rf"[\w)]\s+((?:\w+ly\s+|(?!{NOUN_VERBS}))(?:{OPERATION_VERBS})\s+(?={FIRM_FOLLOWERS}))", re.IGNORECASE
)
_UNKNOWN_VERB = re.compile(rf",\s*(?:and\s+|then\s+)?(?P<verb>[a-z]+)\s+(?:{FIRM_FOLLOWERS})")
_ALTERNATIVE = re.compile(
    r"[,;]\s*((?:or\s+)?(?:otherwise|else|and\s+if|if\s+not)\b)|;\s+(\w)", re.IGNORECASE
)
_LIST_START = re.compile(rf":\s+({ENUMERATION.pattern})")
_PURPOSE = re.compile(r"to\b", re.IGNORECASE)


def demand_offsets(sentence: str) -> list[int]:
    """Offsets within a sentence, in no order, where a demand on the reader follows something else."""
    start = _opening_end(sentence)
    found = [max(match.start(1), match.start(2)) for match in _ALTERNATIVE.finditer(sentence, start)]
    listed = _LIST_START.search(sentence, start)
    if listed:
        found.append(listed.start(1))
    described = INPUT_START.match(sentence, start)
    if EXAMPLE_START.match(sentence, start) or (CONDITION.match(sentence, start) and not described):
        return found
    later = [match.start(1) for match in _LATER_CARRIER.finditer(sentence, start)]
    later = [offset for offset in later if not _CONDITION_BEFORE.search(sentence, 0, offset)]
    if not later and (described or BASIS.match(sentence, start) or _PURPOSE.match(sentence, start)):
        later = _later_verb(sentence, start)
    return found + later


def _later_verb(sentence: str, start: int) -> list[int]:
    """The offset of the imperative that follows an introduction, best evidence first; empty without one."""
    known = _KNOWN_VERB.search(sentence, start) or _PLAIN_VERB.search(sentence, start)
    if known:
        return [known.start(1)]
    unknown = [match for match in _UNKNOWN_VERB.finditer(sentence, start) if _may_be_verb(match["verb"])]
    if unknown:
        return [unknown[-1].start("verb")]
    given = re.compile(r"(?:given|provided)\b", re.IGNORECASE).match(sentence, start)
    bare = _BARE_VERB.search(sentence, start) if given else None
    return [bare.start(1)] if bare else []


def stands_alone(inside: str) -> bool:
    """Whether the text inside brackets is a clause of its own and not an aside to a word."""
    firm = re.match(FIRM_VERB, inside, re.IGNORECASE)
    return bool(firm or SAID_AGAIN.match(inside) or CARRIER.match(inside))
