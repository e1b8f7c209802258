"""Alpaca: `instruction`, `input`, `output`, and as LLaMA-Factory extends it `system`, `history`.

Without the last two it is what JSONL of kpig's own is.
"""

from collections.abc import Mapping
from typing import Any

from kpig.errors import DataError
from kpig.records import Message
from kpig.tasks.readers.files import typed
from kpig.tasks.readers.reading import Stated
from kpig.tasks.readers.values import text_of


def examples(row: Mapping[str, Any], where: str) -> list[Stated]:
    """One example; its system prompt and the pairs of its history are what was said before."""
    system = text_of(row.get("system", ""), f"{where}: 'system'")
    prompt = (Message("system", system),) if system.strip() else ()
    return [Stated(row, (*prompt, *_history(row.get("history", []), where)))]


def _history(value: object, where: str) -> list[Message]:
    where = f"{where}: 'history'"
    said = []
    for number, pair in enumerate(typed(value, list, where, "a list of pairs of texts"), start=1):
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(f"{where}: entry {number} is {str(pair)[:60]!r}; expected [question, answer]")
        for role, text in zip(("user", "assistant"), pair, strict=True):
            said.append(Message(role, text_of(text, f"{where}: entry {number}")))
            if not said[-1].text.strip():
                raise DataError(f"{where}: entry {number}: the {role}'s turn is empty; remove the pair")
    return said
