"""Learning without forgetting: hold the outputs on current inputs to those of the previous model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Weight
from kpig.methods.base import Loss, Method, Settings, Step
from kpig.methods.parts.upkeep import Matrices, Upkeep

if TYPE_CHECKING:
    from kpig.model.batch import Batch
    from kpig.model.learner import Learner, Weights


class LwfSettings(Settings):
    """Learning without forgetting (Li & Hoiem, 2016)."""

    weight: Weight = Field(1.0, description="weight of the distillation term")
    temperature: Annotated[float, Field(gt=0)] = Field(2.0, description="softens both distributions")


class Lwf(Method):
    """CE + λ · T² · KL(p_previous^(1/T) ‖ p^(1/T)) over the response tokens of the current examples.

    Li & Hoiem (2016), with T = 2 and λ = 1: their term is the cross-entropy between both softened
    distributions, which has the same gradient. The factor T² is from Hinton et al. (2015), section 2, and
    keeps the size of the gradient whatever T is; whether Li & Hoiem use it is unverified. The previous
    model is that of the step's beginning; the first step has none. Its outputs are computed as needed and
    not stored, which costs one forward pass.
    """

    Settings = LwfSettings
    settings: LwfSettings

    undivided = (
        "is not one that can do so: it asks the model that the step before has left, and divided weights can "
        "stand aside for the starting ones only"
    )
    penalties: ClassVar[Mapping[str, str]] = {"distillation": "method.lwf.weight"}
    divergences = frozenset({"distillation"})

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self._previous: Weights | None = None

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """The previous model, its pass over each example, and its logits beside what the term takes."""
        return Upkeep(copies=1, logits=4, read=1, needs_past=True)

    def begin_step(self, step: Step, learner: Learner) -> Step:
        from kpig.methods.parts.distance import anchor

        self._previous = anchor(step, learner)
        return step

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        from kpig.model.objective import cross_entropy_sum, distillation

        if self._previous is None:
            return super().loss(learner, batch)
        logits = learner.response_logits(batch.rows)
        reference = learner.reference_logits(batch.rows, self._previous)
        entropy = cross_entropy_sum(logits, batch.rows.target)
        term = self.settings.weight * distillation(logits, reference, self.settings.temperature).sum()
        log = {"cross_entropy": entropy.detach(), "distillation": term.detach()}
        return Loss(entropy + term, log)
