"""The one TextBackend: requests in, outcomes out, in order; cache, budget and progress around a source."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kpig.llm.budget import Budget
from kpig.llm.cache import AnswerCache, content_key
from kpig.llm.exchange import Answer, Failure, Outcome, Progress, Request, Usage

Deliver = Callable[[int, Outcome], None]
OnProgress = Callable[[Progress], None]


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
        for the first. Raises LlmError when no further request can succeed, such as a rejected key.
        """
        with self._turn:
            job = _Job(requests, self, on_progress)
            self.source.answer([requests[places[0]] for places in job.open], job.deliver, self.budget)
            return job.outcomes()


class _Job:
    """The state of one call: which places wait for which answer, and how many are settled."""

    def __init__(self, requests: Sequence[Request], backend: TextBackend, on_progress: OnProgress | None):
        self.backend = backend
        self.on_progress = on_progress
        self._lock = threading.Lock()
        self._keys = [content_key(backend.source.model, request) for request in requests]
        self._found: list[Outcome | None] = [None] * len(requests)
        self._counts: Counter[str] = Counter()
        waiting: dict[str, list[int]] = {}
        for place, key in enumerate(self._keys):
            answer = backend.cache.get(key)
            if answer is None:
                waiting.setdefault(key, []).append(place)
            else:
                self._settle(place, answer)
        self.open = list(waiting.values())
        self._tell()

    def deliver(self, index: int, outcome: Outcome) -> None:
        """Keep the outcome of the request at `index` of `open`, for every place that waits for it."""
        first, *others = self.open[index]
        if isinstance(outcome, Answer):
            self.backend.cache.put(self._keys[first], self.backend.source.model, outcome)
        with self._lock:
            self._settle(first, outcome)
            for place in others:
                self._settle(place, replace(outcome, cached=True) if isinstance(outcome, Answer) else outcome)
            self._tell()

    def outcomes(self) -> list[Answer | Failure]:
        """All outcomes, in the order of the requests."""
        missing = [place for place, outcome in enumerate(self._found) if outcome is None]
        assert not missing, f"the source did not deliver requests {missing[:5]}"
        return list(self._found)

    def _settle(self, place: int, outcome: Outcome) -> None:
        self._found[place] = outcome
        self._counts["done"] += 1
        self._counts["cached"] += isinstance(outcome, Answer) and outcome.cached
        self._counts["failed"] += isinstance(outcome, Failure)

    def _tell(self) -> None:
        if self.on_progress is not None:
            counts = (self._counts[name] for name in ("cached", "failed"))
            self.on_progress(
                Progress(self._counts["done"], len(self._found), *counts, usage=self.backend.usage)
            )
