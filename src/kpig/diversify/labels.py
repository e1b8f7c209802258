"""The literal labels of a closed answer set, and whether a rewording kept exactly them.  [D]

A label is a value of a `one_of` constraint that the parent says, a quoted text in a label_set key part,
or a word of an enumeration there ("anger, joy and neutral").  Enumerations are read at the words beside
their commas, "and" and "or": what is too long there to be a label is passed over.
"""

import re
from collections.abc import Iterator, Sequence

from kpig.diversify.variant import Fault
from kpig.records import KEY_PART_KINDS, Constraint, Instruction

LABEL_LOST, LABEL_ADDED = "label_lost", "label_added"
MAX_LABEL_WORDS = 3
"""Chosen: what is longer between two commas is a clause of a sentence rather than a label."""

_QUOTED = (
    r'"(\w[^"\n]{0,40})"',
    r"(?<!\w)'(\w(?:[^'\n]{0,40}\w)?)'(?!\w)",
    r"“(\w[^”\n]{0,40})”",
    r"‘(\w[^’\n]{0,40})’",
)
_BETWEEN = re.compile(r"\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+")
_ARTICLE = re.compile(r"^(?:either|a|an|the)\s+", re.IGNORECASE)


def fault(variant: Instruction, parent: Instruction, constraints: Sequence[Constraint]) -> Fault | None:
    """The first label that was lost or added, or None where the label set is unchanged."""
    stated = [value for one in constraints if one.type == "one_of" for value in one.params["values"]]
    spoken = [value for value in stated if _says(parent.text, value)]
    for label in (*spoken, *_quoted(_label_texts(parent)), *_enumerated(_label_texts(parent))):
        if not _says(variant.text, label):
            return Fault(LABEL_LOST, f"the answer {label!r} is not named any more; keep every label as it is")
    label_parts = [_label_texts(one) for one in (parent, variant)]
    if label_parts[0] and not label_parts[1]:
        return Fault(LABEL_LOST, 'no key part is of kind "label_set"; the answers must be one')
    # A label can be added under another kind too, so every quoted text of a closed task must be known.
    closed = bool(label_parts[0] or spoken)
    for label in (*_quoted(_part_texts(variant) if closed else []), *_enumerated(label_parts[1])):
        if not _says(parent.text.lower(), label.lower()):
            return Fault(LABEL_ADDED, f"{label!r} was not among the answers; add no label")
    return None


def _says(text: str, label: str) -> bool:
    """Whether the text holds the label with no letter or digit beside it."""
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text) is not None


def _part_texts(instruction: Instruction, kinds: Sequence[str] = KEY_PART_KINDS) -> list[str]:
    return [instruction.text[span.start : span.end] for span in instruction.key_parts if span.kind in kinds]


def _label_texts(instruction: Instruction) -> list[str]:
    return _part_texts(instruction, ("label_set",))


def _quoted(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        for pattern in _QUOTED:
            yield from re.findall(pattern, text)


def _enumerated(texts: Sequence[str]) -> Iterator[str]:
    """Labels of enumerations without quotes.

    These are the word before the first comma, the items, and the word after the last.
    """
    for text in texts:
        if re.search(r"[\"'“‘]", text):
            continue
        items = [_ARTICLE.sub("", item) for item in _BETWEEN.split(text.strip(" .;:"))]
        if len(items) < 2:
            continue
        edges = (items[0].split()[-1:], items[-1].split()[:1])
        yield from (word.strip("():;") for edge in edges for word in edge if word.strip("():;"))
        yield from (item for item in items[1:-1] if 0 < len(item.split()) <= MAX_LABEL_WORDS)
