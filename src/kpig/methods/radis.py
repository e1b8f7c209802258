"""RaDis (Wu et al., 2024): rationale distillation, the starting model explains what is learned."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Count, CountOrAll, cost
from kpig.errors import DataError
from kpig.methods.base import Method, Step
from kpig.methods.parts.memory import pick
from kpig.methods.parts.spoken import told
from kpig.methods.parts.writer import Draft, Writer, WriterSettings, fits, greedy, refusals
from kpig.records import Example, Instruction, Task, wordings

if TYPE_CHECKING:
    from kpig.model.learner import Learner

REQUEST = "Below are a task, an input and the right response. Explain in a few sentences why it is right."
"""[D] The paper's own words were not at hand."""

SENTENCES = re.compile(r"(.*[.!?])(?:\s|$)", re.DOTALL)

LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d+\.$")
"""A line that is the number of a list's next item, which was cut off: no sentence ends with its dot."""


class RadisSettings(WriterSettings):
    """RaDis (Wu et al., 2024): rationale distillation."""

    max_new_tokens: Count = Field(64, description="tokens of a rationale at most")
    num_examples: CountOrAll = Field(
        0,
        description="training examples per task that get a rationale; 0: all of them",
        json_schema_extra=cost("a generated text for each"),
    )
    request: str = Field(
        " Then explain your answer.",
        min_length=1,
        description="what the instruction of an example with a rationale ends with",
    )
    separator: str = Field(
        "\nExplanation: ", min_length=1, description="what stands between response and rationale"
    )


class Radis(Method):
    """Beside every example, one that asks for an explanation too and is answered by response and rationale.

    The paper trains on response and rationale as one text, so a tuned model always explains itself. Here
    the plain examples stay as they are, and the explained ones stand under an extended instruction: asked
    plainly, the model answers plainly, and whole responses can be scored. [D]
    """

    Settings = RadisSettings
    settings: RadisSettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.writer = Writer(self.settings)
        self.needs_initial = self.writer.is_learner
        self.written: dict[str, dict[str, int]] = {}

    def begin_step(self, step: Step, learner: Learner) -> Step:
        """The step with a second task of explained examples beside each that has some."""
        explained = [self._explained(task, learner) for task in step.tasks]
        pairs = zip(step.tasks, explained, strict=True)
        return replace(step, tasks=tuple(task for pair in pairs for task in pair if task.train))

    def notes(self) -> list[str]:
        return [
            f"radis: {counts['kept']} of {counts['asked']} rationales could be used for task {name!r} "
            f"({refusals(counts)}){self.writer.trouble_with(name)}"
            for name, counts in self.written.items()
            if counts["kept"] < counts["asked"]
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"written": self.written, "trouble": self.writer.trouble}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.written = {name: dict(counts) for name, counts in state["written"].items()}
        self.writer.trouble = dict(state.get("trouble", {}))  # absent in a state of an earlier version

    def _explained(self, task: Task, learner: Learner) -> Task:
        instructions = tuple(_extended(one, self.settings.request) for one in task.instructions)
        chosen = self._chosen(task)
        refused: Counter[str] = Counter()
        examples = []
        for example, draft in zip(chosen, self._drafts(task.name, chosen, learner), strict=True):
            rationale = whole(draft)
            response = f"{example.response}{self.settings.separator}{rationale}"
            made = replace(
                example,
                id=f"{example.id}/explained",
                instruction=_extended(example.instruction, self.settings.request),
                references=(response,),
            )
            if draft is None or not rationale:
                refused["unanswered" if draft is None else "empty_or_unfinished"] += 1
            elif not fits(learner, made, wordings(made, instructions)):
                refused["too_long"] += 1
            else:
                examples.append(made)
        self.written[task.name] = {"asked": len(chosen), "kept": len(examples), **refused}
        return replace(task, instructions=instructions, train=tuple(examples), test=())

    def _chosen(self, task: Task) -> Sequence[Example]:
        if not self.settings.num_examples:
            return task.train
        rng = self.rng(f"radis/{task.name}")
        return pick(task.train, self.settings.num_examples, rng)

    def _drafts(self, name: str, examples: Sequence[Example], learner: Learner) -> list[Draft | None]:
        """The writer's rationales. The starting model continues prompt, response and separator."""
        limit = self.settings.max_new_tokens
        if not self.writer.is_learner:
            system = learner.encoder.system
            texts = [f"{REQUEST}\n\n{_shown(example, system)}" for example in examples]
            return self.writer.write(learner, texts, limit, name)
        cue = self.settings.separator.rstrip()
        prompts = [_cued(learner, example, cue) for example in examples]
        with learner.as_initial():
            return greedy(learner, prompts, limit)


def whole(draft: Draft | None) -> str:
    """The text of a draft, up to its last whole sentence where it was cut off; "" where nothing is left."""
    if draft is None or draft.finished:
        return "" if draft is None else draft.text.strip()
    found = SENTENCES.match(draft.text)
    return LIST_NUMBER.sub("", found[1]).strip() if found else ""


def _extended(instruction: Instruction, request: str) -> Instruction:
    """The instruction with a request behind it; its key parts stay where they are."""
    return replace(instruction, text=f"{instruction.text}{request}")


def _cued(learner: Learner, example: Example, cue: str) -> tuple[int, ...]:
    """Token ids of prompt, response and cue, to be continued; none where they do not fit."""
    try:
        encoded = learner.encoder.encode(replace(example, references=(f"{example.response}{cue}",)))
    except DataError:
        return ()
    return (*encoded.prompt, *encoded.response[:-1])


def _shown(example: Example, system: str) -> str:
    return f"{told(example, system)}Response: {example.response}"
