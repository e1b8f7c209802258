"""Notations: stretches of an instruction whose layout tells what they are, whatever the words say.

Lists of labels over lines or with numbers, and forms to fill in ("name: ...", {"name": ...}).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kpig.annotate import labels, lengths, roles, styles

QUOTES = "\"'“”`"
_MARK = r"(?:[-*•–]|\(?\d{1,2}[.)]|\(?[A-Za-z][.)])"
_LINE = re.compile(rf"[ \t]*{_MARK}[ \t]+(?P<item>[^\n]*)")
_NUMBERED = re.compile(
    r"(?<![\w.])(?:\((?:1|a|A|i)\)|(?:1|a|A|i)[.)])[ \t]+(?P<first>[^().,;:!?\n]{1,30}?)[,;]?"
    r"(?:[ \t]+(?:or\s+)?\(?(?:\d|[b-hB-H]|i{1,3}|"
    r"iv)[.)][ \t]+[^().,;:!?\n]{1,30}?[,;]?){1,30}(?=\s*(?:[.!?:\n]|$))"
)
_HOLE = r"(?:\.{3}|…|<[^<>\n]{1,40}>|_{2,}|\[[^\]\n]{1,40}\]|\{[^{}\n]{0,40}\})"
_FILLED = re.compile(
    rf"(?<![\w-])[\w-]+(?: [\w-]+)?[ \t]?[:=][ \t]?{_HOLE}(?:[ \t]*[\n,;|"
    rf"][ \t\n]*[\w-]+(?: [\w-]+)?[ \t]?[:=][ \t]?{_HOLE})+"
)
_OBJECT = re.compile(r"\{\s*[\"'][^{}]{1,400}:[^{}]{1,400}\}")


@dataclass(frozen=True)
class Notation:
    """Characters `start` to `end` are a key part of this `kind` where they are no description of input.

    `outset` is where its first mark stands, before the part begins.
    """

    start: int
    end: int
    kind: str
    outset: int


def find(text: str) -> tuple[Notation, ...]:
    """All notations of a text, in order and apart."""
    found = [*_line_lists(text), *_numbered(text)]
    found += [
        Notation(*_quoted(text, *match.span()), "format", _quoted(text, *match.span())[0])
        for form in (_FILLED, _OBJECT)
        for match in form.finditer(text)
    ]
    apart: list[Notation] = []
    for one in sorted(found, key=lambda notation: (notation.start, -notation.end)):
        if not apart or apart[-1].end <= one.start:
            apart.append(one)
    return tuple(apart)


def _quoted(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets with the quotation marks around them, if there are any."""
    is_quoted = start and text[start - 1] in QUOTES and text[end : end + 1] in tuple(QUOTES)
    return (start - 1, end + 1) if is_quoted else (start, end)


def _line_lists(text: str) -> Iterator[Notation]:
    """Lists of labels with a mark before each, one a line; a list's span starts at its first label."""
    items: list[tuple[int, int, int]] = []
    start = 0
    for line in text.split("\n"):
        item = _LINE.match(line)
        if item and _is_label(item["item"]):
            items.append((start, start + item.start("item"), start + len(line.rstrip().rstrip(".;,"))))
        elif line.strip():
            yield from _listed(items)
            items = []
        start += len(line) + 1
    yield from _listed(items)


def _listed(items: list[tuple[int, int, int]]) -> Iterator[Notation]:
    if len(items) > 1:
        (outset, start, _), (_, _, end) = items[0], items[-1]
        yield Notation(start, end, "label_set", outset)


def _numbered(text: str) -> Iterator[Notation]:
    for match in _NUMBERED.finditer(text):
        if len(match["first"].split()) < labels.MOST_WORDS and _is_label(match["first"]):
            yield Notation(*match.span(), "label_set", match.start())


def _is_label(item: str) -> bool:
    """Whether an item names an answer, with or without a gloss, and demands nothing by itself."""
    name = re.split(r"\s*[:=(]|\s+[–—-]\s", item.strip(), maxsplit=1)[0].strip(" .;,")
    if not name or len(name.split()) > labels.MOST_WORDS:
        return False
    demands = len(name.split()) > 1 and not name.lower().startswith("not ") and roles.begins_imperative(name)
    return not (demands or lengths.is_limit(name) or styles.is_form(name))
