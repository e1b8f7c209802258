"""Coverage: how much of an instruction its key parts are; nearly all of it, and masking hides the task."""

from collections.abc import Iterable, Sequence

from kpig.errors import some
from kpig.records import Instruction, Task

MOST_COVERED = 0.8
"""The share of an instruction above which it is told. Chosen: hand annotation covers two thirds on average,
and what leaves no more than a carrier tells little of what a model heeds."""


def share(instruction: Instruction) -> float:
    """The share of the text, in characters without white space, that lies in key parts; 0 of a blank text."""
    inked = sum(map(len, instruction.text.split()))
    covered = sum(
        len(word)
        for span in instruction.key_parts
        for word in instruction.text[span.start : span.end].split()
    )
    return covered / inked if inked else 0.0


def cautions(instructions: Iterable[tuple[str, Instruction]]) -> list[str]:
    """One sentence with the tasks that have more than MOST_COVERED of an instruction in key parts, if any."""
    shares: dict[str, float] = {}
    for name, one in instructions:
        shares[name] = max(shares.get(name, 0.0), share(one))
    found = [f"{name} {100 * part:.0f} %" for name, part in shares.items() if part > MOST_COVERED]
    if not found:
        return []
    return [
        f"key parts are more than {100 * MOST_COVERED:.0f} % of the instruction ({some(found)}): "
        "masking leaves little of it"
    ]


def instructions(tasks: Sequence[Task]) -> list[tuple[str, Instruction]]:
    """Every instruction of the tasks with its task's name, those of single examples too."""
    return [(task.name, one) for task in tasks for one in (*task.instructions, *task.own_instructions)]
