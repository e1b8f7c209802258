"""EWC: a penalty on how far the weights move, each by its importance to past steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Count, Weight, cost
from kpig.methods.base import Method, Settings, Step
from kpig.methods.parts.memory import drawn
from kpig.methods.parts.upkeep import Matrices, Upkeep

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.learner import Learner, Weights

PUBLISHED = {"citb": 0.01, "trace": 0.5 * 400, "running": 0.5 * 5000}
"""λ of each EWC variant as its public code has it."""


class EwcSettings(Settings):
    """Elastic weight consolidation (Kirkpatrick et al., 2017), in three published variants."""

    variant: Literal["citb", "trace", "running"] = Field(
        "trace",
        description="Fisher of the last step only, summed over the steps, or its mean over them",
    )
    weight: Weight | Literal["published"] = Field(
        "published", description="λ; 'published': the variant's 0.01, 200 (½ · 400) or 2500 (½ · 5000)"
    )
    num_examples: Count = Field(
        64,
        description="training examples of a step that estimate its Fisher",
        json_schema_extra=cost("a backward pass over each when a step ends"),
    )


class Ewc(Method):
    """Cross-entropy + λ Σ F_i (θ_i - θ*_i)², F the diagonal Fisher; no penalty in the first step.

    Kirkpatrick et al. (2017), eq. 3, has ½ λ and one term for each former task. Three public codes keep
    one term, around the last θ*, and differ in F and λ; `variant` names which of them is meant:

    - citb (Zhang et al., 2023): F of the last step only, λ = 0.01 without ½;
    - trace (Wang et al., 2023): F summed over the steps, ½ · 400;
    - running (zzz47zzz/codebase-for-incremental-learning-with-llm): the mean of F over the steps, ½ · 5000.

    One F is kept, whatever the number of steps; `num_examples` of a step's training examples estimate it.
    """

    Settings = EwcSettings
    settings: EwcSettings

    undivided = (
        "is not one that can do so: its Fisher is made of squares of each example's own gradient, and "
        "processes that divide weights get the sum of theirs"
    )
    penalties: ClassVar[Mapping[str, str]] = {"penalty": "method.ewc.weight"}

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        chosen = self.settings.weight
        self.weight = PUBLISHED[self.settings.variant] if chosen == "published" else chosen
        self.anchor: Weights | None = None
        self.fisher: dict[str, Tensor] = {}

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """θ* and F; a step ends with the sum of squares, an example's gradient and what that is read into."""
        return Upkeep(copies=1, wide=1, at_end=3, measured=self.settings.num_examples)

    def begin_step(self, step: Step, learner: Learner) -> Step:
        from kpig.methods.parts.distance import anchor

        self.anchor = anchor(step, learner)
        return step

    def penalty(self, learner: Learner) -> Tensor | None:
        from kpig.methods.parts.distance import squared_distance

        if self.anchor is None:
            return None
        self.fisher = {name: value.to(learner.device) for name, value in self.fisher.items()}
        return self.weight * squared_distance(learner.parameters(), self.anchor, self.fisher)

    def end_step(self, step: Step, learner: Learner) -> None:
        from kpig.methods.parts.fisher import diagonal_fisher

        examples = drawn(step.tasks, self.settings.num_examples, self.rng(f"fisher/{step.number}"))
        measured = diagonal_fisher(learner, examples, self.config.train)
        former = {name: value.to(learner.device) for name, value in self.fisher.items()}
        self.fisher = merged(self.settings.variant, former, measured, step.number - 1)

    def state_dict(self) -> dict[str, Any]:
        return {"fisher": self.fisher}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.fisher = dict(state["fisher"])


def merged(
    variant: str, former: Mapping[str, Tensor], measured: Mapping[str, Tensor], num_former: int
) -> dict[str, Tensor]:
    """The F to keep: that of the last step ("citb"), the sum ("trace"), the mean over the steps ("running").

    `former` is what was kept after `num_former` steps.
    """
    if variant == "citb" or num_former == 0:
        return dict(measured)
    if variant == "trace":
        return {name: former[name] + value for name, value in measured.items()}
    return {name: (num_former * former[name] + value) / (num_former + 1) for name, value in measured.items()}
