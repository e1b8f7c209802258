"""L2: a penalty on how far the weights move from those after the previous step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Weight
from kpig.methods.base import Method, Settings, Step
from kpig.methods.parts.upkeep import Matrices, Upkeep

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.learner import Learner, Weights


class L2Settings(Settings):
    """Penalty on the distance to the weights after the previous step (CITB)."""

    weight: Weight = Field(0.01, description="λ; the penalty is λ Σ (θ - θ*)²")


class L2(Method):
    """Cross-entropy + λ Σ (θ - θ*)², without ½; no penalty in the first step.

    CITB (Zhang et al., EMNLP Findings 2023), public code: `compute_loss` for the method "L2", λ = 0.01.
    """

    Settings = L2Settings
    settings: L2Settings

    penalties: ClassVar[Mapping[str, str]] = {"penalty": "method.l2.weight"}

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.anchor: Weights | None = None

    def upkeep(self, matrices: Matrices) -> Upkeep:
        return Upkeep(copies=1)

    def begin_step(self, step: Step, learner: Learner) -> Step:
        from kpig.methods.parts.distance import anchor

        self.anchor = anchor(step, learner)
        return step

    def penalty(self, learner: Learner) -> Tensor | None:
        from kpig.methods.parts.distance import squared_distance

        if self.anchor is None:
            return None
        return self.settings.weight * squared_distance(learner.parameters(), self.anchor)
