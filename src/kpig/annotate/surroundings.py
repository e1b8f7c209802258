"""Surroundings: what an instruction as a whole says of output, input and labels, to settle a statement."""

import re
from dataclasses import dataclass, field

from kpig.annotate import kinds, lengths
from kpig.annotate.lexicon import (
    BASIS,
    CONDITION,
    DEFAULT,
    EXEMPTION,
    FINITE,
    NOT_VERBS,
    OBLIGATION,
    OUTPUT_SUBJECT,
    STOP_WORDS,
)

PURPOSE = re.compile(r"to\s[^,]*,\s*", re.IGNORECASE)
WISH = re.compile(
    r"we\s+(?:only\s+|just\s+)?(?:need|want|require|expect|are\s+looking\s+for)\b", re.IGNORECASE
)
EXISTENCE = re.compile(r"there\s+(?:is|are|can|could|may|might|will)\b", re.IGNORECASE)
TRUTH_RULE = re.compile(r"\s(?:only\s+)?(?:if|when|unless)\s")
WRITERS_OWN = re.compile(r"(?:(?:and|but|so)\s+)?(?:i|we|my|our)\b", re.IGNORECASE)
POINTED_AT = re.compile(r"(?:these|those|some|many|most)\b", re.IGNORECASE)
SOMEBODYS = re.compile(r"\s+(?:of|from|on|in|at)\s+(?:our|my|the|an?|this|these)\b", re.IGNORECASE)
ANSWER = re.compile(
    r"\b(?:you|your|outputs?|answers?|responses?|labels?|results?|return|write|print)\b", re.IGNORECASE
)
IF = re.compile(r"(?:if|when|while)\s+", re.IGNORECASE)
PHRASE_END = re.compile(
    r"[,.:;(]|\b(?:of|in|from|for|with|to|into|that|which|who|on|at|between|by|about|based|such|whose|"
    r"where)\b"
)
NAME_OF = re.compile(r"\b(name|type|kind|number|count|list|set|one)s?\s+of\b")
_ITEM = r"[\w-]+(?:\s[A-Z][\w-]*)?"
_SEPARATOR = r"\s*,\s*(?:(?:and|or)\s+)?|\s+(?:or|and)\s+(?:an?\s+)?|/"
LISTED = re.compile(
    rf"(?::|\bas|\binto|\bis|\bare)\s+(?:either\s+)?(?:an?\s+)?({_ITEM}(?:(?:{_SEPARATOR}){_ITEM}){{1,12}})\W*$"
)


@dataclass
class Surroundings:
    """Words of the output and of the input, as stems, and the labels, in lower case."""

    output: set[str] = field(default_factory=set)
    input: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    has_demand: bool = False  # whether a verb asks for something anywhere
    asked: bool = False  # whether something was asked for: before that, an obligation is somebody else's

    def learn_input(self, clause: str) -> None:
        """Take in a clause that describes the input."""
        self.input |= _stems(clause, NOT_VERBS)

    def learn_labels(self, clause: str) -> None:
        """Take in the labels that a key clause quotes, or lists after a colon, "as", "into" or "is"."""
        found = kinds.quotes(clause)
        listed = LISTED.search(clause)
        if listed:
            found |= {label.lower() for label in re.split(_SEPARATOR, listed.group(1)) if label}
        self.labels |= found - NOT_VERBS

    def learn_output(self, clause: str) -> None:
        """Take in the object of an operation; the whole question where it asks whether something holds."""
        self.asked = True
        phrase = clause.split(None, 1)[-1]
        if not re.search(r"\b(?:whether|if)\b", clause):
            phrase = PHRASE_END.split(NAME_OF.sub(r"\1", phrase))[0]
        self.output |= _stems(phrase)


def is_key(clause: str, around: Surroundings) -> bool:
    """Whether a statement is key: it speaks of the output, of a label, or of the object of the operation.

    A statement about what was given as input is not, unless its verb obliges the output.
    """
    while purpose := PURPOSE.match(clause):
        clause = clause[purpose.end() :]
    if EXISTENCE.match(clause):
        return kinds.lists_labels(clause)
    if any(cue.match(clause) for cue in (BASIS, EXEMPTION)):
        return True
    if WISH.match(clause) and (around.asked or not around.has_demand):
        return True
    if around.asked and (DEFAULT.match(clause) or lengths.SUFFICES.match(clause)):
        return True
    return _speaks_of_output(clause, around) or _names_label(clause, around) or _rules_output(clause, around)


def is_somebodys(clause: str, around: Surroundings) -> bool:
    """Whether a condition before the first demand binds somebody else: no reader, output or label."""
    if around.asked or not around.has_demand or not CONDITION.match(clause):
        return False
    return not (ANSWER.search(clause) or kinds.quotes(clause))


def _speaks_of_output(clause: str, around: Surroundings) -> bool:
    condition = IF.match(clause)
    output = OUTPUT_SUBJECT.match(clause, condition.end() if condition else 0)
    if not output:
        return False
    if not around.asked and (POINTED_AT.match(clause) or SOMEBODYS.match(clause, output.end())):
        return False
    given = _stems(output.group(), frozenset()) & around.input
    return _obliges(clause) or "your" in output.group().lower() or not given


def _names_label(clause: str, around: Surroundings) -> bool:
    if kinds.quotes(clause) & around.labels:
        return True
    subject = clause.split(",")[0] if CONDITION.match(clause) else _subject(clause)
    words = {"", *re.findall(r"\w+", subject.lower())}
    return any(
        re.search(rf"\b{re.escape(label)}\b", subject, re.IGNORECASE)
        for label in around.labels
        if len(label) > 1 and _first_word(label) in words
    )


def _first_word(label: str) -> str:
    found = re.search(r"\w+", label)
    return found.group() if found else ""


def _rules_output(clause: str, around: Surroundings) -> bool:
    """Whether the clause defines, conditions or restricts what the operation is about."""
    subject = _head(clause)
    if _produced(subject, around) or (_obliges(clause) and _is_obliged(clause, subject, around)):
        return True
    if CONDITION.match(clause):
        return _produced(_stems(clause), around)
    rule = TRUTH_RULE.search(clause)
    return bool(rule and _produced(_stems(clause[: rule.start()]), around))


def _produced(stems: set[str], around: Surroundings) -> bool:
    """Whether one of the stems is of the output and not of the input."""
    return any(stem in around.output and stem not in around.input for stem in stems)


def _is_obliged(clause: str, subject: set[str], around: Surroundings) -> bool:
    """Whether what an obligation binds may be the answer: not the input, and nobody of the writer's."""
    if WRITERS_OWN.match(clause):
        return False
    return bool(subject & around.output or (around.asked and not subject & around.input))


def _obliges(clause: str) -> bool:
    """Whether the first finite verb of the clause is one of obligation ("must", "should")."""
    finite = FINITE.search(clause)
    return bool(finite and OBLIGATION.match(clause, finite.start()))


def _subject(clause: str) -> str:
    """What stands before the first finite verb, without "if" and without what a comma sets off."""
    condition = IF.match(clause)
    start = condition.end() if condition else 0
    finite = FINITE.search(clause, start)
    return re.split(r"[,:;]", clause[start : finite.start()])[0] if finite else ""


def _head(clause: str) -> set[str]:
    """Stems of the subject's words before any preposition, relative clause or bracket."""
    return _stems(PHRASE_END.split(_subject(clause))[0])


def _stems(text: str, ignored: frozenset[str] = STOP_WORDS) -> set[str]:
    words = re.findall(r"[a-z][a-z-]+", text.lower())
    return {_stem(word) for word in words if word not in ignored}


def _stem(word: str) -> str:
    stem = re.sub(r"(?:ing|ed|es|s|e)$", "", re.sub(r"ies$", "y", word))
    return stem if len(stem) > 2 else word
