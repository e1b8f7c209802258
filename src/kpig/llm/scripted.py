"""A scripted source: for tests, and to rehearse a job without a model."""

from collections.abc import Callable, Mapping, Sequence

from kpig.llm.backend import Deliver
from kpig.llm.budget import Budget
from kpig.llm.exchange import BUDGET, Answer, Failure, Outcome, Request

Line = str | Answer | Failure
Script = Mapping[str, Line] | Sequence[Line] | Callable[[Request], Line]


class ScriptedModel:
    """Answers from a dict (by prompt), a list (in order of arrival) or a function (of the request).

    A prompt that the dict lacks, or that comes after the end of the list, fails as "unscripted".
    `received` holds the requests that arrived. A word counts as a token.
    """

    def __init__(self, script: Script, model: str = "scripted"):
        self.script = script
        self.model = model
        self.received: list[Request] = []

    def answer(self, requests: Sequence[Request], deliver: Deliver, budget: Budget) -> None:
        """Deliver the scripted lines in order."""
        for index, request in enumerate(requests):
            if not budget.reserve(request, wait=False):
                deliver(index, Failure(BUDGET))
                continue
            outcome: Outcome | None = None
            try:
                outcome = self._outcome(request)
            finally:
                budget.settle(request, outcome)
            deliver(index, outcome)

    def _outcome(self, request: Request) -> Outcome:
        self.received.append(request)
        line = self._line(request)
        if isinstance(line, str):
            return Answer(line, len(f"{request.system} {request.prompt}".split()), len(line.split()))
        return line

    def _line(self, request: Request) -> Line:
        missing = Failure("unscripted", f"the script has no answer to request {len(self.received)}")
        if callable(self.script):
            return self.script(request)
        if isinstance(self.script, Mapping):
            return self.script.get(request.prompt, missing)
        number = len(self.received) - 1
        return self.script[number] if number < len(self.script) else missing
