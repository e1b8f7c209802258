"""Annotate tasks: find the key parts of their seed instructions by one of four ways. No torch by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kpig.annotate import among, by_llm, rules
from kpig.annotate.by_llm import Rejection
from kpig.annotate.cost import Cost
from kpig.errors import UsageError, nearest
from kpig.llm import Progress, TextBackend
from kpig.progress import Watcher
from kpig.records import Example, Instruction, KeySpan, Task
from kpig.tasks.drafts import GIVEN

if TYPE_CHECKING:
    from kpig.model.learner import Learner

WAYS = ("llm", "rules", "gain", "best")
NUM_EXAMPLES = 8
"""Examples that gain is measured on. Chosen; the cost grows with them: about 1,600 forward tokens for an
instruction of the suite, 14,000 for one of Super-NaturalInstructions (docs/results.md)."""

Finder = Callable[[Task], tuple[tuple[KeySpan, ...] | None, Cost]]


@dataclass(frozen=True)
class Annotation:
    """The key parts found for each task, in order; a task without a result is not among `spans`.

    `rejections` tells by task what was refused, and why a task has no result. `own` are the `further`
    instructions by task, with their key parts; those without a result are left out.
    """

    spans: Mapping[str, tuple[KeySpan, ...]]
    rejections: Mapping[str, tuple[Rejection, ...]] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    own: Mapping[str, tuple[Instruction, ...]] = field(default_factory=dict)

    @property
    def num_rejected(self) -> Counter[str]:
        """Rejections counted by reason."""
        return Counter(one.reason for found in self.rejections.values() for one in found)


def further(task: Task) -> tuple[Instruction, ...]:
    """The instructions beside the seed that get key parts: wordings that the data give, and examples' own."""
    given = (one for one in task.instructions[1:] if one.origin == GIVEN)
    return (*given, *task.own_instructions)


def texts(tasks: Sequence[Task]) -> dict[str, frozenset[str]]:
    """The instructions that are read for each task: its seed and the `further` ones."""
    return {task.name: frozenset(one.text for one in (task.instruction, *further(task))) for task in tasks}


def annotate(
    tasks: Sequence[Task],
    by: str,
    backend: TextBackend | None = None,
    learner: Learner | None = None,
    num_examples: int = NUM_EXAMPLES,
    watch: Watcher | None = None,
) -> Annotation:
    """The key parts of every task's seed instruction, and of its `further` ones.

    Those that single examples came with are found by the chat model where that is the way, else by rules:
    gain needs several examples of one instruction. `by` is one of WAYS: "llm" needs `backend`, "gain" needs
    `learner`, "best" uses it where there is one. Gain uses the first `num_examples` training examples, or
    test examples of a task that has no others.
    Raises UsageError for an unknown way or a missing helper, and what the ways raise.
    """
    _check(by, backend, learner)
    watch = watch or Watcher()
    if by == "llm":
        assert backend is not None, "_check refuses llm without a backend"
        return _by_llm(tasks, backend, watch)
    found = _one_by_one(tasks, _finder(by, learner, num_examples), watch)
    return _with_own(found, [task for task in tasks if task.own_instructions], seeds_too=by == "rules")


def _with_own(found: Annotation, tasks: Sequence[Task], seeds_too: bool) -> Annotation:
    """The same with the instructions of single examples, read beside each other and the task's first."""
    spans, own = dict(found.spans), dict(found.own)
    for task in tasks:
        every = among.find_all([task.instruction.text, *(one.text for one in task.own_instructions)])
        read = (replace(one, key_parts=every[one.text]) for one in task.own_instructions)
        own[task.name] = (*own.get(task.name, ()), *read)
        if seeds_too:
            spans[task.name] = every[task.instruction.text]
    return replace(found, spans=spans, own=own)


def _check(by: str, backend: TextBackend | None, learner: Learner | None) -> None:
    if by not in WAYS:
        near = nearest(by, WAYS)
        hint = f"did you mean '{near}'?" if near else f"expected one of {', '.join(WAYS)}"
        raise UsageError(f"'{by}' is not a way to find key parts; {hint}")
    if by == "llm" and backend is None:
        raise UsageError("key parts by llm need a chat model; name one, or annotate by rules")
    if by == "gain" and learner is None:
        raise UsageError("key parts by gain need a model; name one, or annotate by rules")


def _by_llm(tasks: Sequence[Task], backend: TextBackend, watch: Watcher) -> Annotation:
    before, settled = backend.usage, 0
    asked: dict[tuple[str, str], str] = {}
    for task in tasks:
        asked |= {(task.name, one.text): one.text for one in (task.instruction, *further(task))}

    def tell(progress: Progress) -> None:
        nonlocal settled
        watch.advance(
            progress.done - settled, f"{progress.usage.requests} requests, {progress.usage.tokens} tokens"
        )
        settled = progress.done

    with watch.phase("annotate", len(asked)):
        found = by_llm.find_all(backend, asked, tell)
    after = backend.usage
    spans = {key: one.spans for key, one in found.items() if one.spans is not None}
    seeds = {task.name: (task.name, task.instruction.text) for task in tasks}
    rejected: dict[str, tuple[Rejection, ...]] = {}
    for (name, _), one in found.items():
        if one.rejections:
            rejected[name] = (*rejected.get(name, ()), *one.rejections)
    return Annotation(
        spans={name: spans[key] for name, key in seeds.items() if key in spans},
        rejections=rejected,
        own={
            task.name: tuple(
                Instruction(one.text, spans[task.name, one.text], one.origin)
                for one in members
                if (task.name, one.text) in spans
            )
            for task in tasks
            if (members := further(task))
        },
        cost=Cost(requests=after.requests - before.requests, llm_tokens=after.tokens - before.tokens),
    )


def _one_by_one(tasks: Sequence[Task], find: Finder, watch: Watcher) -> Annotation:
    """The seed of each task and its given wordings: these too are of all its examples."""
    cost = Cost()
    spans: dict[str, tuple[KeySpan, ...]] = {}
    own: dict[str, tuple[Instruction, ...]] = {}
    rejections: dict[str, tuple[Rejection, ...]] = {}
    worded = [
        (task, one)
        for task in tasks
        for one in (task.instruction, *(one for one in further(task) if one.origin == GIVEN))
    ]
    with watch.phase("annotate", len(worded)):
        for task, wording in worded:
            found, spent = find(_under(task, wording))
            cost += spent
            if found is None:
                message = "hiding the whole instruction does not change the answer clearly"
                refused = Rejection("no effect", message)
                rejections[task.name] = (*rejections.get(task.name, ()), refused)
            elif wording == task.instruction:
                spans[task.name] = found
            else:
                own[task.name] = (*own.get(task.name, ()), replace(wording, key_parts=found))
            watch.advance()
    return Annotation(spans, rejections, cost, own)


def _under(task: Task, wording: Instruction) -> Task:
    """The task with another of its wordings as the seed."""
    return replace(task, instructions=(wording, *(one for one in task.instructions if one != wording)))


def _finder(by: str, learner: Learner | None, num_examples: int) -> Finder:
    if by == "rules" or learner is None:
        return lambda task: (rules.find(task.instruction.text), Cost())
    from kpig.annotate import best, by_gain

    def by_best(task: Task) -> tuple[tuple[KeySpan, ...], Cost]:
        return best.find(learner, task.instruction.text, _examples(task, num_examples))

    def by_its_gain(task: Task) -> tuple[tuple[KeySpan, ...] | None, Cost]:
        text = task.instruction.text
        spans, cost = by_gain.find(learner, text, _examples(task, num_examples), by_gain.candidates(text))
        return spans or None, cost

    return by_best if by == "best" else by_its_gain


def _examples(task: Task, count: int) -> tuple[Example, ...]:
    """Training examples, else test ones, of the seed instruction: others have nothing to say about it."""
    splits = (
        [one for one in split if one.instruction in task.instructions] for split in (task.train, task.test)
    )
    return tuple(next((split for split in splits if split), ()))[:count]
