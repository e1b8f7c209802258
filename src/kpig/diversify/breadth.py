"""Reword the general description around fixed key parts, offline (docs/method.md, section 3, *breadth*).

What stands between the key parts is searched for slots: an opener, what is given, a carrier before the
operation, a connector, room for a sentence before and after.  Each slot takes any piece of its kind
(kpig.diversify.grammar); everything else, and every key part, stays as it is.
"""

import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kpig.diversify.grammar import (
    CARRIER_SHAPE,
    CLOSERS,
    CONNECTORS,
    GIVEN_SHAPE,
    IN_THIS_TASK,
    LATER_CARRIERS,
    ORDERS,
    PRELUDES,
    Grammar,
    uncapitalized,
)
from kpig.records import Instruction, KeySpan

MAX_TRIES_EACH = 10
"""Draws for each variant that is wanted. Chosen: most draws are near-copies (1,040 of 1,938 on
superni-stream, docs/LOG.md), and a task with few slots must come to an end."""


@dataclass(frozen=True, order=True)
class Slot:
    """Characters `start` (included) to `end` (excluded), outside all key parts, and what may stand there.

    The first option is what stands there now; no two are equal.
    """

    start: int
    end: int
    options: tuple[str, ...]


@dataclass(frozen=True)
class _Gap:
    """A stretch of `text` without key parts; `part` is the text of the key part that follows, or ""."""

    text: str
    start: int
    end: int
    part: str

    @property
    def own(self) -> str:
        return self.text[self.start : self.end]


def find_slots(
    instruction: Instruction, grammar: Grammar | None = None, *, inputs: bool = True
) -> list[Slot]:
    """The slots of an instruction, in order and without overlap; none where it has no key parts.

    `inputs` says that every example of the task has an input, so that a closer may announce it.
    """
    grammar = grammar or Grammar()
    if not instruction.key_parts:
        return []
    slots: list[Slot] = []
    carried = False
    for gap in _gaps(instruction):
        found = _frame(gap, grammar) or _carrier(gap, grammar, carried)
        carried = carried or bool(found)
        _add(slots, found)
        for slot in itertools.chain(_given(gap, grammar), _openers(gap), _connectors(gap)):
            _add(slots, [slot])
    _add(slots, _prelude(instruction, slots))
    _add(slots, _closer(instruction) if inputs else [])
    return sorted(slots)


def num_possible(slots: Sequence[Slot]) -> int:
    """How many wordings the slots can make besides the one there is."""
    return math.prod(len(slot.options) for slot in slots) - 1


def compose(instruction: Instruction, slots: Sequence[Slot], choice: Sequence[int]) -> Instruction:
    """The instruction with option `choice[i]` in slot i; its key parts move along and are else untouched."""
    result, shift, position = "", 0, 0
    moved: list[KeySpan] = []
    parts = list(instruction.key_parts)
    for slot, number in zip(slots, choice, strict=True):
        while parts and parts[0].end <= slot.start:
            moved.append(_moved(parts.pop(0), shift))
        assert not parts or slot.end <= parts[0].start, "a slot lies outside the key parts"
        result += instruction.text[position : slot.start] + slot.options[number]
        shift += len(slot.options[number]) - (slot.end - slot.start)
        position = slot.end
    moved += [_moved(part, shift) for part in parts]
    return Instruction(result + instruction.text[position:], tuple(moved), "breadth")


def candidates(
    instruction: Instruction, slots: Sequence[Slot], count: int, rng: random.Random
) -> Iterator[Instruction]:
    """Different wordings drawn by `rng`, none like the instruction.

    Ends after MAX_TRIES_EACH * `count` draws.
    """
    seen = {_squashed(instruction.text)}
    for _ in range(MAX_TRIES_EACH * count):
        drawn = compose(instruction, slots, [rng.randrange(len(slot.options)) for slot in slots])
        if _squashed(drawn.text) not in seen:
            seen.add(_squashed(drawn.text))
            yield drawn


def _squashed(text: str) -> str:
    return " ".join(text.split())


def _moved(span: KeySpan, shift: int) -> KeySpan:
    return replace(span, start=span.start + shift, end=span.end + shift)


def _gaps(instruction: Instruction) -> Iterator[_Gap]:
    text, position = instruction.text, 0
    for span in instruction.key_parts:
        yield _Gap(text, position, span.start, text[span.start : span.end])
        position = span.end
    yield _Gap(text, position, len(text), "")


def _add(slots: list[Slot], found: Sequence[Slot]) -> None:
    """Keep the slots that are clear of those kept before and leave a choice."""
    for slot in found:
        clear = all(slot.end <= other.start or other.end <= slot.start for other in slots)
        if clear and len(slot.options) > 1:
            slots.append(slot)


def _slot(gap: _Gap, start: int, end: int, options: Sequence[str]) -> Slot:
    """A slot at offsets of the gap; what stands there now becomes the first option."""
    return Slot(gap.start + start, gap.start + end, tuple(dict.fromkeys((gap.own[start:end], *options))))


def _starts_sentence(gap: _Gap, offset: int) -> bool:
    before = gap.text[: gap.start + offset].rstrip()
    return not before or before[-1] in ".!?"


# --- what is given, and the carrier of the operation ---------------------------------------------------

_FRAME = re.compile(
    rf"(?P<given>{GIVEN_SHAPE}|Given )(?P<what>[^.!?:;\n]*?)"
    rf"(?P<boundary>\. +|,? and |, )(?P<carrier>{CARRIER_SHAPE})?$"
)
_CARRIER = re.compile(CARRIER_SHAPE + "$")
_JOINED = re.compile(rf",? and {CARRIER_SHAPE}$")
_NO_VERB = re.compile(
    r"(?:an?|the|your?|it|its|this|that|these|those|each|every|all|any|if|when|whether|i[nt]?|on|for|from|with"
    r"|by|to|not|don.t|do|never|no|as|at|and|or|but|one|two|three|which|such|using|based|he|she|they|there)\b"
)


def _frame(gap: _Gap, grammar: Grammar) -> list[Slot]:
    """ "You are given X. You need to ", in one sentence or two, before the verb of a key part."""
    found = _FRAME.search(gap.own)
    if not found or not _begins_with_verb(gap.part) or not _starts_sentence(gap, found.start()):
        return []
    what, stated = found["what"], found["given"] != "Given "
    if not found["carrier"] and (stated or found["boundary"] != ", "):
        return []
    given = _fitting(grammar.given, what)
    options = [f"{one}{what}. {carrier}" for one in given for carrier in grammar.carriers]
    if "," not in what and " and " not in what:
        joined = [uncapitalized(one) for one in grammar.carriers if one.startswith(("You", "The "))]
        options += [f"Given {what}, {carrier}" for carrier in joined]
        of_you = [one for one in given if "you " in one.lower()]
        options += [f"{one}{what}, and {carrier}" for one in of_you for carrier in joined]
    return [_slot(gap, found.start(), found.end(), options)]


def _carrier(gap: _Gap, grammar: Grammar, carried: bool) -> list[Slot]:
    """ "You need to ", as a sentence's beginning or after "and", before the verb of a key part."""
    if not _begins_with_verb(gap.part):
        return []
    carriers = LATER_CARRIERS if carried else grammar.carriers
    joined = _JOINED.search(gap.own)
    if joined:
        in_sentence = [f", and {uncapitalized(one)}" for one in carriers if one.startswith(("You", "The "))]
        return [_slot(gap, joined.start(), joined.end(), [*in_sentence, *(f". {one}" for one in carriers)])]
    found = _CARRIER.search(gap.own)
    if found and _starts_sentence(gap, found.start()):
        return [_slot(gap, found.start(), found.end(), carriers)]
    return []


def _begins_with_verb(part: str) -> bool:
    """Whether a carrier can go on with the key part.

    So it can with a small letter, and no word that begins a noun or clause.
    """
    return part[:1].islower() and not _NO_VERB.match(part)


def _given(gap: _Gap, grammar: Grammar) -> Iterator[Slot]:
    """ "You are given " where something else than the operation follows."""
    for found in re.finditer(GIVEN_SHAPE, gap.own):
        if _starts_sentence(gap, found.start()) and found.group()[0].isupper():
            rest = re.split(r"[.!?](?:\s|$)", gap.own[found.end() :])[0]
            whole = len(rest) < len(gap.own) - found.end()
            fitting = _fitting(grammar.given, rest)
            options = fitting if whole else [one for one in fitting if "you " in one.lower()]
            yield _slot(gap, found.start(), found.end(), options)


def _fitting(options: Sequence[str], rest: str) -> list[str]:
    """The options that do not say "task" or "input" once more in the same sentence."""
    said = [word for word in ("task", "input") if word in rest.lower()]
    return [one for one in options if not any(word in one.lower() for word in said)]


# --- openers, connectors, sentences before and after ------------------------------------------------------


def _openers(gap: _Gap) -> Iterator[Slot]:
    """ "In this task, " at the beginning of a sentence; left out where the next letter can become large."""
    for found in re.finditer(r"(?:In|For) this task,? (?P<next>[a-z])?", gap.own):
        if _starts_sentence(gap, found.start()):
            first = found["next"] or ""
            rest = re.split(r"[.!?](?:\s|$)", gap.own[found.end() :])[0]
            dropped = [first.upper()] if first else []
            kept = [one + first for one in _fitting(IN_THIS_TASK, rest)]
            yield _slot(gap, found.start(), found.end(), kept + dropped)


def _connectors(gap: _Gap) -> Iterator[Slot]:
    for group in CONNECTORS:
        for phrase in group:
            for found in re.finditer(("" if phrase[0] == " " else r"\b") + re.escape(phrase), gap.own):
                if not phrase[0].isupper() or _starts_sentence(gap, found.start()):
                    yield _slot(gap, found.start(), found.end(), group)


def _prelude(instruction: Instruction, slots: Sequence[Slot]) -> list[Slot]:
    """Room for a sentence before an instruction whose beginning has no slot of its own."""
    if any(slot.start == 0 for slot in slots) or not instruction.text[:1].isupper():
        return []
    orders = ORDERS if instruction.key_parts[0].start == 0 else ()
    return [Slot(0, 0, ("", *PRELUDES, *orders))]


def _closer(instruction: Instruction) -> list[Slot]:
    """Room for a sentence after the instruction; white space at its end goes."""
    text = instruction.text
    end = max(len(text.rstrip()), instruction.key_parts[-1].end)
    if text[:end].endswith((":", ",", ";")):
        return []
    stop = "" if re.search(r"[.!?][\"')\]]*$", text[:end]) else "."
    return [Slot(end, len(text), (text[end:], *(f"{stop} {one}" for one in CLOSERS)))]
