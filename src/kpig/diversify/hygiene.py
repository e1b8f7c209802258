"""What a text from a language model must not hold to become an instruction: it is untrusted.  [D]

An instruction is plain text for a model and appears in reports.  Tags, links and the like are allowed
exactly where the parent holds the same ones ("<sep>", "<person_name>").
"""

import re
import unicodedata

from kpig.diversify.variant import Fault

CONTROL, MARKUP, TALK, TOO_LONG, EMPTY = (
    "control_characters",
    "markup",
    "talks_to_reader",
    "too_long",
    "empty",
)
ALLOWED_CONTROLS = "\n\t"
MAX_WORD_RATIO, MIN_WORD_ALLOWANCE = 2.0, 60
"""A rewording may have twice the words of its parent, or 60 more where that allows more. Chosen: reasoning
steps and added rules need room, an essay does not."""

_MARKUP = re.compile(
    r"</?[a-z!][^<>\n]*>?|<\||\[/?INST\]|<<SYS>>|```|\*\*|~~|\]\(|https?:|javascript:|www\.|\{\{|\{%"
    r"|^\s{0,3}#{1,6}\s|^\s*(?:system|user|assistant|human)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_TALK = re.compile(
    r"\b(?:ignore|disregard|forget)\b[^.]{0,30}\b(?:previous|prior|above|earlier|other|preceding)\b"
    r"|\b(?:system|developer) (?:prompt|message)\b|\bas an ai\b|\bkey[ -]parts?\b|\blabel[ _]set\b"
    r"|\b(?:rewritten|reworded|rephrased|revised|original|modified)"
    r" (?:instruction|version|definition|wording)"
    r"|\bhere (?:is|are) (?:the|a|your|my) (?:new|rewritten|reworded|revised|variant)"
    r"|^\s*(?:sure|certainly)\b[,!]"
    r"|\bI (?:have|will|can|can't|cannot)\b|\bI'm sorry\b",
    re.IGNORECASE,
)


def fault(text: str, parent: str) -> Fault | None:
    """What is wrong with the text, or None; `parent` is the wording it rewrites."""
    if not text.strip():
        return Fault(EMPTY, "the instruction is empty")
    strange = next((one for one in text if one not in ALLOWED_CONTROLS and _is_unprintable(one)), None)
    if strange is not None:
        return Fault(CONTROL, f"the instruction holds the character {strange!r}")
    most = max(MAX_WORD_RATIO * len(parent.split()), len(parent.split()) + MIN_WORD_ALLOWANCE)
    if len(text.split()) > most or len(text) > 20 * most:
        size = f"{len(text.split())} words and {len(text)} characters"
        return Fault(TOO_LONG, f"the instruction has {size}; at most {most:.0f} words are allowed")
    for reason, pattern in ((MARKUP, _MARKUP), (TALK, _TALK)):
        for found in pattern.finditer(text):
            if found.group() not in parent:
                return Fault(reason, f"the instruction holds {found.group()!r}; write plain text only")
    return None


def _is_unprintable(character: str) -> bool:
    """Control, format, surrogate, private and unassigned characters: Unicode categories C."""
    return unicodedata.category(character).startswith("C")
