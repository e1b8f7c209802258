"""System prompts that are no instruction: chats whose examples repeat one, read as if it were context."""

from collections import Counter
from collections.abc import Sequence

from kpig.records import Task

MOST_SHOWN_CHARACTERS = 30
"""Of a system prompt in a sentence. Chosen."""


def cautions(tasks: Sequence[Task]) -> list[str]:
    """A sentence where examples share a system prompt that is not read as their instruction."""
    prompts = Counter(
        message.text
        for task in tasks
        for example in (*task.train, *task.test)
        for message in example.context[:1]
        if message.role == "system"
    )
    if not prompts or (most := prompts.most_common(1)[0])[1] < 2:
        return []
    return [
        f"{prompts.total()} examples have a system prompt, {most[1]} of them "
        f"{most[0][:MOST_SHOWN_CHARACTERS]!r}: the user's last turn is their instruction. Where the "
        'system prompt is it, set [stream.columns] instruction = "system"'
    ]
