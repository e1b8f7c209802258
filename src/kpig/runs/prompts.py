"""The prompts of examples as a model is given them. Its weights stay away."""

import json
from collections.abc import Callable

from kpig.config import ModelSection
from kpig.errors import DataError
from kpig.model import vocabulary
from kpig.model.encoding import Encoder
from kpig.records import Example, Task
from kpig.tasks.show import shown_example


def prompts_of(section: ModelSection) -> Callable[[Task], list[tuple[str, str]]]:
    """What gives the prompts of a task's first example to a model, under headings; its weights stay away.

    The prompt exactly as the model sees it, that of the masked twin, and the messages that a server which
    applies the same chat template is to be sent.
    """
    encoder = vocabulary.encoder_of(section)

    def of_task(task: Task) -> list[tuple[str, str]]:
        example = shown_example(task)
        return [] if example is None else _prompts(encoder, example)

    return of_task


def _prompts(encoder: Encoder, example: Example) -> list[tuple[str, str]]:
    try:
        encoded = encoder.encode(example)
    except DataError as error:
        return [("no prompt", str(error))]
    cut = f", {encoded.num_cut} characters of the input cut" if encoded.num_cut else ""
    found = [(f"prompt, exactly{cut}", encoded.text)]
    if example.instruction.key_parts:
        found.append(("prompt of the masked twin", encoder.prompt_text(example, True, encoded.num_cut)))
    if encoder.chat:
        messages = encoder.messages(example, num_cut=encoded.num_cut)
        found.append(("messages to send", json.dumps(messages, ensure_ascii=False, allow_nan=False)))
    return found
