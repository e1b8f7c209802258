"""OSF: a step learns in the trailing singular directions of each matrix, and leaves the leading ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Listed, Share, cost
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Method, Settings, Step
from kpig.methods.parts.upkeep import Factors, Matrices, Upkeep
from kpig.records import Example

if TYPE_CHECKING:
    from peft.tuners.osf.model import OSFModel

    from kpig.model.learner import Learner

OLDEST = (0, 21)
"""The PEFT whose layers are known here: earlier ones have none, or keep their factors otherwise."""


class OsfSettings(Settings):
    """Orthogonal subspace fine-tuning (Nayak et al., 2025), by PEFT's own layers."""

    preserved: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.5,
        description="share of a matrix's singular directions, the leading ones, that a step leaves alone",
        json_schema_extra=cost("the fewer, the more memory: a second matrix of the others is kept"),
    )
    growth: Share = Field(
        0.0, description="what is added to `preserved` with each further step, up to all directions but one"
    )
    exact: bool = Field(
        True,
        description="after each update, take out what AdamW put into preserved directions; false: PEFT alone",
    )
    targets: Listed[str] = Field((), description="names of the layers that learn; empty: all linear layers")


class Osf(Method):
    """Orthogonal subspace fine-tuning (Nayak et al., 2504.07097) with PEFT's `OSFModel`.

    When a step begins, each linear layer's weight is decomposed, W = U_high S_high V_high + U_low S_low
    V_low. The step trains U_low, S_low and V_low, whose gradients PEFT projects out of U_high and V_high.
    When it ends, the product is merged: the step's model is a plain one, which the next step decomposes
    anew. So the change of W gives nothing in preserved left directions, and takes nothing from right ones.

    AdamW scales the entries of a projected gradient one by one, which leads back into preserved directions.
    With `exact` the factors are put out of them again before the next update and at the step's end. [D]

    As with PEFT, nothing else is trained: embeddings, norms, biases and the output layer stay as they are.
    """

    Settings = OsfSettings
    settings: OsfSettings

    renames = True
    undivided = (
        "is not one that can do so: it takes whole matrices apart when a step begins, and learns factors "
        "that are not there yet when weights are divided"
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if config.model.adapter == "lora":
            raise ConfigError(
                "[method] osf trains the trailing singular directions of whole matrices, not an adapter "
                'beside them; set model.adapter = "none" (now "lora")'
            )
        if tuple(map(int, version("peft").split(".")[:2])) < OLDEST:
            raise ConfigError(
                f"[method] osf needs peft {'.'.join(map(str, OLDEST))} or later, and {version('peft')} is "
                "installed; run: pip install --upgrade peft"
            )
        self._tuner: OSFModel | None = None
        self._was_trained: dict[str, bool] = {}

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """The factors of all matrices in the first step, which learns in the most directions.

        PEFT keeps those that learn as they were, and the preserved ones of the larger side of a matrix. A
        pass puts both together, and keeps each token's part in them. `targets` are not known here: all learn.
        """
        from kpig.methods.parts.subspace import num_preserved

        found = Counter[str]()
        for (small, large), count in matrices.items():
            if small > 1:
                preserved = num_preserved((small, large), self.settings.preserved)
                free = count * (small - preserved)
                found["trained"] += free * (small + large + 1)
                found["preserved"] += count * preserved * large if small != large else 0
                found["in_pass"] += 2 * free * (small + large)
                found["of_token"] += 2 * free
        kept = found["trained"] + found["preserved"]
        return Upkeep(factors=Factors(found["trained"], kept, found["in_pass"], found["of_token"]))

    def begin_step(self, step: Step, learner: Learner) -> Step:
        from kpig.methods.parts import subspace

        model = learner.model
        self._was_trained = {name: one.requires_grad for name, one in model.named_parameters()}
        preserved = self.settings.preserved + self.settings.growth * (step.number - 1)
        self._tuner = subspace.put_on(model, preserved, self.settings.targets)
        return step

    def current(self, examples: Sequence[Example], clock: Clock, learner: Learner) -> Sequence[Example]:
        """As they are; but here the weights are as the update before left them, and nothing is read yet."""
        if clock.update:
            self._hold()
        return examples

    def end_step(self, step: Step, learner: Learner) -> None:
        from kpig.methods.parts import subspace

        assert self._tuner is not None, "a step begins before it ends"
        self._hold()
        subspace.take_off(self._tuner)
        self._tuner = None
        for name, weight in learner.model.named_parameters():
            weight.requires_grad_(self._was_trained[name])

    def _hold(self) -> None:
        """Put the factors out of the preserved directions, where that is wanted."""
        from kpig.methods.parts import subspace

        if self.settings.exact and self._tuner is not None:
            subspace.hold(self._tuner)
