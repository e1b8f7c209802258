"""Rows that only ask: a stand-in where their format expects an answer, so that they are read as others."""

from collections.abc import Mapping
from typing import Any

STAND_IN = "?"
"""What no model is asked to say: whoever reads rows that only ask scores nothing with it."""

ASKING = ("user", "human")
CONVERSATIONS = {"messages": ("role", "content"), "conversations": ("from", "value")}
ANSWERS = {"instruction": ("output", "response"), "prompt": ("completion",)}
"""Where the answer to a row of each kind stands; the stand-in goes to the first."""


def answered(fields: dict[str, Any]) -> dict[str, Any]:
    """The row with a stand-in for the answer that it lacks; as it is where it has one.

    A conversation lacks one where the user has the last word.
    """
    for name, (role, text) in CONVERSATIONS.items():
        if name in fields:
            return fields | {name: _answered(fields[name], role, text)}
    for name, places in ANSWERS.items():
        if name in fields and not any(_is_stated(fields.get(place)) for place in places):
            asked = fields[name]
            value = [{"role": "assistant", "content": STAND_IN}] if isinstance(asked, list) else STAND_IN
            return fields | {places[0]: value}
    return fields


def _answered(entries: Any, role: str, text: str) -> Any:
    last = entries[-1] if isinstance(entries, list) and entries else None
    if isinstance(last, Mapping) and (last.get("role") in ASKING or last.get("from") in ASKING):
        return [*entries, {role: "assistant" if role == "role" else "gpt", text: STAND_IN}]
    return entries


def _is_stated(value: object) -> bool:
    return value is not None and value != "" and value != []
