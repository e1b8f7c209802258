"""Key parts by a chat model: ask for spans as JSON, find each one exactly, reject the rest with reasons.

What the model says is untrusted: only texts that stand in the instruction and kinds that exist are kept.
"""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema

from kpig.llm import Answer, Failure, Request, TextBackend
from kpig.llm.backend import OnProgress
from kpig.llm.schema import Text, schema_of
from kpig.llm.thoughts import without_thoughts
from kpig.records import KEY_PART_KINDS, KeySpan
from kpig.rendering import render
from kpig.tasks.key_parts import overlapped

Name = TypeVar("Name", bound=Hashable)
TEMPLATE = "annotate.txt.j2"
MOST_PREVIOUS_CHARACTERS = 4000
"""How much of a rejected answer is shown to the model again. Chosen: an answer that runs on must not fill the
second prompt."""

QUOTES = "\"'`´“”„‟‘’‚‛«»‹›"
"""Any of these stands for any other: models write one sign where the instruction has another."""

FENCE = re.compile(r"```[a-zA-Z]*+[^\S\n]*+\n(.*?)```", re.DOTALL)
# It tries no white space twice: an answer may be thousands of line breaks.
# Not behind a letter where the span begins with one, and not before one where it ends with one.
INSIDE_WORD = (r"(?<![A-Za-z0-9](?=[A-Za-z0-9]))", r"(?!(?<=[A-Za-z0-9])[A-Za-z0-9])")


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("blank")
    return text


def _known_kind(kind: str) -> str:
    """The kind's own name, whatever its case, spaces and hyphens."""
    name = re.sub(r"[\s-]+", "_", kind.strip().lower())
    if name not in KEY_PART_KINDS:
        raise ValueError("unknown")
    return name


class Part(BaseModel):
    """A key part as it is asked for; in an answer, what stands beside `text` and `kind` is passed over."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    text: Annotated[Text, AfterValidator(_not_blank)]
    kind: Annotated[Text, AfterValidator(_known_kind), WithJsonSchema({"enum": list(KEY_PART_KINDS)})]


class Parts(BaseModel):
    """The whole answer that is asked for. It is read part by part, so that one bad part spoils no other."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    key_parts: list[Part]


SCHEMA = schema_of(Parts)


@dataclass(frozen=True)
class Rejection:
    """Something in an answer that cannot be used.

    `reason` is a phrase to count by: not in the instruction, overlaps another part, unknown kind, not a
    key part, not JSON, cut off, no key parts, or no answer. `message` tells the model (and people) more.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class Found:
    """The spans of one instruction; None where there was no answer to read. `retried` if it took two."""

    spans: tuple[KeySpan, ...] | None
    rejections: tuple[Rejection, ...] = ()
    retried: bool = False


def find_all(
    backend: TextBackend, texts: Mapping[Name, str], on_progress: OnProgress | None = None
) -> dict[Name, Found]:
    """The key parts of each named instruction, in order.

    An answer with a mistake is asked for once more, with the mistake shown; of the two the one with fewer
    rejections counts, the later one where they are even. `on_progress` hears of the first answers only.
    Where neither could be read at all, the cache keeps neither: another time both are asked anew.
    Raises LlmError as the backend does.
    """
    names = list(texts)
    answers = backend.complete([request(texts[name]) for name in names], on_progress)
    first = {
        name: read(texts[name], answer) if isinstance(answer, Answer) else _unanswered(answer)
        for name, answer in zip(names, answers, strict=True)
    }
    previous = {
        name: without_thoughts(answer.text)
        for name, answer in zip(names, answers, strict=True)
        if isinstance(answer, Answer) and first[name].rejections
    }
    again = [request(texts[name], text, first[name].rejections) for name, text in previous.items()]
    seconds = zip(previous, backend.complete(again) if again else [], strict=True)
    better = {name: _better(texts[name], first[name], answer) for name, answer in seconds}
    useless = [name for name, one in better.items() if one.spans is None]
    backend.forget([request(texts[name]) for name in useless])
    backend.forget([request(texts[name], previous[name], first[name].rejections) for name in useless])
    return first | better


def request(text: str, previous: str = "", rejections: Sequence[Rejection] = ()) -> Request:
    """What is asked about the instruction `text`: the first time, or again after a rejected answer."""
    values = {
        "instruction": text,
        "previous": previous[:MOST_PREVIOUS_CHARACTERS],
        "mistakes": [rejection.message for rejection in rejections],
    }
    prompt = render(TEMPLATE, values, autoescape=False)
    return Request(prompt, max_tokens=max(1024, len(text)), json_schema=SCHEMA)


def read(text: str, answer: Answer) -> Found:
    """The key parts that an answer names, each located in the instruction `text`, and what was rejected."""
    parts, problem = _parts(answer)
    if problem is not None:
        return Found(None, (problem,))
    spans: list[KeySpan] = []
    rejections = []
    for part in parts:
        place = _placed(text, part, spans)
        if isinstance(place, Rejection):
            rejections.append(place)
        else:
            spans.append(place)
    if not parts:
        rejections.append(Rejection("no key parts", "you named no key part; every instruction has one"))
    return Found(tuple(sorted(spans)), tuple(rejections))


def locate(text: str, wanted: str, taken: Sequence[KeySpan] = (), kind: str = "operation") -> KeySpan | str:
    """Where `wanted` stands in `text`, or the reason why it cannot be used.

    White space and quotes may differ; everything else must agree, and words must be whole. Of several
    places that are free, the first behind the part that was placed last counts, else the first.
    """
    places = [KeySpan(*match.span(), kind) for match in _pattern(wanted).finditer(text)]
    ordered = sorted(taken)
    free = [place for place in places if overlapped(place, ordered) is None]
    if not free:
        return "overlaps another part" if places else "not in the instruction"
    behind = taken[-1].end if taken else 0
    return next((place for place in free if place.start >= behind), free[0])


def _pattern(wanted: str) -> re.Pattern[str]:
    """A pattern for the text with any white space between its words and any quote for a quote."""
    words = [
        "".join(f"[{re.escape(QUOTES)}]" if letter in QUOTES else re.escape(letter) for letter in word)
        for word in wanted.split()
    ]
    return re.compile(INSIDE_WORD[0] + r"\s+".join(words) + INSIDE_WORD[1])


def _placed(text: str, raw: object, taken: Sequence[KeySpan]) -> KeySpan | Rejection:
    try:
        part = Part.model_validate(raw)
    except ValidationError as error:
        return _refused(raw, error)
    place = locate(text, part.text, taken, part.kind)
    if isinstance(place, str):
        return Rejection(
            place, f"{_shown(part.text)}: {place}; copy it exactly from the instruction, and only once"
        )
    return place


def _refused(raw: object, error: ValidationError) -> Rejection:
    if not isinstance(raw, dict) or any(problem["loc"] == ("text",) for problem in error.errors()):
        return Rejection("not a key part", f"{_shown(raw)} is no object with a non-empty 'text' and a 'kind'")
    kinds = ", ".join(KEY_PART_KINDS)
    return Rejection(
        "unknown kind", f"{_shown(raw['text'])} is of kind {_shown(raw.get('kind'))}; the kinds are {kinds}"
    )


def _parts(answer: Answer) -> tuple[list[Any], Rejection | None]:
    """The list of parts in an answer, whatever stands around the JSON."""
    said = without_thoughts(answer.text)
    fenced = FENCE.search(said)
    for text in (answer.text, said, fenced.group(1) if fenced else "", _from_first_brace(said)):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        parts = value.get("key_parts") if isinstance(value, dict) else value
        if isinstance(parts, list):
            return parts, None
    if answer.truncated:
        return [], Rejection("cut off", "the answer was cut off; make it shorter")
    return [], Rejection(
        "not JSON",
        'the answer is not one JSON object of the form {"key_parts": [{"text": ..., "kind": ...}]}',
    )


def _from_first_brace(text: str) -> str:
    """From the first to the last curly bracket."""
    return text[text.find("{") : text.rfind("}") + 1] if "{" in text else ""


def _better(text: str, first: Found, second: Answer | Failure) -> Found:
    again = read(text, second) if isinstance(second, Answer) else _unanswered(second)
    best = first if again.spans is None or _faults(first) < _faults(again) else again
    return Found(best.spans, best.rejections, retried=True)


def _faults(found: Found) -> tuple[bool, int]:
    return found.spans is None, len(found.rejections)


def _unanswered(failure: Failure) -> Found:
    return Found(None, (Rejection("no answer", f"no answer: {failure.reason} {failure.detail}".strip()),))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
