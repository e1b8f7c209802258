"""Where the key parts that a file states stand in an instruction."""

import bisect
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kpig.errors import DataError
from kpig.records import KEY_PART_KINDS, KeySpan
from kpig.tasks.problems import brief

JOINED = re.compile(r"\w\w")
"""Two characters of one word."""


def locate(text: str, parts: object, where: str) -> tuple[KeySpan, ...]:
    """The stated key parts, a list, as spans of the instruction `text`, in order.

    A part is a text, or a mapping of `text`, `kind` (default "operation") and optionally `start`, `end`.
    A part without `start` is placed at its first occurrence as whole words that is clear of the parts
    placed before, else at its first clear one; parts with `start` are placed first. Raises DataError where a
    part is not a span of the instruction, overlaps another, or is of an unknown kind.
    """
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise DataError(f"{where}: key_parts is {brief(parts)}; expected a list of texts or mappings")
    checked = [_stated_part(part, where) for part in parts]
    spans = sorted(_fixed_span(text, part, where) for part in checked if "start" in part)
    _refuse_overlap(text, spans, where)
    searched: dict[tuple[str, bool], int] = {}
    for part in checked:
        if "start" not in part:
            bisect.insort(spans, _free_span(text, part, spans, searched, where))
    return tuple(spans)


def stated(text: str, spans: Sequence[KeySpan]) -> list[dict[str, Any]]:
    """The key parts of the instruction `text` as a file states them, so that `locate` finds them again."""
    return [
        {"text": text[span.start : span.end], "kind": span.kind, "start": span.start, "end": span.end}
        for span in spans
    ]


def _stated_part(part: object, where: str) -> dict[str, Any]:
    """The part as a mapping of checked types; values of None are left out."""
    fields = {"text": part} if isinstance(part, str) else part
    if not isinstance(fields, Mapping):
        raise DataError(f"{where}: key part {brief(part)} is neither a text nor a mapping with 'text'")
    fields = {key: value for key, value in fields.items() if value is not None}
    if not isinstance(fields.get("text"), str) or not fields["text"].strip():
        raise DataError(f"{where}: key part {brief(part)} has no text; expected a span of the instruction")
    if fields.setdefault("kind", "operation") not in KEY_PART_KINDS:
        raise DataError(
            f"{where}: key part {brief(fields['text'])} is of kind {brief(fields['kind'])}; "
            f"expected one of {', '.join(KEY_PART_KINDS)}"
        )
    for key in ("start", "end"):
        if type(fields.get(key, 0)) is not int or fields.get(key, 0) < 0:
            raise DataError(
                f"{where}: key part {brief(fields['text'])}: {key} is {brief(fields[key])}; "
                "expected a character offset of 0 or more"
            )
    return fields


def _fixed_span(text: str, part: Mapping[str, Any], where: str) -> KeySpan:
    start, end = part["start"], part.get("end", part["start"] + len(part["text"]))
    if text[start:end] != part["text"]:
        raise DataError(
            f"{where}: key part {brief(part['text'])} is not the instruction's characters {start} to {end}, "
            f"which read {brief(text[start:end])}; correct the offsets or leave them out"
        )
    return KeySpan(start, end, part["kind"])


def _free_span(
    text: str,
    part: Mapping[str, Any],
    taken: Sequence[KeySpan],
    searched: dict[tuple[str, bool], int],
    where: str,
) -> KeySpan:
    """The first place of whole words, else the first, that overlaps none of `taken`, which are in order.

    `searched` keeps how far the instruction was searched for a text, so that a part that occurs thousands
    of times is placed in one pass.
    """
    wanted = part["text"]
    if wanted not in text:
        raise DataError(
            f"{where}: key part {brief(wanted)} is not a span of the instruction "
            f"{brief(text)}; copy it exactly, case and spaces included"
        )
    for whole in (True, False):
        place = _free_place(text, wanted, taken, searched.get((wanted, whole), 0), whole)
        searched[wanted, whole] = len(text) if place is None else place + len(wanted)
        if place is not None:
            return KeySpan(place, place + len(wanted), part["kind"])
    raise DataError(f"{where}: key part {brief(wanted)} overlaps another key part; leave one out")


def _free_place(text: str, wanted: str, taken: Sequence[KeySpan], searched: int, whole: bool) -> int | None:
    """The first place at or behind `searched` that overlaps none of `taken`; `whole`: and cuts no word.

    Where a place overlaps a taken span, so do all up to that span's end: the search goes on there.
    """
    start = text.find(wanted, searched)
    while start >= 0:
        other = overlapped(KeySpan(start, start + len(wanted)), taken)
        if other is None and not (whole and _cuts_word(text, start, start + len(wanted))):
            return start
        start = text.find(wanted, other.end if other else start + 1)
    return None


def _cuts_word(text: str, start: int, end: int) -> bool:
    """Whether the span begins or ends inside a run of letters and digits."""
    return any(0 < place < len(text) and JOINED.match(text, place - 1) for place in (start, end))


def overlapped(span: KeySpan, ordered: Sequence[KeySpan]) -> KeySpan | None:
    """The last of the spans, which are in order and clear of each other, that the span overlaps, or None."""
    number = bisect.bisect_left(ordered, span.end, key=lambda other: other.start) - 1
    return ordered[number] if number >= 0 and ordered[number].end > span.start else None


def _refuse_overlap(text: str, ordered: Sequence[KeySpan], where: str) -> None:
    for left, right in itertools.pairwise(ordered):
        if right.start < left.end:
            raise DataError(
                f"{where}: key part {brief(text[right.start : right.end])} overlaps "
                f"{brief(text[left.start : left.end])}; shorten one or leave it out"
            )
