"""Prompt and completion: two texts, or as TRL has it two parts of one conversation."""

from collections.abc import Mapping
from typing import Any

from kpig.records import Message
from kpig.tasks.readers import chat
from kpig.tasks.readers.files import typed
from kpig.tasks.readers.reading import Reading, Stated
from kpig.tasks.readers.values import text_of


def examples(row: Mapping[str, Any], reading: Reading, where: str) -> list[Stated]:
    """The prompt is the instruction and the completion the output; of conversations see `chat.examples`.

    One blank in front of a completion is left out: older files have it for the tokenizers of their time.
    """
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list) or isinstance(completion, list):
        asked = typed(prompt, list, f"{where}: 'prompt'", "a list of messages, as 'completion' is one")
        answered = typed(completion, list, f"{where}: 'completion'", "a list of messages, as 'prompt' is one")
        return chat.examples(row, [*asked, *answered], reading, where, start=len(asked))
    answer = text_of(completion, f"{where}: 'completion'")
    fields = {**row, "instruction": prompt, "output": answer.removeprefix(" ")}
    system = text_of(row.get("system", ""), f"{where}: 'system'")
    return [Stated(fields, (Message("system", system),) if system.strip() else ())]
