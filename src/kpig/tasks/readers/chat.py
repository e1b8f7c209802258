"""Conversations: `messages` of role and content (OpenAI, TRL), or of from and value (ShareGPT)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpig.errors import DataError, nearest
from kpig.records import Message
from kpig.tasks.readers.files import typed
from kpig.tasks.readers.reading import Reading, Stated
from kpig.tasks.readers.values import text_of

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
"""What each role is to a chat template. Files of OpenAI, ShareGPT and Gemma call them differently."""

TOOL_ROLES = ("tool", "function", "observation", "function_call", "function_response")
KEYS = (("role", "content"), ("from", "value"))
"""Names of a message's role and text."""

READ = frozenset({*(key for keys in KEYS for key in keys), "weight", "tool_calls", "function_call"})
"""The keys of a message that are read, or of which the message is refused."""


@dataclass(frozen=True)
class Spoken:
    """One assistant turn to learn: what was said before, the user's turn that it answers, its number."""

    context: tuple[Message, ...]
    user: str
    answer: str
    number: int


@dataclass(frozen=True)
class _Turn:
    message: Message
    is_trained: bool


def spoken(entries: object, train_on: str, where: str, system: str = "", start: int = 0) -> list[Spoken]:
    """The assistant turns of a conversation that are trained on, in order.

    `train_on` is "last" or "all". Turns of `weight` 0 (OpenAI) are context only, and so are those before
    message number `start`. `system` is a system prompt that stands beside the messages.
    Raises DataError for what is no conversation of user and assistant in turn, which ends with an answer.
    """
    turns = [_turn(one, f"{where}: message {n}") for n, one in enumerate(_listed(entries, where), start=1)]
    prompt, said = _system(turns, system, where)
    _check_order([turn.message.role for turn in said], len(turns) - len(said), where)
    offset = len(turns) - len(said)
    answers = [
        number
        for number, turn in enumerate(said)
        if turn.message.role == "assistant" and turn.is_trained and number + offset >= start
    ]
    if not answers:
        raise DataError(f"{where}: every answer has the weight 0, so there is nothing to learn; remove it")
    return [
        Spoken(
            (*prompt, *(turn.message for turn in said[: number - 1])),
            said[number - 1].message.text,
            said[number].message.text,
            number // 2 + 1,
        )
        for number in (answers if train_on == "all" else answers[-1:])
    ]


def _listed(entries: object, where: str) -> Sequence[Any]:
    found = typed(entries, list, f"{where}: the conversation", "a list of messages")
    if not found:
        raise DataError(f"{where}: the conversation has no messages; remove it")
    return found


def _turn(raw: object, where: str) -> _Turn:
    entry = typed(raw, dict, where, "an object with 'role' and 'content' (or 'from' and 'value')")
    role_key, text_key = _keys(entry, where)
    role = _role(entry.get(role_key), where)
    if entry.get("tool_calls") or entry.get("function_call"):
        raise DataError(f"{where}: calls a tool, which kpig does not learn; write the call out as text")
    weight = entry.get("weight")
    if not (weight is None or isinstance(weight, int | float)):
        raise DataError(f"{where}: 'weight' is {weight!r:.40}; expected 0, for a turn not to learn, or 1")
    text = _text(entry.get(text_key), where)
    if not text.strip() and role != "system":
        raise DataError(f"{where}: the {role}'s turn is empty; write it out or remove the conversation")
    return _Turn(Message(role, text), weight != 0)


def unused_keys(entries: object) -> set[str]:
    """The keys of messages of which nothing is made, such as a reasoning beside the content."""
    messages = [one for one in entries if isinstance(one, Mapping)] if isinstance(entries, list) else []
    return {key for one in messages for key, value in one.items() if key not in READ and value}


def _keys(entry: Mapping[str, Any], where: str) -> tuple[str, str]:
    for role, _ in KEYS:
        if role in entry:
            return role, next((text for _, text in KEYS if text in entry), "content")
    raise DataError(
        f"{where}: has the keys {', '.join(map(repr, entry)) or 'none'}; expected 'role' and 'content' "
        "(chat), or 'from' and 'value' (ShareGPT)"
    )


def _role(value: object, where: str) -> str:
    name = str(value)
    if name in TOOL_ROLES:
        raise DataError(
            f"{where}: is a tool's ({name!r}), which kpig does not learn; remove the conversation, or write "
            "the tool's answer into the user's turn"
        )
    if name not in ROLES:
        near = nearest(name.lower(), ROLES)
        hint = f"did you mean '{near}'?" if near else f"expected one of {', '.join(ROLES)}"
        raise DataError(f"{where}: has the role {value!r}; {hint}")
    return ROLES[name]


def _text(content: object, where: str) -> str:
    """The text of a message; one in parts (OpenAI) is joined. Raises DataError for pictures and sounds."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return typed(content, str, f"{where}: the content", "a text")
    parts = []
    for part in content:
        part = typed(part, dict, f"{where}: a part of the content", "an object with 'type' and 'text'")
        if not isinstance(part.get("text"), str):
            raise DataError(
                f"{where}: a part of the content is of type {part.get('type')!r}; expected 'text'"
            )
        parts.append(part["text"])
    return "".join(parts)


def _system(turns: Sequence[_Turn], beside: str, where: str) -> tuple[list[Message], list[_Turn]]:
    """The system prompt, as no or one message, and the turns after it. An empty prompt is none."""
    first = turns[0].message
    own = first.text if first.role == "system" else ""
    said = list(turns[1:] if first.role == "system" else turns)
    if own.strip() and beside.strip() and own.strip() != beside.strip():
        raise DataError(f"{where}: 'system' differs from the system message; keep one of the two")
    text = own if own.strip() else beside
    return [Message("system", text)] if text.strip() else [], said


def _check_order(roles: Sequence[str], offset: int, where: str) -> None:
    for number, role in enumerate(roles):
        place = f"{where}: message {number + offset + 1}"
        if role == "system":
            raise DataError(f"{place}: is a system message; only the first may be one")
        if number == 0 and role == "assistant":
            raise DataError(f"{place}: the conversation begins with the assistant; expected the user's turn")
        if number and role == roles[number - 1]:
            raise DataError(
                f"{place}: is the {role}'s like the one before; expected user and assistant in turn: join "
                "the two"
            )
    if not roles or roles[-1] == "user":
        raise DataError(
            f"{where}: the conversation ends with the user, whom nobody answers; add the assistant's answer, "
            "or remove that turn"
        )


def examples(
    row: Mapping[str, Any], entries: object, reading: Reading, where: str, start: int = 0
) -> list[Stated]:
    """The examples of a row that holds a conversation, under the fields of the row's other columns.

    The user's turn is the instruction. Where [stream.columns] says so, the system prompt is it, or another
    column of the row; then the user's turn is the input. `start` is the first message that is no prompt.
    """
    system = text_of(row.get("system", ""), f"{where}: 'system'")
    found = []
    for turn in spoken(entries, reading.train_on, where, system, start):
        fields = {**row, "output": turn.answer}
        context = turn.context
        has_system = bool(context) and context[0].role == "system"
        by_system = reading.instructs_by_system and (has_system or not reading.borrowed)
        if by_system:
            if not has_system:
                raise DataError(
                    f"{where}: has no system message, which [stream.columns] says is the instruction"
                )
            fields |= {"instruction": context[0].text, "input": turn.user}
            context = context[1:]
        elif "instruction" in reading.columns and not reading.instructs_by_system:
            fields["input"] = turn.user
        else:
            fields |= {"instruction": turn.user, "input": ""}
        found.append(Stated(fields, context, by_system, turn.number))
    return found
