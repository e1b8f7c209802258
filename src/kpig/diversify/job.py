"""Make variants of every task: by a language model in four ways, or offline in one."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kpig.diversify import accept, breadth, by_llm, grammar, hygiene
from kpig.diversify.accept import Standards
from kpig.diversify.by_llm import Ask, Candidate, Malformed
from kpig.diversify.report import MALFORMED, NO_KEY_PARTS, OWN_INSTRUCTIONS, TRUNCATED, Report, TaskReport
from kpig.diversify.variant import Fault, Rejection, Variant
from kpig.errors import DataError, UsageError, nearest
from kpig.llm.exchange import Answer, Failure, Progress, Request
from kpig.records import Constraint, Instruction, Task
from kpig.tasks import constraints
from kpig.tasks.readers.variants import WAYS, digest_of

if TYPE_CHECKING:
    from kpig.llm import TextBackend

PER_REQUEST = 5
"""Rewordings asked for at once. Chosen, without a chat model to try it on: the instruction is sent once for
all of them, and an answer that cannot be read costs only these."""

MAX_KEPT_CHARACTERS = 4_000
"""Of a rejected candidate, in variants_rejected.json. Chosen: enough to see what is wrong with it."""

MALFORMED_RULE, SURPLUS = "malformed_rule", "surplus"


def diversify(
    tasks: Sequence[Task],
    n: int = 20,
    ways: Sequence[str] | None = None,
    backend: "TextBackend | None" = None,
    *,
    seed: int = 0,
    evaluation_share: float = 0.2,
    standards: Standards | None = None,
    temperature: float = 0.9,
    on_task: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Up to `n` accepted variants of each task's seed instruction (docs/method.md, section 3).

    `ways` (default: all with a `backend`, else breadth) share the `n` evenly. With a backend a model writes
    the variants, `PER_REQUEST` per request, and is shown its mistakes once; without one, breadth recombines
    openers and carriers of kpig.diversify.grammar and of the other tasks. `evaluation_share` of each task's
    variants is set aside for evaluation: at least one of two or more, never all.
    `on_task` hears each task that is finished, `on_progress` how far the requests are.

    Variants that the tasks already have count as wordings not to copy unless they come from an earlier run.
    Raises UsageError for settings that cannot be, LlmError where the backend can answer nothing at all.
    """
    ways = _checked_ways(ways, backend)
    if n < 1 or not 0 <= evaluation_share < 1:
        raise UsageError(
            f"n is {n} and the evaluation share {evaluation_share}; expected 1 or more, and 0 to below 1"
        )
    standards = standards or Standards()
    works = [
        _Work(task, seed, standards, dict(zip(ways, _quotas(n, len(ways)), strict=True))) for task in tasks
    ]
    annotated = [work for work in works if _is_diversifiable(work.task)]
    for work in works:
        if work.task.own_instructions:
            detail = "its examples have instructions of their own, so it has none that could be reworded"
            work.refuse(ways[0], OWN_INSTRUCTIONS, "", detail)
        elif work not in annotated:
            work.refuse(ways[0], NO_KEY_PARTS, "", "name the task's key parts first (kpig annotate)")
    if backend is not None:
        _write_by_llm(annotated, backend, temperature, seed, on_progress)
    else:
        _write_offline(annotated, grammar.harvest(task.instruction for task in tasks), on_task)
    return Report(tuple(work.report(evaluation_share) for work in works), n)


def _is_diversifiable(task: Task) -> bool:
    return bool(task.instruction.key_parts) and not task.own_instructions


def _checked_ways(ways: Sequence[str] | None, backend: object) -> tuple[str, ...]:
    if ways is None:
        return WAYS if backend is not None else ("breadth",)
    for way in ways:
        if way not in WAYS:
            near = nearest(way, WAYS)
            hint = f"did you mean '{near}'?" if near else f"expected some of {', '.join(WAYS)}"
            raise UsageError(f"'{way}' is not a way to diversify; {hint}")
    if not ways or len(set(ways)) < len(ways):
        raise UsageError(f"ways is {', '.join(ways) or 'empty'}; name at least one way, each once")
    if backend is None and tuple(ways) != ("breadth",):
        raise UsageError(
            f"the ways {', '.join(way for way in ways if way != 'breadth')} need a language model; "
            "name one, or ask for breadth only"
        )
    return tuple(ways)


def _quotas(n: int, num_ways: int) -> list[int]:
    """`n` in `num_ways` nearly equal shares, the larger ones first."""
    return [n // num_ways + (place < n % num_ways) for place in range(num_ways)]


@dataclass(eq=False)
class _Work:
    """What one task has so far; `quotas` tells how many variants of each way it is to get."""

    task: Task
    seed: int
    standards: Standards
    quotas: dict[str, int]
    variants: list[Variant] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    num_possible: int | None = None
    num_failed: int = 0

    @property
    def rng(self) -> random.Random:
        """A fresh generator of the task's own, so that other tasks do not change its draws."""
        return random.Random(f"kpig diversify {self.seed} {self.task.name}")

    @property
    def wordings(self) -> list[Instruction]:
        """What a new variant must not copy besides the seed."""
        given = [one for one in self.task.instructions[1:] if one.origin.split()[0] not in WAYS]
        return [*given, *(variant.instruction for variant in self.variants)]

    def missing(self, way: str) -> int:
        """How many variants of the way are still wanted."""
        return self.quotas[way] - sum(variant.way == way for variant in self.variants)

    def offer(self, variant: Variant, rule: Constraint | None = None) -> str | None:
        """Keep the variant or turn it down; what is wrong with it, or None."""
        if self.missing(variant.way) < 1:
            return self.refuse(variant.way, SURPLUS, variant.text, "more variants than asked for")
        fault = accept.judge(variant.instruction, variant.way, self.task, self.wordings, self.standards, rule)
        if fault is not None:
            return self.refuse(variant.way, fault.reason, variant.text, fault.detail)
        self.variants.append(variant)
        return None

    def refuse(self, way: str, reason: str, text: str, detail: str) -> str:
        """Count and keep a candidate that was turned down; returns what is wrong with it."""
        self.rejections.append(Rejection(way, reason, text[:MAX_KEPT_CHARACTERS], detail))
        return detail

    def report(self, evaluation_share: float) -> TaskReport:
        """The result, with the share for evaluation set aside."""
        kept = len(self.variants)
        count = min(max(round(evaluation_share * kept), evaluation_share > 0), max(0, kept - 1))
        chosen = set(self.rng.sample(range(kept), count))
        variants = (replace(one, evaluation=place in chosen) for place, one in enumerate(self.variants))
        return TaskReport(
            self.task.name, tuple(variants), tuple(self.rejections), self.num_possible, self.num_failed
        )


# --- offline -------------------------------------------------------------------------------------------


def _write_offline(
    works: Sequence[_Work], found: grammar.Grammar, on_task: Callable[[str], None] | None
) -> None:
    for work in works:
        seed = work.task.instruction
        inputs = all(example.input.strip() for example in (*work.task.train, *work.task.test))
        slots = breadth.find_slots(seed, found, inputs=inputs)
        work.num_possible = breadth.num_possible(slots)
        for drawn in breadth.candidates(seed, slots, work.quotas["breadth"], work.rng):
            if work.missing("breadth") < 1:
                break
            work.offer(Variant(drawn, "breadth", digest_of(seed.text), settings={"seed": work.seed}))
        if on_task is not None:
            on_task(work.task.name)


# --- by a language model -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Turn:
    """A request on its way for a task; `retried` marks the second and last one of a wish.

    `unread` is the request before it, where its answer could not be read.
    """

    work: _Work
    ask: Ask
    request: Request
    retried: bool = False
    unread: tuple[Request, ...] = ()


def _write_by_llm(
    works: Sequence[_Work],
    backend: "TextBackend",
    temperature: float,
    seed: int,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Ask once for everything, then once more for what is missing, showing each answer's mistakes.

    Where an answer to the last request cannot be read, the cache does not keep it.
    """
    turns = [
        _Turn(work, ask, by_llm.request_for(ask, temperature, seed)) for work in works for ask in _asks(work)
    ]
    while turns:
        outcomes = backend.complete([turn.request for turn in turns], on_progress)
        for turn, outcome in zip(turns, outcomes, strict=True):
            if turn.retried and isinstance(outcome, Answer) and not _is_readable(turn, outcome):
                backend.forget([*turn.unread, turn.request])
        taken = [
            _take(turn, outcome, backend.source.model) for turn, outcome in zip(turns, outcomes, strict=True)
        ]
        turns = [turn for turn in taken if turn is not None]


def _asks(work: _Work) -> list[Ask]:
    asks = []
    for way, quota in work.quotas.items():
        for number, start in enumerate(range(0, quota, PER_REQUEST)):
            asks.append(Ask(work.task, way, min(PER_REQUEST, quota - start), number))
    return asks


def _take(turn: _Turn, outcome: Answer | Failure, model: str) -> _Turn | None:
    """Judge an answer; the turn that asks once more for what is missing, where this was the first."""
    work, way = turn.work, turn.ask.way
    if isinstance(outcome, Failure):
        work.num_failed += 1
        work.refuse(way, f"no_answer_{outcome.reason}", "", outcome.detail)
        return None
    before = work.missing(way)
    mistakes = _mistakes(turn, outcome, model)
    num_kept = before - work.missing(way)
    wanted = min(turn.ask.count - num_kept, work.missing(way))
    if turn.retried or wanted < 1:
        return None
    mistakes = mistakes or [f"only {num_kept} rewordings were given"]
    again = by_llm.retry_of(turn.request, outcome.text, mistakes, wanted)
    unread = () if _is_readable(turn, outcome) else (turn.request,)
    return replace(turn, ask=replace(turn.ask, count=wanted), request=again, retried=True, unread=unread)


def _is_readable(turn: _Turn, answer: Answer) -> bool:
    """Whether the answer holds rewordings, good or bad."""
    try:
        return not answer.truncated and bool(by_llm.read_answer(answer.text, turn.ask.way))
    except Malformed:
        return False


def _mistakes(turn: _Turn, answer: Answer, model: str) -> list[str]:
    """Offer what the answer holds; one sentence for everything that was turned down."""
    work, way = turn.work, turn.ask.way
    if answer.truncated:
        return [work.refuse(way, TRUNCATED, answer.text, "the answer was cut off; be shorter")]
    try:
        candidates = by_llm.read_answer(answer.text, way)
    except Malformed as error:
        return [work.refuse(way, MALFORMED, answer.text, str(error))]
    settings = by_llm.settings_of(turn.request, way, turn.retried)
    offered = (_offer(work, way, candidate, model, settings) for candidate in candidates)
    return [mistake for mistake in offered if mistake is not None]


def _offer(work: _Work, way: str, candidate: Candidate, model: str, settings: dict[str, Any]) -> str | None:
    """Locate the key parts, read the rule, and offer the variant; what is wrong with it, or None."""
    seed = work.task.instruction
    located = hygiene.fault(candidate.text, seed.text) or (
        accept.kept_parts(candidate.text, seed)
        if way == "breadth"
        else accept.named_parts(candidate.text, candidate.key_parts)
    )
    if isinstance(located, Fault):
        return work.refuse(way, located.reason, candidate.text, located.detail)
    rule = None
    if candidate.rule is not None:
        try:
            rule = constraints.parse(candidate.rule, "rule")
        except DataError as error:
            return work.refuse(way, MALFORMED_RULE, candidate.text, str(error))
    instruction = Instruction(candidate.text, located, way)
    variant = Variant(instruction, way, digest_of(seed.text), model, settings, candidate.rule)
    return work.offer(variant, rule)
