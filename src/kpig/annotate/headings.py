"""Headings: the labels and titles that divide an instruction, and what stands under them.

"TASK:", "**Goal:**", "# Output", "Labels:". A heading itself is part of nothing that is asked for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kpig.annotate import roles

TASK, ASIDE = "task", "aside"
"""What stands below asks for something, or describes and asks for nothing; other headings name a kind."""

_NAMES = {
    TASK: r"(?:your\s+|the\s+)?(?:task|goal|aim|job|objective|instructions?|question|to-?do|request|mission|"
    r"action|wanted|needed|what\s+to\s+do|assignment)",
    "label_set": r"(?:the\s+|possible\s+|allowed\s+|valid\s+)?(?:labels?|classes|class|categor(?:y|ies)|"
    r"options?|choices?|tags?|scale|range|values?|answers)",
    "format": r"(?:(?:output|response|answer|reply)(?:\s+(?:format|form|style|language))?|format|style|tone|"
    r"notation|return|language|form)",
    "length": r"(?:(?:max(?:imum)?\s+)?(?:length|limits?|size))",
    "content": r"(?:rules?|constraints?|requirements?|guidelines?|conditions?|restrictions?|must|avoid|do|"
    r"don'?ts?|criteria)",
    ASIDE: r"(?:context|background|role|persona|inputs?|texts?|data|about(?:\s+\w+)?|info(?:rmation)?|"
    r"(?:table\s+)?schema|tables?|source|audience?|scenario|situation|setting|document|user|domain|"
    r"who\s+you\s+are|examples?)",
}
_ANY = "|".join(_NAMES.values())
_HEADING = re.compile(
    r"(?:^|(?<=\n))[ \t]*#{1,6}[ \t]+(?P<title>[^\n]{1,60})(?=\n|$)"
    r"|(?:^|(?<=\n))[ \t]*\*\*(?P<alone>[^*\n]{1,40})\*\*[ \t]*(?=\n|$)"
    r"|(?P<stars>\*\*|__)(?P<bold>[^*_:\n]{1,40})(?:(?P=stars)\s*:|:\s*(?P=stars))"
    r"|(?:^|(?<=\n)|(?<=[.!?;)] ))[ \t]*(?P<capitals>[A-Z]{3,}(?: [A-Z]{2,}){0,2}):(?=\s)"
    rf"|(?:^|(?<=\n)|(?<=[.!?;] ))[ \t]*(?P<name>(?i:{_ANY})):(?=\s)",
)


@dataclass(frozen=True)
class Section:
    """Characters `start` to `end` stand under a heading that tells their `role`; "" where none does."""

    start: int
    end: int
    role: str = ""


def sections(text: str) -> tuple[Section, ...]:
    """The text without its headings, in order."""
    return tuple(section for section in _sections(text) if text[section.start : section.end].strip())


def _sections(text: str) -> Iterator[Section]:
    start, role = 0, ""
    for heading in _HEADING.finditer(text):
        told = _role(heading)
        if told is not None:
            yield Section(start, heading.start(), role)
            start, role = heading.end(), told
    yield Section(start, len(text), role)


def _role(heading: re.Match[str]) -> str | None:
    """What a heading tells; "" for a title of unknown meaning, None where it is no heading after all."""
    name = next(part for part in heading.group("title", "alone", "bold", "capitals", "name") if part)
    for role, names in _NAMES.items():
        if re.fullmatch(names, name.strip(" :*#_").strip(), re.IGNORECASE):
            return None if re.match("examples?", name, re.IGNORECASE) and not heading["title"] else role
    if roles.begins_imperative(name):
        return None
    return "" if heading["title"] or heading["alone"] or heading["bold"] else None
