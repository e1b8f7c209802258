"""The body of a chat completion, read as what it is: bytes from a stranger."""

import json
import re
from typing import Any

from kpig.llm.exchange import MAX_COUNT, Answer, Request, sendable

MAX_BODY_BYTES = 16 * 2**20
"""Chosen: far above any answer, far below what would fill the memory."""

MAX_DETAIL = 200
"""Characters of a server's own words in an error. Chosen: two or three lines of a terminal."""

SHORTEST_SECRET = 8
"""Shorter keys are dummies such as "EMPTY"; taking them out of an answer would damage it."""


def parse(body: bytes, request: Request, secret: str) -> Answer:
    """The answer in a chat completion; its text may be empty. Raises ValueError for anything else.

    Token counts that are missing or impossible are replaced by their upper bounds.
    """
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        content = choice["message"].get("content")
        usage, finish = reply.get("usage"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a chat completion ({type(error).__name__})") from None
    if content is not None and not isinstance(content, str):
        raise ValueError("the content of the answer is not a text")
    text = redacted(sendable(content or ""), secret)
    return Answer(
        text=text,
        prompt_tokens=_count(usage, "prompt_tokens", request.prompt_bound),
        completion_tokens=_count(usage, "completion_tokens", len(text.encode())),
        truncated=finish == "length",
    )


def detail(text: str, secret: str) -> str:
    """A server's own words made fit for one line of an error: short, printable, without the key."""
    line = re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", redacted(text, secret)).strip()
    return line if len(line) <= MAX_DETAIL else f"{line[:MAX_DETAIL]}..."


def redacted(text: str, secret: str) -> str:
    """The text without the key, should a server send it back."""
    return text.replace(secret, "[key]") if len(secret) >= SHORTEST_SECRET else text


def _count(usage: Any, name: str, bound: int) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value <= MAX_COUNT else bound
