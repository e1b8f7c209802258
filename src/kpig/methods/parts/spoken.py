"""A conversation in words, role by role, for a writer that is shown examples as text."""

from __future__ import annotations

from collections.abc import Sequence

from kpig.records import Example, Message

ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}


def spoken(context: Sequence[Message]) -> str:
    """The turns, a line for each, with a line break behind the last; "" for none."""
    return "".join(f"{ROLES[one.role]}: {one.text}\n" for one in context)


def told(example: Example, system: str = "") -> str:
    """What an example asks, with all that comes before it, in the order in which a model reads it.

    `system` is the system prompt of examples that bring none, as the model's encoder has it.
    """
    context = list(example.context)
    brings_own = example.as_system or bool(context and context[0].role == "system")
    if system and not brings_own:
        context.insert(0, Message("system", system))
    task, before = f"Task: {example.instruction.text}\n", spoken(context)
    asked = f"{task}{before}" if example.as_system else f"{before}{task}"
    return asked + (f"Input: {example.input}\n" if example.input else "")
