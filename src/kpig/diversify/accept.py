"""When a wording may stand beside the task's own: the acceptance of docs/method.md, section 3."""

from collections.abc import Sequence
from dataclasses import dataclass

from kpig.diversify import labels
from kpig.diversify.grammar import gaps
from kpig.diversify.variant import Fault
from kpig.errors import DataError
from kpig.records import Constraint, Example, Instruction, KeySpan, Task
from kpig.tasks import constraints
from kpig.tasks.key_parts import locate
from kpig.tasks.matching import rouge_l

MISSING_KEY_PART, REORDERED = "missing_key_part", "reordered_key_parts"
NEAR_COPY, LENGTH, RULE_BROKEN = "near_copy", "length", "rule_broken"


@dataclass(frozen=True)
class Standards:
    """What is asked of a variant.  [D]

    `similarity`: ROUGE-L from which on two wordings count as near-copies.  At 0.9 an instruction of twenty
    words must differ in three of them from every other: one more "please" is no new wording, another
    opener and carrier are.  `satisfied`: share of the training responses that must meet an added rule
    (docs/method.md, section 3).  A breadth variant may differ from its parent by `length_share` of the
    parent's words or `length_words` words, whichever is more: chosen, so that one more sentence fits.
    """

    similarity: float = 0.9
    satisfied: float = 0.98
    length_share: float = 0.25
    length_words: int = 10


def judge(
    variant: Instruction,
    way: str,
    task: Task,
    accepted: Sequence[Instruction],
    standards: Standards,
    rule: Constraint | None = None,
) -> Fault | None:
    """What is wrong with the variant, or None where it is accepted.

    Its key parts are located already (`named_parts`, `kept_parts`), and a model's text is a clean one
    (kpig.diversify.hygiene).  `accepted` are the wordings it must not copy, beside the parent, which is the
    task's seed; `rule` is what a constraint variant adds.
    """
    parent = task.instruction
    return (
        (_length(variant, parent, standards) if way == "breadth" else None)
        or _all_parts(variant, parent, way)
        or labels.fault(variant, parent, task.constraints)
        or (_rule(rule, task.train, standards.satisfied) if rule is not None else None)
        or near_copy(variant, (parent, *accepted), standards.similarity)
    )


# --- key parts ---------------------------------------------------------------------------------------


def named_parts(text: str, parts: object) -> tuple[KeySpan, ...] | Fault:
    """The key parts that a model named, as spans of its text, or a fault where one is no exact span."""
    if not isinstance(parts, list) or any(isinstance(part, dict) and "start" in part for part in parts):
        return Fault(MISSING_KEY_PART, "key_parts must be a list of objects with 'text' and 'kind'")
    try:
        return locate(text, parts, "answer")
    except DataError as error:
        return Fault(MISSING_KEY_PART, str(error).removeprefix("answer: "))


def kept_parts(text: str, parent: Instruction) -> tuple[KeySpan, ...] | Fault:
    """The parent's key parts, word for word and in their order, in another text, or a fault without one."""
    spans: list[KeySpan] = []
    for span in parent.key_parts:
        part = parent.text[span.start : span.end]
        start = _find_whole(text, part, spans[-1].end if spans else 0)
        if start < 0:
            reason = REORDERED if _find_whole(text, part, 0) >= 0 else MISSING_KEY_PART
            where = "at its place" if reason == REORDERED else "word for word"
            return Fault(reason, f"the key part {part[:80]!r} does not stand in the instruction {where}")
        spans.append(KeySpan(start, start + len(part), span.kind))
    return tuple(spans)


def _find_whole(text: str, part: str, position: int) -> int:
    """Where `part` stands as whole words from `position` on, or -1."""
    while (start := text.find(part, position)) >= 0:
        end = start + len(part)
        cut_before = start > 0 and text[start - 1].isalnum() and part[0].isalnum()
        cut_after = end < len(text) and text[end].isalnum() and part[-1].isalnum()
        if not cut_before and not cut_after:
            return start
        position = start + 1
    return -1


def _all_parts(variant: Instruction, parent: Instruction, way: str) -> Fault | None:
    """Every key part of the parent has one in the variant; an added rule has one of its own."""
    needed = len(parent.key_parts) + (way == "constraint")
    if len(variant.key_parts) >= max(1, needed):
        return None
    return Fault(
        MISSING_KEY_PART, f"{len(variant.key_parts)} key parts are named; {max(1, needed)} are needed"
    )


# --- length, copies, added rules -----------------------------------------------------------------------


def _length(variant: Instruction, parent: Instruction, standards: Standards) -> Fault | None:
    given, own = len(variant.text.split()), len(parent.text.split())
    allowed = max(standards.length_words, standards.length_share * own)
    if abs(given - own) <= allowed:
        return None
    return Fault(
        LENGTH, f"the instruction has {given} words, the original {own}; they may differ by {allowed:.0f}"
    )


def near_copy(variant: Instruction, others: Sequence[Instruction], similarity: float) -> Fault | None:
    """A fault where ROUGE-L to another wording is `similarity` or more, or nothing but spaces differ.

    Where two wordings have the same key parts, only what stands between them is compared: long key parts,
    which *breadth* must keep, would make every two wordings of a task copies.  [D]
    """
    for other in others:
        left, right = variant.text, other.text
        if left.split() != right.split() and _parts(variant) == _parts(other):
            left, right = " ".join(gaps(variant)), " ".join(gaps(other))
        if left.split() == right.split() or rouge_l(left, [right]) >= similarity:
            return Fault(
                NEAR_COPY, f"the instruction is nearly the same as {other.text[:80]!r}; word it differently"
            )
    return None


def _parts(instruction: Instruction) -> list[str]:
    return [instruction.text[span.start : span.end] for span in instruction.key_parts]


def _rule(rule: Constraint, examples: Sequence[Example], satisfied: float) -> Fault | None:
    """Whether enough training responses meet the added rule; stops as soon as too many have broken it."""
    broken, allowed = 0, (1 - satisfied) * len(examples) + 1e-9
    for example in examples:
        broken += not constraints.satisfied(rule, example.input, example.response)
        if broken > allowed:
            response = example.response[:80]
            return Fault(
                RULE_BROKEN, f"existing responses such as {response!r} break the added rule; add another"
            )
    return None
