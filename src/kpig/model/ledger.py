"""What a run has spent: updates, tokens, replayed examples and seconds."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Ledger:
    """Running totals. Tokens are those that the model was shown, prompt and response together.

    They do not depend on how examples are laid out: no padding, and what examples share counts for each.
    `train_tokens` went forward and backward, `forward_tokens` only forward (reference model, gain, validation
    loss, and what a method has the learner write). `computed_tokens` are what the passes of both kinds have
    computed: padding too, and what examples share in a row once. Of answers they are those shown; None for
    a run that began before they were counted.
    `llm_requests` are what a method asked of another model,
    cached answers included, so that an interrupted run counts no less.
    `gain_seconds` lie inside `train_seconds`; `eval_seconds` do not.
    """

    updates: int = 0
    train_tokens: int = 0
    forward_tokens: int = 0
    computed_tokens: int | None = 0
    replayed_examples: int = 0
    llm_requests: int = 0
    gain_seconds: float = 0.0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0

    def add_computed(self, num_tokens: int) -> None:
        """Count tokens that were computed, unless the run began without counting them."""
        if self.computed_tokens is not None:
            self.computed_tokens += num_tokens

    def add_all(self, parts: Iterable["Ledger"]) -> None:
        """Count the tokens that parts of some work have cost, each counted in a ledger of its own."""
        for part in parts:
            self.train_tokens += part.train_tokens
            self.forward_tokens += part.forward_tokens
            self.add_computed(part.computed_tokens or 0)

    def apart(self, work: Callable[[], T]) -> tuple[T, "Ledger"]:
        """What `work` gives, and what it has cost in a ledger of its own: this one is as it was before."""
        before = self.as_dict()
        self.restore(Ledger().as_dict())
        try:
            return work(), replace(self)
        finally:
            self.restore(before)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to the field `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.perf_counter() - start)

    @contextmanager
    def unspent(self) -> Iterator[None]:
        """Evaluation is paid for in seconds: tokens counted inside the block are taken back."""
        before = (self.train_tokens, self.forward_tokens, self.computed_tokens, self.gain_seconds)
        try:
            yield
        finally:
            self.train_tokens, self.forward_tokens, self.computed_tokens, self.gain_seconds = before

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return asdict(self)

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take over totals saved by `as_dict`."""
        self.computed_tokens = None
        for name, value in values.items():
            setattr(self, name, value)
