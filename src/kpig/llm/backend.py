"""The one TextBackend: requests in, outcomes out, in order; cache, budget and progress around a source."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kpig.errors import clause
from kpig.llm.budget import Budget
from kpig.llm.cache import AnswerCache, content_key
from kpig.llm.exchange import BUDGET, Answer, Failure, LlmError, Outcome, Progress, Request, Usage

Deliver = Callable[[int, Outcome], None]
OnProgress = Callable[[Progress], None]

POLL_SECONDS = 0.3
"""How often it is looked whether another process has the answers that it is asking for."""


class Source(Protocol):
    """Something that answers: a server, a model on this machine, or a script."""

    @property
    def model(self) -> str:
        """A name that stands for the weights: equal names give equal answers from the cache."""

    def answer(self, requests: Sequence[Request], deliver: Deliver, budget: Budget) -> None:
        """Call `deliver(index, outcome)` once per request as soon as it is known, from any thread.

        Reserves from `budget` before each piece of work and settles after it; a request that it refuses
        fails with the reason "budget". Raises LlmError when asking on is pointless.
        """


class TextBackend:
    """Answers requests from a source and pays for none twice.

    Answers are kept in `cache_dir`, or in memory without one. `budget` is that of this object's life.
    """

    def __init__(self, source: Source, cache_dir: Path | None = None, budget: Budget | None = None):
        self.source = source
        self.cache = AnswerCache(cache_dir)
        self.budget = budget or Budget()
        self._turn = threading.RLock()
        self._unanswered: list[Outcome] = []

    @property
    def usage(self) -> Usage:
        """What the source was asked so far and what it cost; answers from the cache cost nothing."""
        return self.budget.usage

    def complete(
        self, requests: Sequence[Request], on_progress: OnProgress | None = None
    ) -> list[Answer | Failure]:
        """The outcome of every request, in order. Equal requests are asked once.

        Each answer is in the cache before `on_progress` hears of it, so a job that is interrupted loses
        at most what is on its way. `on_progress` is called from one thread at a time. A second call waits
        for the first; what another process is asking is waited for, and asked here if that process fails.
        Raises LlmError when no further request can succeed, such as a rejected key.
        """
        with self._turn:
            job = _Job(requests, self, on_progress)
            if job.waiting:
                with self.cache.asking():
                    while job.waiting:
                        self._ask(job)
            outcomes = job.outcomes()
            self._unanswered += [one for one in outcomes if isinstance(one, Failure)]
            return outcomes

    def forget(self, requests: Sequence[Request]) -> None:
        """Keep no answer to these requests: whoever read them could not use them, so they are asked anew."""
        self.cache.drop([content_key(self.source.model, request) for request in requests])

    def raise_if_spent(self, advice: str = "") -> None:
        """Raise BudgetError when any request of this object's life was left unanswered for want of budget.

        For the end of a job, after what it has is written: without it, a spent budget looks like success.
        `advice` says what else to heed when it is run again.
        """
        self.budget.raise_if_spent(self._unanswered, advice)

    def raise_if_failed(self, advice: str = "") -> None:
        """Raise LlmError when any request of this object's life failed for another reason than the budget.

        For the end of a job, as `raise_if_spent`.
        """
        failed = [one for one in self._unanswered if isinstance(one, Failure) and one.reason != BUDGET]
        if failed:
            last = failed[-1]
            why = f"{last.reason}: {clause(last.detail)}" if last.detail else last.reason
            message = (
                f"{len(failed)} requests to {self.source.model} were left without an answer (the last: "
                f"{why}). Answers so far are in the cache: run again to ask for the others."
            )
            raise LlmError(f"{message} {advice}".rstrip())

    def _ask(self, job: "_Job") -> None:
        """Ask for what nobody else is asking for, then look what others were given, or wait for them."""
        mine = self.cache.claim(list(job.waiting))
        if mine:
            chosen = [job.requests[job.waiting[key][0]] for key in mine]
            self.source.answer(chosen, lambda index, outcome: job.deliver(mine[index], outcome), self.budget)
            missing = [key for key in mine if key in job.waiting]
            assert not missing, f"the source did not deliver {len(missing)} requests"
        job.collect()
        if job.waiting and not mine:
            time.sleep(POLL_SECONDS)


class _Job:
    """The state of one call: which places wait for which key, and how many are settled."""

    def __init__(self, requests: Sequence[Request], backend: TextBackend, on_progress: OnProgress | None):
        self.backend = backend
        self.requests = requests
        self.on_progress = on_progress
        self.waiting: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._found: list[Outcome | None] = [None] * len(requests)
        self._counts: Counter[str] = Counter()
        for place, request in enumerate(requests):
            self.waiting.setdefault(content_key(backend.source.model, request), []).append(place)
        self._collect()
        self._tell()

    def deliver(self, key: str, outcome: Outcome) -> None:
        """Keep the outcome under a key that was claimed, for every place that waits for it."""
        if isinstance(outcome, Answer):
            self.backend.cache.put(key, self.backend.source.model, outcome)
        else:
            self.backend.cache.release(key)
        with self._lock:
            first, *others = self.waiting.pop(key)
            self._settle(first, outcome)
            for place in others:
                self._settle(place, replace(outcome, cached=True) if isinstance(outcome, Answer) else outcome)
            self._tell()

    def collect(self) -> None:
        """Take from the cache what has come there since."""
        with self._lock:
            if self._collect():
                self._tell()

    def outcomes(self) -> list[Answer | Failure]:
        """All outcomes, in the order of the requests."""
        return [outcome for outcome in self._found if outcome is not None]

    def _collect(self) -> int:
        """How many places were settled from the cache."""
        before = self._counts["done"]
        for key in list(self.waiting):
            answer = self.backend.cache.get(key)
            if answer is not None:
                for place in self.waiting.pop(key):
                    self._settle(place, answer)
        return self._counts["done"] - before

    def _settle(self, place: int, outcome: Outcome) -> None:
        self._found[place] = outcome
        self._counts["done"] += 1
        self._counts["cached"] += isinstance(outcome, Answer) and outcome.cached
        self._counts["failed"] += isinstance(outcome, Failure)

    def _tell(self) -> None:
        if self.on_progress is not None:
            counts = self._counts
            self.on_progress(
                Progress(
                    done=counts["done"],
                    total=len(self._found),
                    cached=counts["cached"],
                    failed=counts["failed"],
                    usage=self.backend.usage,
                )
            )
