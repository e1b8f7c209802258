"""Who writes texts for a method: the starting model of the learner, or a text backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from kpig import ranks
from kpig.config.section import Count, CountOrAll, cost
from kpig.errors import ConfigError, DataError
from kpig.llm import (
    Answer,
    Budget,
    Failure,
    HttpModel,
    HttpSettings,
    LocalModel,
    Request,
    TextBackend,
    load_local,
    settings_from,
)
from kpig.methods.base import Settings
from kpig.records import Example, Instruction

if TYPE_CHECKING:
    from kpig.model.learner import Learner

LEARNER = "learner"
MOST_TROUBLE = 300
"""Characters of a failure that are told. Chosen: about three lines of a terminal."""

USED = ("asked", "kept", "accepted")
"""The counts of written texts that are no refusals."""


@dataclass(frozen=True)
class Draft:
    """What was written, and whether it ended by itself before the token limit."""

    text: str
    finished: bool


class WriterSettings(Settings):
    """Who writes texts for a method before it trains on them. API keys come from the environment only."""

    writer: str = Field(
        "learner",
        min_length=1,
        description="'learner': the starting model; else a local model's folder, or with base_url (and for "
        "a name that is no folder) a chat model's name on a server",
    )
    base_url: str = Field("", description="an OpenAI-compatible server; empty: OPENAI_BASE_URL")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="environment variable with the API key; empty: none"
    )
    timeout_s: float = Field(120.0, gt=0, description="seconds that one attempt at a server may take")
    max_retries: CountOrAll = Field(5, description="further attempts at a request that a server failed")
    max_failures: Count = Field(8, description="stop after so many failed requests in a row")
    cache: str = Field(".kpig-cache", min_length=1, description="folder of answers already paid for")
    max_requests: CountOrAll = Field(
        0,
        description="stop after so many requests; 0: no limit",
        json_schema_extra=cost("a server may ask money for each"),
    )


class Writer:
    """Writes greedily, so that a resumed run has the same texts; a backend's answers are cached as well.

    `trouble` has the words of the last failure of a backend for each task that it left without some text.

    Raises ConfigError for settings that cannot be, LlmError where a server's key is missing.
    """

    def __init__(self, settings: WriterSettings):
        self.settings = settings
        self.is_learner = settings.writer == LEARNER
        self.trouble: dict[str, str] = {}
        self._backend: TextBackend | None = None
        if self.is_learner:
            _refuse_idle(settings)
        elif settings.base_url or not Path(settings.writer).is_dir():
            self._backend = self._with_cache(HttpModel(_server(settings)))

    def takes_requests(self, learner: Learner) -> bool:
        """Whether it is told in words what to write, as chat models are, or given a text to continue."""
        return not self.is_learner or learner.encoder.chat

    def trouble_with(self, task: str) -> str:
        """The last failure for a task as the end of a sentence; "" where there was none."""
        words = self.trouble.get(task)
        return f"; the writer {self.settings.writer} last failed so: {words}" if words else ""

    def write(
        self, learner: Learner, texts: Sequence[str], max_new_tokens: int, task: str
    ) -> list[Draft | None]:
        """A draft for each text of a task, in order; None where there was no room for one, or no answer.

        The starting model's tokens and a backend's requests are counted in the learner's ledger. Raises
        LlmError as backends do, and BudgetError when `max_requests` are spent.
        """
        if self.is_learner:
            prompts = [learner.encoder.text_ids(text) for text in texts]
            with learner.as_initial():
                return greedy(learner, prompts, max_new_tokens)
        drafts, trouble = ranks.by_main(lambda: self._asked(learner, texts, max_new_tokens))
        self.trouble = {name: one for name, one in self.trouble.items() if name != task}
        if trouble:
            self.trouble[task] = trouble
        learner.ledger.llm_requests += len(set(texts))
        return drafts

    def _asked(
        self, learner: Learner, texts: Sequence[str], max_new_tokens: int
    ) -> tuple[list[Draft | None], str]:
        """What a backend answers, and the words of its last failure: of several processes that share a job
        one asks, and pays.
        """
        if self._backend is None:
            local = load_local(self.settings.writer, str(learner.device))
            self._backend = self._with_cache(local)
        requests = [Request(text, max_tokens=max_new_tokens) for text in texts]
        outcomes = self._backend.complete(requests)
        self._backend.budget.raise_if_spent(outcomes)
        failed = [one for one in outcomes if isinstance(one, Failure)]
        drafts = [
            Draft(one.text.strip(), not one.truncated) if isinstance(one, Answer) else None
            for one in outcomes
        ]
        return drafts, _words(failed[-1]) if failed else ""

    def _with_cache(self, source: HttpModel | LocalModel) -> TextBackend:
        return TextBackend(source, Path(self.settings.cache), Budget(self.settings.max_requests or None))


def _words(failure: Failure) -> str:
    """On one line, and no longer than a note may be: a server may answer with a page."""
    text = " ".join(f"{failure.reason}: {failure.detail}".split()).rstrip(": ")
    return text if len(text) <= MOST_TROUBLE else f"{text[:MOST_TROUBLE]} …"


def refusals(counts: Mapping[str, int]) -> str:
    """Why texts could not be used, with the numbers, where `counts` has these beside how many could."""
    refused = {name: count for name, count in counts.items() if name not in USED}
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in refused.items()) or "no refusals"


def greedy(learner: Learner, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[Draft | None]:
    """What the learner, as it is, continues prompts of token ids with; None for those that leave no room.

    Tokens read and written count as forward tokens.
    """
    room = learner.encoder.max_length - max_new_tokens
    fitting = [place for place, prompt in enumerate(prompts) if 0 < len(prompt) <= room]
    answers = learner.answers([prompts[place] for place in fitting], max_new_tokens)
    drafts = {p: Draft(one.text, one.finished) for p, one in zip(fitting, answers, strict=True)}
    return [drafts.get(place) for place in range(len(prompts))]


def _server(settings: WriterSettings) -> HttpSettings:
    address = {"base_url": settings.base_url} if settings.base_url else {}
    return settings_from(
        model=settings.writer,
        key_variable=settings.key_variable,
        timeout_s=settings.timeout_s,
        max_retries=settings.max_retries,
        max_failures=settings.max_failures,
        **address,
    )


def _refuse_idle(settings: WriterSettings) -> None:
    fields = WriterSettings.model_fields
    idle = [name for name in fields if name != "writer" and getattr(settings, name) != fields[name].default]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: no effect with writer = {LEARNER!r}; name a folder or a chat model as the "
            "writer, or remove the setting"
        )


def fits(learner: Learner, example: Example, instructions: Sequence[Instruction]) -> bool:
    """Whether a written example fits whole into a row under every wording that it may be trained under."""
    try:
        return not any(
            learner.encoder.encode(replace(example, instruction=one)).num_cut for one in instructions
        )
    except DataError:
        return False
