"""What goes to a language model and what comes back: plain frozen data. Imports nothing heavy.

The text of an answer is untrusted: it may hold markup, instructions or nonsense, and it is never
interpreted here. Whoever uses it checks it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kpig.errors import KpigError

BUDGET = "budget"
TEMPLATE_TOKENS = 32
"""What a chat template may add to a prompt, in the upper bound of its tokens. Chosen: the marks of two
turns."""

MAX_COUNT = 10**9
"""Tokens that an answer may be said to cost; no model reads or writes as many at once."""


class LlmError(KpigError):
    """A language model that cannot be used at all, so that asking on would be pointless."""


class BudgetError(LlmError):
    """The budget was spent before every request was answered."""


@dataclass(frozen=True)
class Request:
    """One prompt and how to answer it; equal requests have one answer.

    For several samples of one prompt give each its own `seed`. A `temperature` or `seed` of None is left
    to the server. `json_schema` is a wish that not every model can grant: the prompt says the format too.
    """

    prompt: str
    system: str = ""
    max_tokens: int = 1024
    temperature: float | None = 0.0
    seed: int | None = None
    json_schema: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The request as chat messages, with characters that UTF-8 cannot carry replaced."""
        system = [{"role": "system", "content": sendable(self.system)}] if self.system else []
        return [*system, {"role": "user", "content": sendable(self.prompt)}]

    @property
    def prompt_bound(self) -> int:
        """Prompt tokens at most: one per byte (as in byte-level BPE), and some for the chat template."""
        return len((self.system + self.prompt).encode("utf-8", "replace")) + TEMPLATE_TOKENS


@dataclass(frozen=True)
class Answer:
    """Untrusted text, possibly empty, and what it cost when it was first given.

    `cached` says that it came from the cache, or from an equal request beside it, and cost nothing now.
    `truncated` says that it ran into `max_tokens`.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class Failure:
    """A request without an answer; it is asked again in the next run.

    `reason` is a word to count by: budget, timeout, connection, rate_limit, server_error, malformed,
    refused, too_long or unscripted. `detail` is for people and, where it quotes a server, untrusted.
    """

    reason: str
    detail: str = ""


Outcome = Answer | Failure


@dataclass(frozen=True)
class Usage:
    """What was sent and what it cost, retries included."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def cost(self, prompt_price: float, completion_price: float) -> float:
        """Money, at prices per million tokens."""
        return (self.prompt_tokens * prompt_price + self.completion_tokens * completion_price) / 1e6


@dataclass(frozen=True)
class Progress:
    """How far a job is: requests settled, those of them from the cache or failed, and the usage so far."""

    done: int
    total: int
    cached: int
    failed: int
    usage: Usage


def sendable(text: str) -> str:
    """The text with lone surrogates replaced by "?": no UTF-8 file or connection can carry them."""
    return text.encode("utf-8", "replace").decode("utf-8")
