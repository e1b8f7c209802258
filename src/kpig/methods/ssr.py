"""Self-synthesized rehearsal: a model writes the examples that are replayed (Huang et al., ACL 2024)."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from kpig import ranks
from kpig.config import RunConfig
from kpig.config.section import Count, cost
from kpig.errors import ConfigError, DataError, some
from kpig.methods.base import Clock, Method, Step
from kpig.methods.parts import clusters
from kpig.methods.parts.memory import Memory, pick
from kpig.methods.parts.packages import required
from kpig.methods.parts.spoken import spoken
from kpig.methods.parts.writer import Draft, Writer, WriterSettings, fits, greedy, refusals
from kpig.records import Example, Task
from kpig.tasks.matching import rouge_l

if TYPE_CHECKING:
    from kpig.model.learner import Learner

INPUT, OUTPUT = "Input:", "Output:"
"""As in the released prompt."""

REQUEST = (
    "Below are a task and examples of it. Write one more input for the task: of the same kind, but unlike "
    "those shown. Answer with that input alone, without its output."
)
"""[D] For writers that are asked in words, which is ours."""


class SsrSettings(WriterSettings):
    """Self-synthesized rehearsal (Huang et al., ACL 2024)."""

    num_demonstrations: Annotated[int, Field(ge=2)] = Field(
        20, description="real examples of a task that the writer is shown, a few at a time; none is replayed"
    )
    shots: Count = Field(2, description="real examples in one prompt")
    num_prompts: Count = Field(
        100,
        description="prompts per task, each with other examples or in another order",
        json_schema_extra=cost("a generated text for each, then an answer to what is accepted"),
    )
    max_new_tokens: Count = Field(128, description="tokens of a written text at most")
    similarity: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="ROUGE-L to an accepted input from which on a written input is refused"
    )
    clusters: Count = Field(20, description="k-means clusters that the written examples are picked from")


class Ssr(Method):
    """When a task is learned: inputs by the writer, in context of a few real examples; answers to them by the
    model that just learned it; of the accepted ones a diverse part is kept and replayed uniformly later.

    Steps, prompt and k-means as in the paper's public code (DeepLearnXMU/SSR, custom/icl_gen), see
    docs/baselines.md for the departures. Real examples are never replayed.
    """

    Settings = SsrSettings
    settings: SsrSettings
    memory: Memory

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        required("sklearn.cluster", "scikit-learn", "ssr")
        self.writer = Writer(self.settings)
        self.needs_initial = self.writer.is_learner
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.written: dict[str, dict[str, int]] = {}

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        own = [task.name for step in steps for task in step if task.own_instructions]
        if own:
            raise ConfigError(
                f"[method] ssr writes inputs for one instruction per task, but in {len(own)} tasks "
                f"({some(own)}) examples have instructions of their own; choose another method"
            )
        varied = [task.name for step in steps for task in step if len(_settings_of(task)) > 1]
        if varied:
            raise ConfigError(
                f"[method] ssr writes inputs, not conversations, but in {len(varied)} tasks ({some(varied)}) "
                "what comes before the input (system prompt, earlier turns) is not the same in every "
                "example; choose another method"
            )
        return list(steps)

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"))

    def remember(self, step: Step, learner: Learner) -> None:
        for task in step.tasks:
            examples, refused = self._write(task, learner)
            self.memory.keep(task, self._diverse(examples, task, learner))
            kept = len(self.memory.tasks[task.name].examples)
            self.written[task.name] = {"kept": kept, "accepted": len(examples), **refused}

    def notes(self) -> list[str]:
        wanted = self.memory.capacity
        return [
            f"ssr: {counts['kept']} of {wanted} examples could be written for task {name!r} "
            f"({refusals(counts)}); it was rehearsed with these{self.writer.trouble_with(name)}"
            for name, counts in self.written.items()
            if counts["kept"] < wanted
        ]

    def state_dict(self) -> dict[str, Any]:
        return {
            "memory": self.memory.state(),
            "written": self.written,
            "trouble": self.writer.trouble,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
        self.written = {name: dict(counts) for name, counts in state["written"].items()}
        self.writer.trouble = dict(state.get("trouble", {}))  # absent in a state of an earlier version

    def _write(self, task: Task, learner: Learner) -> tuple[list[Example], Counter[str]]:
        """Accepted examples of a task, in the order they were written, and how many were refused why."""
        shown = pick(task.train, self.settings.num_demonstrations, self._rng("demonstrations", task))
        draws = arrangements(
            shown, self.settings.shots, self.settings.num_prompts, self._rng("prompts", task)
        )
        asked = self.writer.takes_requests(learner)
        prompts = [request(task, draw) if asked else continuation(task, draw) for draw in draws]
        drafts = self.writer.write(learner, prompts, self.settings.max_new_tokens, task.name)
        found = [one for draft in drafts for one in read_inputs(draft, alone=asked)]
        inputs, refused = accept(found, [example.input for example in shown], self.settings.similarity)
        examples = [
            replace(shown[0], id=f"ssr-{n}", instruction=task.instruction, input=one, references=("",))
            for n, one in enumerate(inputs)
        ]
        answered, more = answer(learner, examples, self.settings.max_new_tokens)
        fitting = [one for one in answered if fits(learner, one, task.instructions)]
        return fitting, refused + more + Counter(too_long=len(answered) - len(fitting))

    def _diverse(self, examples: list[Example], task: Task, learner: Learner) -> list[Example]:
        """As many as memory holds: those nearest to k-means centroids of the inputs' mean hidden states."""
        if len(examples) <= self.memory.capacity:
            return examples
        encode = learner.tokenizer.encode
        prompts = [encode(one.input, add_special_tokens=False) for one in examples]
        vectors = learner.embed(prompts).cpu().double().numpy()
        seed = self._rng("clusters", task).getrandbits(31)
        capacity, num_clusters = self.memory.capacity, self.settings.clusters
        chosen = ranks.by_main(lambda: clusters.nearest(vectors, capacity, num_clusters, seed))
        return [examples[row] for row in chosen]

    def _rng(self, purpose: str, task: Task) -> random.Random:
        return self.rng(f"ssr/{purpose}/{task.name}")


def arrangements(
    shown: Sequence[Example], shots: int, count: int, rng: random.Random
) -> list[tuple[Example, ...]]:
    """Up to `count` different ordered choices of `shots` examples.

    Greedy writing answers a prompt in one way only, so variety has to come from the prompts.
    """
    shots = min(shots, len(shown))
    wanted = min(count, math.perm(len(shown), shots))
    chosen: dict[tuple[int, ...], None] = {}
    while len(chosen) < wanted:
        chosen[tuple(rng.sample(range(len(shown)), shots))] = None
    return [tuple(shown[place] for place in draw) for draw in chosen]


def continuation(task: Task, examples: Sequence[Example]) -> str:
    """The instruction, a few examples, and the beginning of one more (`pack_instructions` of SSR's code)."""
    return f"{_before(examples)}{task.instruction.text}\n\n{_listed(examples)}{INPUT}"


def request(task: Task, examples: Sequence[Example]) -> str:
    """The same as a request in words, for models that answer rather than continue."""
    return f"{REQUEST}\n\n{_before(examples)}Task: {task.instruction.text}\n\n{_listed(examples)}".rstrip()


def read_inputs(draft: Draft | None, alone: bool = False) -> list[str | None]:
    """The inputs in a draft, in order; None for one that was cut off, or for no draft at all.

    A continuation may hold several examples; each input ends at its output, which is left to the learner
    to answer anew. With `alone` the draft is one input, with or without its heading.
    """
    if draft is None:
        return [None]
    if alone:
        text = draft.text.removeprefix(INPUT).partition(f"\n{OUTPUT}")
        return [text[0].strip() if draft.finished or text[1] else None]
    pieces = draft.text.split(f"\n{INPUT}")
    cut = [piece.partition(f"\n{OUTPUT}") for piece in pieces]
    found = [before.strip() if mark else None for before, mark, _ in cut]
    if found[-1] is None and draft.finished:
        found[-1] = cut[-1][0].strip()
    return found


def accept(
    found: Sequence[str | None], shown: Sequence[str], similarity: float
) -> tuple[list[str], Counter[str]]:
    """The inputs that are whole, not empty, no copy of one shown, and unlike those accepted before.

    Unlike: ROUGE-L below `similarity` (as Wang et al., 2023, filter self-written instructions). The counter
    has the number refused for each reason.
    """
    accepted: list[str] = []
    refused: Counter[str] = Counter()
    copies = {_plain(text) for text in shown}
    for text in found:
        if text is None:
            refused["unfinished"] += 1
        elif not text:
            refused["empty"] += 1
        elif _plain(text) in copies:
            refused["copy"] += 1
        elif any(_plain(text) == _plain(one) or rouge_l(text, [one]) >= similarity for one in accepted):
            refused["similar"] += 1
        else:
            accepted.append(text)
    return accepted, refused


def answer(
    learner: Learner, examples: Sequence[Example], max_new_tokens: int
) -> tuple[list[Example], Counter[str]]:
    """The examples with the learner's greedy responses, without those that have none, or only a part of one.

    "too_long" is an input that does not fit whole beside its instruction and a response.
    """
    refused: Counter[str] = Counter()
    prompts = [_prompt(learner, example, max_new_tokens) for example in examples]
    drafts = greedy(learner, prompts, max_new_tokens)
    answered = []
    for example, draft in zip(examples, drafts, strict=True):
        if draft is None:
            refused["too_long"] += 1
        elif not draft.finished:
            refused["unfinished_response"] += 1
        elif not draft.text:
            refused["empty_response"] += 1
        else:
            answered.append(replace(example, references=(draft.text,)))
    return answered, refused


def _prompt(learner: Learner, example: Example, max_new_tokens: int) -> tuple[int, ...]:
    """Token ids of the prompt, none where the example does not fit whole."""
    try:
        encoded = learner.encoder.encode(example, max_new_tokens)
    except DataError:
        return ()
    return () if encoded.num_cut else encoded.prompt


def _listed(examples: Sequence[Example]) -> str:
    return "".join(f"{INPUT} {one.input}\n{OUTPUT} {one.response}\n\n" for one in examples)


def _settings_of(task: Task) -> set[tuple[Any, ...]]:
    """What comes before the inputs of a task, and where the instruction stands, each once."""
    return {(one.context, one.as_system) for one in task.train}


def _before(examples: Sequence[Example]) -> str:
    """The turns that all examples of a task share, with a blank line behind them; "" for none."""
    turns = spoken(examples[0].context) if examples else ""
    return turns and f"{turns}\n"


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
