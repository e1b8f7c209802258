"""What a run has spent: updates, tokens, replayed examples and seconds."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Ledger:
    """Running totals. Tokens are real tokens without padding, prompt and response together.

    `train_tokens` went forward and backward, `forward_tokens` only forward (reference model, gain, validation
    loss, and what a method has the learner write). `llm_requests` are what a method asked of another model,
    cached answers included, so that an interrupted run counts no less.
    `gain_seconds` lie inside `train_seconds`; `eval_seconds` do not.
    """

    updates: int = 0
    train_tokens: int = 0
    forward_tokens: int = 0
    replayed_examples: int = 0
    llm_requests: int = 0
    gain_seconds: float = 0.0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0

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
        before = (self.train_tokens, self.forward_tokens, self.gain_seconds)
        try:
            yield
        finally:
            self.train_tokens, self.forward_tokens, self.gain_seconds = before

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return asdict(self)

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take over totals saved by `as_dict`."""
        for name, value in values.items():
            setattr(self, name, value)
