"""Ask a language model for rewordings, and read its answers, which are untrusted text.

The prompts are the text files of kpig/templates/diversify; `$name` marks what is filled in.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from string import Template
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema

from kpig.llm.exchange import Request
from kpig.llm.schema import Text, schema_of
from kpig.llm.thoughts import without_thoughts
from kpig.records import KEY_PART_KINDS, Task
from kpig.tasks.constraints import CONSTRAINTS

MAX_ANSWER_CHARACTERS, MAX_SHOWN_CHARACTERS, NUM_SHOWN_RESPONSES = 100_000, 4_000, 5
"""Of an answer that is read, of a rejected one and its mistakes that are shown again, and training responses
in a prompt. Chosen, without a chat model to try them on."""

MAX_TOKENS, TOKENS_PER_WORD = 8_192, 6
"""The limit of an answer, and what a word of the instruction adds to it: it comes back in the rewording and
again in its key parts, at up to three tokens each time. Chosen, likewise untried."""

SHAPES = {
    "named": '{"variants": [{"instruction": "the whole rewording", '
    '"key_parts": [{"text": "a span of it", "kind": "operation"}]}]}',
    "ruled": '{"variants": [{"instruction": "the whole rewording", '
    '"key_parts": [{"text": "a span of it", "kind": "operation"}], '
    '"rule": {"type": "max_words", "n": 20}}]}',
}


Item = TypeVar("Item")


def _open(schema: dict[str, Any]) -> None:
    """Leave it to the reading of an answer to refuse further keys; it tells the model which."""
    del schema["additionalProperties"]


class Part(BaseModel):
    """A key part as it is asked for; `accept.named_parts` reads it."""

    text: Text
    kind: Annotated[Text, WithJsonSchema({"enum": list(KEY_PART_KINDS)})]


class Wording(BaseModel):
    """A rewording as it is asked for where the key parts stay.

    What has a default is asked for all the same.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=_open, json_schema_serialization_defaults_required=True
    )

    instruction: Text


class NamedWording(Wording):
    """A rewording with its key parts; they are read later, so that bad ones spoil no other rewording."""

    key_parts: Annotated[Any, WithJsonSchema({"type": "array", "items": schema_of(Part)})] = None


class RuledWording(NamedWording):
    """A rewording that adds a rule; it is read later too."""

    rule: Annotated[Any, WithJsonSchema({"type": ["object", "null"]})] = None


class Wordings(BaseModel, Generic[Item]):
    """The whole answer. What is asked for are `Wording`s; it is read as a list of anything first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_open)

    variants: list[Item]


@dataclass(frozen=True)
class Ask:
    """A wish for `count` rewordings of a task's seed instruction; `number` tells equal wishes apart."""

    task: Task
    way: str
    count: int
    number: int = 0


@dataclass(frozen=True)
class Candidate:
    """One rewording as the model stated it; `key_parts` and `rule` are still raw JSON values."""

    text: str
    key_parts: Any = None
    rule: Any = None


class Malformed(ValueError):
    """An answer that is not the JSON asked for; the message tells the model its mistake."""


def request_for(ask: Ask, temperature: float, seed: int) -> Request:
    """The first request of a wish."""
    num_words = len(ask.task.instruction.text.split())
    max_tokens = 200 + ask.count * (150 + TOKENS_PER_WORD * num_words)
    return Request(
        prompt=_prompt(ask),
        system=template("system").template,
        max_tokens=min(MAX_TOKENS, max_tokens),
        temperature=temperature,
        seed=seed + ask.number,
        json_schema=_schema(ask.way),
    )


def retry_of(request: Request, answer: str, mistakes: Sequence[str], count: int) -> Request:
    """The request once more, with what was answered, what is wrong with it, and a wish for `count` others."""
    filled = template("retry").substitute(
        prompt=request.prompt,
        answer=_quoted(answer[:MAX_SHOWN_CHARACTERS]),
        mistakes="\n".join(f"- {mistake}" for mistake in dict.fromkeys(mistakes))[:MAX_SHOWN_CHARACTERS],
        count=count,
    )
    return replace(request, prompt=filled)


def settings_of(request: Request, way: str, retried: bool) -> dict[str, Any]:
    """What a variant records of how it was asked for: sampling, and the prompt's version."""
    version = hashlib.sha256(template(way).template.encode()).hexdigest()[:8]
    sampling = {"temperature": request.temperature, "seed": request.seed}
    return {**sampling, "prompt": version, "retried": retried}


@cache
def template(name: str) -> Template:
    """The prompt file of that name."""
    return Template((files("kpig") / "templates" / "diversify" / f"{name}.txt").read_text(encoding="utf-8"))


# --- the prompt ----------------------------------------------------------------------------------------


def _prompt(ask: Ask) -> str:
    instruction = ask.task.instruction
    parts = [
        f"- ({span.kind}) {_quoted(instruction.text[span.start : span.end])}"
        for span in instruction.key_parts
    ]
    head = template("task").substitute(instruction=_quoted(instruction.text), key_parts="\n".join(parts))
    shape = SHAPES["ruled" if ask.way == "constraint" else "named"]
    shown = [f"- {_quoted(example.response[:300])}" for example in ask.task.train[:NUM_SHOWN_RESPONSES]]
    return head + template(ask.way).substitute(
        count=ask.count,
        rules=template("rules").substitute(shape=shape).strip(),
        responses="\n".join(shown),
        checks="\n".join(_checks()),
    )


def _checks() -> list[str]:
    """The checks that a rule may name, with their parameters."""
    lines = []
    for name, check in CONSTRAINTS.items():
        params = [f'"{one}"' for one in check.required] + [f'"{one}" (optional)' for one in check.optional]
        lines.append(f'- "type": "{name}"{"".join(f", {one}" for one in params)}: {check.help}')
    return lines


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _schema(way: str) -> Mapping[str, Any]:
    """The answer as a JSON schema, for servers that can hold a model to one."""
    if way == "breadth":
        return schema_of(Wordings[Wording])
    return schema_of(Wordings[RuledWording] if way == "constraint" else Wordings[NamedWording])


# --- the answer ----------------------------------------------------------------------------------------


def read_answer(text: str, way: str) -> list[Candidate]:
    """The rewordings in an answer. Raises Malformed for anything but the JSON asked for.

    One fence of backticks around the whole answer is taken off: many models cannot leave it away. So are
    thoughts before it.
    """
    text = text if _is_json(text) else without_thoughts(text)
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise Malformed(f"the answer has {len(text)} characters; give the JSON only")
    try:
        value = json.loads(_unfenced(text))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the answer is not valid JSON ({error})") from error
    try:
        variants = Wordings[Any].model_validate(value).variants
    except ValidationError as error:
        raise Malformed('the answer must be an object with the one key "variants", a list') from error
    if not variants:
        raise Malformed('the list "variants" is empty')
    return [_candidate(one, RuledWording if way == "constraint" else NamedWording) for one in variants]


def _is_json(text: str) -> bool:
    """Whether a text begins as the answer must: then what looks like the end of thoughts is a part of it."""
    return text.lstrip().startswith("{")


def _unfenced(text: str) -> str:
    lines = text.strip().split("\n")
    fenced = len(lines) > 2 and lines[0].strip() in ("```", "```json") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1]) if fenced else text


def _candidate(raw: object, wanted: type[NamedWording]) -> Candidate:
    try:
        found = wanted.model_validate(raw)
    except ValidationError as error:
        if isinstance(raw, dict) and set(raw) <= set(wanted.model_fields):
            raise Malformed('each variant must have an "instruction", a text') from error
        known = ", ".join(sorted(wanted.model_fields))
        raise Malformed(f"each variant must be an object with the keys {known}") from error
    return Candidate(found.instruction.strip(), found.key_parts, getattr(found, "rule", None))
