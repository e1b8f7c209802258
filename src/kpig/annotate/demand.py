"""One demand on the response as the words of an instruction state it, and where such words state none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import regex

Entry = Mapping[str, Any]
"""One entry of a constraints.json."""


QUOTED = (
    r"(?:\"[^\"\n]{1,80}\"|“[^”\n]{1,80}”|(?<!\w)'[^'\n]{1,80}'(?!\w)|‘[^’\n]{1,80}’|"
    r"`[^`\n]{1,80}`|«[^»\n]{1,80}»)"
)
"""A text in quotes of any kind, as a pattern; an apostrophe within a word is none."""


def unquoted(text: str) -> str:
    """What stands in the quotes."""
    return text[1:-1]


@dataclass(frozen=True)
class Demand:
    """One demand: entries as a constraints.json has them, the strictest reading first, and its words.

    A `guess` is read where nothing says for sure that it is a demand. A reading may have a `source` of its
    own.
    """

    readings: tuple[Entry, ...]
    source: str
    guess: bool = False


_OF_INPUT = regex.compile(
    r"(?i)^\W*(?:in this task,?\s*)?(?:you(?:'ll| will|'re| are)?(?: be)?\s+(?:given|get|receive|shown)\b"
    r"|given\b|(?:the|each|every|this|an?|your)\s+(?:\w+\s+)?(?:input|text|passage|sentence"
    r"|line|row|document)s?"
    r"\s+(?:is|are|was|were|has|have|contains?|consists?|comes?|below|may)\b)"
)
_TURN = regex.compile(
    r"(?i),|;|\b(?:your (?:task|job|goal|answer|response)|you (?:should|must|need|have to)"
    r"|you(?:'re| are) (?:supposed|expected|"
    r"asked|required|to)|and (?:then )?(?:return|answer|write|output|"
    r"reply|respond|generate|give|classify|decide|say|summari[sz]e|translate|list|extract))\b"
)
_SENTENCE_STOP = regex.compile(r"[.!?:](?=\s)|\n")
_LONGEST_SENTENCE = 400


def said(pattern: regex.Pattern[str], text: str) -> Iterator[regex.Match[str]]:
    """The matches that do not stand in what describes the input."""
    for found in pattern.finditer(text):
        before = text[max(0, found.start() - _LONGEST_SENTENCE) : found.start()]
        sentence = _SENTENCE_STOP.split(before)[-1]
        opener = _OF_INPUT.match(sentence)
        if opener is None or _TURN.search(sentence + found[0], opener.end()):
            yield found
