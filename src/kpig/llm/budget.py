"""The budget of a job in requests and tokens: what might exceed it is not sent."""

import threading
from collections.abc import Sequence

from kpig.errors import ConfigError
from kpig.llm.exchange import BUDGET, Answer, BudgetError, Failure, Outcome, Request, Usage


class Budget:
    """Counts what is sent and refuses what might go beyond the limits; None is no limit.

    Every request on the wire counts, retries too. Tokens are reserved at their upper bound before a
    request is sent and settled with what the server reports after it, so a limit is only crossed by a
    server that reports more than the bound. Safe with concurrent threads. Raises ConfigError for a
    limit below 1.
    """

    def __init__(self, max_requests: int | None = None, max_tokens: int | None = None):
        for name, limit in (("max_requests", max_requests), ("max_tokens", max_tokens)):
            if limit is not None and limit < 1:
                raise ConfigError(f"budget: {name} = {limit}: give at least 1, or None for no limit")
        self.max_requests = max_requests
        self.max_tokens = max_tokens
        self._usage = Usage()
        self._reserved = 0
        self._in_flight = 0
        self._changed = threading.Condition()

    @property
    def usage(self) -> Usage:
        """What has been sent so far."""
        with self._changed:
            return self._usage

    def reserve(self, request: Request, wait: bool = True) -> bool:
        """Whether `request` may be sent now; then `settle` must follow.

        With `wait`, an answer on its way that may leave room for this request is waited for.
        """
        need = request.prompt_bound + request.max_tokens
        with self._changed:
            while not self._requests_spent() and not self._fits(need):
                if not (wait and self._in_flight and self._fits_alone(need)):
                    return False
                self._changed.wait()
            if self._requests_spent():
                return False
            self._reserved += need
            self._in_flight += 1
            self._usage = _plus(self._usage, 1, 0, 0)
            return True

    def settle(self, request: Request, outcome: Outcome | None, may_be_billed: bool = False) -> None:
        """Replace a reservation by its true cost.

        An answer costs what it says. Anything else costs nothing, or the whole reservation where the
        server may have computed an answer that never arrived.
        """
        with self._changed:
            self._reserved -= request.prompt_bound + request.max_tokens
            self._in_flight -= 1
            if isinstance(outcome, Answer):
                self._usage = _plus(self._usage, 0, outcome.prompt_tokens, outcome.completion_tokens)
            elif may_be_billed:
                self._usage = _plus(self._usage, 0, request.prompt_bound, request.max_tokens)
            self._changed.notify_all()

    def raise_if_spent(self, outcomes: Sequence[Outcome], advice: str = "") -> None:
        """Raise BudgetError, with `advice` at its end, when the budget left requests unanswered."""
        left = sum(isinstance(one, Failure) and one.reason == BUDGET for one in outcomes)
        if left:
            limits = (("requests", self.max_requests), ("tokens", self.max_tokens))
            text = " and ".join(f"{limit} {name}" for name, limit in limits if limit is not None)
            message = (
                f"the budget of {text} is spent ({self.usage.requests} requests, {self.usage.tokens} tokens "
                f"used); {left} requests are unanswered. Answers so far are in the cache: run again to go on."
            )
            raise BudgetError(f"{message} {advice}".rstrip())

    def _requests_spent(self) -> bool:
        return self.max_requests is not None and self._usage.requests >= self.max_requests

    def _fits(self, need: int) -> bool:
        return self.max_tokens is None or self._usage.tokens + self._reserved + need <= self.max_tokens

    def _fits_alone(self, need: int) -> bool:
        return self.max_tokens is None or self._usage.tokens + need <= self.max_tokens


def _plus(usage: Usage, requests: int, prompt_tokens: int, completion_tokens: int) -> Usage:
    return Usage(
        usage.requests + requests,
        usage.prompt_tokens + prompt_tokens,
        usage.completion_tokens + completion_tokens,
    )
