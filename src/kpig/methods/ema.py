"""EMA: the model that a step leaves is a moving average of the trained one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kpig.config import RunConfig
from kpig.methods.base import Clock, Method, Settings, Step
from kpig.methods.parts.upkeep import Matrices, Upkeep

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.learner import Learner


KINDS = ("weights", "gradients")
"""What is kept of the update before, by name."""


class EmaSettings(Settings):
    """Moving average of the weights (Qiao et al., ICML 2025), at a fixed rate or one found each update."""

    decay: Annotated[float, Field(ge=0, lt=1)] | Literal["found"] = Field(
        "found",
        description="β, the share of the former average; 'found': of each weight from its gradients, which "
        "keeps two more copies of the trained weights, in checkpoints too",
    )
    fallback: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="β where the one that is found does not lie between 0 and 1"
    )


class Ema(Method):
    """θ* ← β θ* + (1 − β) θ after every update; the step leaves θ*, and the next one goes on from there.

    Large Continual Instruction Assistant (Qiao et al., ICML 2025, 2410.10868). Its text and the file of its
    code that computes β were not at hand. A detailed summary has: β_t = (L'(θ_t) + 1) / ((θ_t − θ*_{t−1})
    L''(θ_t)), L'' by a quotient of differences, one β for the weights of a layer by the L1 norm, and 0.99
    where that is not between 0 and 1. Where the norms stand is decided here: in place of each factor,

        β = ‖g_t + 1‖ ‖θ_t − θ_{t−1}‖ / (‖θ_t − θ*_{t−1}‖ ‖g_t − g_{t−1}‖)

    for each weight tensor, g the gradient before clipping. The last weights of a step have no gradient of
    their own and take the β before. The paper's groups of parameters by instruction are not here.

    With LoRA, A and B are averaged each by itself, which is not the average of their product.
    """

    Settings = EmaSettings
    settings: EmaSettings

    shards = True

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.average: dict[str, Tensor] = {}
        self.former: dict[str, dict[str, Tensor]] = {}
        """Those KINDS of the update before, where β is found from them."""
        self.decays: dict[str, float] = {}
        self.num_asked = 0
        self.num_found = 0

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """The average; where β is found, weights and gradient of the update before as well."""
        return Upkeep(wide=3 if self.settings.decay == "found" else 1)

    def begin_step(self, step: Step, learner: Learner) -> Step:
        from kpig.methods.parts.gradient import wide

        self.average = {name: wide(weight) for name, weight in learner.weights().items()}
        self.former, self.decays = {}, {}
        return step

    def shape_gradients(self, learner: Learner, clock: Clock) -> None:
        """The weights as the last update left them join the average; gradients stay as they are."""
        if self.settings.decay == "found":
            self._find(learner)
        if clock.update:
            self._join(learner)

    def measured(self, clock: Clock) -> dict[str, Any]:
        """The mean β of all weight tensors, and the share of them whose own lay between 0 and 1."""
        if not self.decays:
            return {}
        found = [self._is_found(one) for one in self.decays.values()]
        used = [self._used(name) for name in self.decays]
        return {"decay": round(sum(used) / len(used), 6), "decays_found": round(sum(found) / len(found), 6)}

    def end_step(self, step: Step, learner: Learner) -> None:
        self._join(learner)
        learner.load_weights(self.average)
        self.average, self.former, self.decays = {}, {}, {}

    def notes(self) -> list[str]:
        if not self.num_asked:
            return []
        return [
            f"ema: {self.num_found} of the {self.num_asked} rates that were found lay between 0 and 1; the "
            f"others were taken as method.ema.fallback = {self.settings.fallback:g}"
        ]

    def state_dict(self) -> dict[str, Any]:
        counts = {"num_asked": self.num_asked, "num_found": self.num_found}
        former = {kind: dict(tensors) for kind, tensors in self.former.items()}
        return {"averaged": dict(self.average), "former": former, "decays": self.decays, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average, self.decays = dict(state["averaged"]), dict(state["decays"])
        self.former = {key: dict(tensors) for key, tensors in state["former"].items()}
        self.num_asked, self.num_found = state["num_asked"], state["num_found"]

    def _find(self, learner: Learner) -> None:
        """β of every weight from its present and former values; none in a step's first update."""
        self._to(learner)
        if self.former:
            self.decays = {name: self._found(name, one) for name, one in learner.parameters().items()}
            self.num_asked += len(self.decays)
            self.num_found += sum(map(self._is_found, self.decays.values()))
            return
        seen = {name: observed(one) for name, one in learner.parameters().items()}
        self.former = {
            kind: {name: one[number] for name, one in seen.items()} for number, kind in enumerate(KINDS)
        }

    def _found(self, name: str, parameter: Tensor) -> float:
        """β of one weight, whose present values take the place of the former ones: one at a time."""
        present, former = observed(parameter), [self.former[kind][name] for kind in KINDS]
        for kind, one in zip(KINDS, present, strict=True):
            self.former[kind][name] = one
        return found_decay(present[0], former[0], present[1], former[1], self.average[name])

    def _used(self, name: str) -> float:
        if self.settings.decay != "found":
            return self.settings.decay
        found = self.decays.get(name, 0.0)
        return found if self._is_found(found) else self.settings.fallback

    @staticmethod
    def _is_found(decay: float) -> bool:
        return 0 < decay < 1

    def _join(self, learner: Learner) -> None:
        from kpig.methods.parts.gradient import wide

        self._to(learner)
        for name, weight in learner.parameters().items():
            decay = self._used(name)
            self.average[name] = decay * self.average[name] + (1 - decay) * wide(weight.detach())

    def _to(self, learner: Learner) -> None:
        """What was read back from files goes where the weights are, divided as they are."""
        from kpig.model.shards import divided_as

        weights = learner.parameters()
        for table in (self.average, *self.former.values()):
            table.update(
                {name: divided_as(weights[name], one.to(learner.device)) for name, one in table.items()}
            )


def observed(parameter: Tensor) -> tuple[Tensor, Tensor]:
    """A copy of a trainable weight and of its gradient, 0 where it has none; float32 or wider."""
    import torch

    from kpig.methods.parts.gradient import wide

    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    weight, slope = (wide(one.detach()).clone() for one in (parameter, gradient))
    return weight, slope


def found_decay(
    weight: Tensor, former_weight: Tensor, gradient: Tensor, former_gradient: Tensor, average: Tensor
) -> float:
    """β = ‖g + 1‖ ‖θ − θ'‖ / (‖θ − θ*‖ ‖g − g'‖) in L1 norms; 0 where that is no number.

    θ' and g' are weight and gradient one update before, θ* the average that this weight is to join.
    """
    above = _size(gradient + 1) * _size(weight - former_weight)
    below = _size(weight - average) * _size(gradient - former_gradient)
    return above / below if below > 0 else 0.0


def _size(tensor: Tensor) -> float:
    """The L1 norm; of a weight that is divided, in all processes at once, that of the whole one."""
    from kpig.model.shards import whole

    return float(whole(tensor.abs().sum()))
