"""SDFT: the model answers, and learns from itself with the demonstration in sight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from kpig.config import RunConfig
from kpig.config.section import Count, Share, Weight, cost
from kpig.errors import DataError
from kpig.methods.base import Clock, Loss, Method, Settings, Step
from kpig.methods.parts.upkeep import CHARACTERS, Matrices, Upkeep
from kpig.records import Example

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.batch import Batch
    from kpig.model.learner import Learner

SLOT = "{demonstration}"

LOGITS, MIXED_LOGITS = 5, 10
"""Numbers of float32 for each logit that the divergence holds beside those of cross-entropy: the teacher's
and what the gradient takes; with a mixture also its own. Counted in kpig.model.objective."""


def _with_slot(hint: str) -> str:
    if SLOT not in hint:
        raise ValueError(f"expected a text with {SLOT}, in whose place the response stands")
    return hint


class SdftSettings(Settings):
    """SDFT (Shenfeld et al., 2026): on-policy self-distillation with the demonstration in context."""

    max_new_tokens: Count = Field(
        64,
        description="tokens of the model's own answer at most",
        json_schema_extra=cost("every example of every update is answered, then read twice"),
    )
    temperature: Weight = Field(1.0, description="of the draw of answers; 0: the likeliest one")
    divergence: Share = Field(
        1.0,
        description="1: KL(model || teacher); 0: KL(teacher || model); between: of both to their mixture",
    )
    teacher_rate: Share = Field(
        0.05,
        description="how far the teacher follows the model in an update; 0: it stays as the step began; 1: "
        "it is the model itself",
        json_schema_extra=cost("below 1 a copy of the trained weights, above 0 in checkpoints too"),
    )
    hint: Annotated[str, AfterValidator(_with_slot)] = Field(
        f"This is an example for a response to the question:\n{SLOT}\n\n"
        "Now answer with a response of your own.",
        description=f"what stands behind the teacher's prompt; {SLOT} is the example's response",
    )


class Sdft(Method):
    """SDFT (Shenfeld et al., 2601.19897): Σ KL(model ‖ teacher) over the tokens of the model's own answers.

    In every update the model answers the current examples, drawn at `temperature`. The teacher reads the
    same answers behind prompts that show the example's response too; the model is drawn to what the teacher
    predicts at each token, over the whole vocabulary. Gradients reach the model only. The teacher is a
    moving average of the model (`teacher_rate`), from the weights that the step began with.

    The loop divides by the tokens of the answers, so that every token counts alike. Where the demonstration
    leaves too little room, an example is learned as it stands, which `notes` tell.
    """

    Settings = SdftSettings
    settings: SdftSettings

    undivided = (
        "is not one that can do so: its teacher has weights of its own, and divided ones can stand aside for "
        "the starting ones only"
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self._teacher: dict[str, Tensor] | None = None
        self._prompts: dict[str, tuple[int, ...]] = {}
        self.without_room: dict[str, int] = {}

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """The teacher and its passes, and the model's own answers."""
        shown = len(self.settings.hint) - len(SLOT)
        is_copy = self.settings.teacher_rate < 1
        return Upkeep(
            copies=int(is_copy),
            logits=LOGITS if self.settings.divergence in (0, 1) else MIXED_LOGITS,
            read=1,
            written=self.settings.max_new_tokens + 1,  # a cut answer gets an end
            shown=shown // CHARACTERS,
        )

    def begin_step(self, step: Step, learner: Learner) -> Step:
        self._teacher = learner.weights() if self.settings.teacher_rate < 1 else None
        return step

    def current(self, examples: Sequence[Example], clock: Clock, learner: Learner) -> Sequence[Example]:
        """The examples with the model's own answers for responses; the teacher's prompts are kept."""
        if clock.update:
            self._follow(learner)
        self._prompts = {}
        pairs = zip(examples, self._answers(examples, clock, learner), strict=True)
        return [self._taught(number, *pair, learner) for number, pair in enumerate(pairs)]

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        import torch

        from kpig.model import objective

        taught = [number for number, one in enumerate(batch.examples) if one.id in self._prompts]
        if not taught:
            return super().loss(learner, batch)
        logits = learner.response_logits(batch.rows)  # [N, V]
        is_taught = torch.isin(batch.example, torch.tensor(taught, device=batch.example.device))  # [N]
        reference = self._reference(learner, batch, taught)
        divergence = objective.mixed_divergence(logits[is_taught], reference, self.settings.divergence).sum()
        entropy = objective.cross_entropy_sum(logits[~is_taught], batch.rows.target[~is_taught])
        return Loss(divergence + entropy, {"distillation": divergence.detach()})

    def end_step(self, step: Step, learner: Learner) -> None:
        self._teacher, self._prompts = None, {}

    def notes(self) -> list[str]:
        return [
            f"sdft: {count} times an example of task {name!r} was learned as it stands, for its response "
            "does not fit into the teacher's prompt beside it; raise model.max_length"
            for name, count in self.without_room.items()
        ]

    def state_dict(self) -> dict[str, Any]:
        moves = self._teacher is not None and self.settings.teacher_rate > 0
        return {
            "teacher": dict(self._teacher) if moves and self._teacher else {},
            "without_room": self.without_room,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._teacher = dict(state["teacher"]) or self._teacher
        self.without_room = dict(state["without_room"])

    def _follow(self, learner: Learner) -> None:
        """Move the teacher towards the weights that the update before this one left."""
        rate = self.settings.teacher_rate
        if self._teacher is not None and rate:
            for name, weight in learner.parameters().items():  # one at a time: there is no further copy
                former = self._teacher[name].to(learner.device)
                self._teacher[name] = former.lerp(weight.detach(), rate)

    def _answers(self, examples: Sequence[Example], clock: Clock, learner: Learner) -> list[str]:
        from kpig.model.generation import Sampling

        limit, temperature = self.settings.max_new_tokens, self.settings.temperature
        encoded = learner.encoder.encode_all(examples, limit)
        chance = clock.rng("sdft")
        seeds = tuple(chance.getrandbits(63) for _ in examples)
        sampling = Sampling(seeds, temperature) if temperature else None
        found = learner.answers([one.prompt for one in encoded], limit, sampling=sampling)
        return [one.text for one in found]

    def _taught(self, number: int, example: Example, answer: str, learner: Learner) -> Example:
        """The example with an answer as its response and a name of its own; as it is without room for it."""
        own = replace(example, id=f"{example.id}/answered/{number}", references=(answer,))
        try:
            shown = learner.encoder.encode(replace(self._shown(example), references=(answer,)))
        except DataError:
            shown = None
        if shown is None or shown.num_cut:
            task = example.task
            self.without_room = self.without_room | {task: self.without_room.get(task, 0) + 1}
            return example
        self._prompts = self._prompts | {own.id: shown.prompt}
        return own

    def _shown(self, example: Example) -> Example:
        """The example as the teacher is asked it: with its response, behind all else."""
        hint = self.settings.hint.replace(SLOT, example.response)
        if example.input or example.as_system:
            return replace(example, input=f"{example.input}\n\n{hint}".lstrip())
        instruction = replace(example.instruction, text=f"{example.instruction.text}\n\n{hint}")
        return replace(example, instruction=instruction)

    def _reference(self, learner: Learner, batch: Batch, taught: Sequence[int]) -> Tensor:
        """What the teacher predicts at the answers' tokens: logits, in the order of the batch."""
        pairs = [
            (self._prompts[batch.examples[number].id], batch.rows.target[batch.example == number].tolist())
            for number in taught
        ]
        rows = learner.rows(pairs, 0)
        if self._teacher is None:
            return learner.forward_logits(rows)
        return learner.forward_logits(rows, {n: one.to(learner.device) for n, one in self._teacher.items()})
