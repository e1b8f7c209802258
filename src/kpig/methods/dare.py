"""DARE: drop a random part of what a step changed in the weights, rescale the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kpig.config import RunConfig
from kpig.errors import ConfigError
from kpig.methods.base import Method, Settings, Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kpig.model.learner import Learner, Weights


class DareSettings(Settings):
    """DARE (Yu et al., 2023): drop and rescale what tuning changed."""

    drop: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, description="probability that an entry is dropped (p)"
    )
    reference: Literal["previous", "initial"] = Field(
        "previous",
        description="what the change is counted from: the weights at the step's start, or the starting model",
    )


class Dare(Method):
    """DARE (Yu et al., 2311.03099): δ = θ_t − θ_ref; drop entries of δ, rescale the others by 1/(1 − p).

    After the step, θ = θ_ref + m ⊙ δ / (1 − p) with independent m ~ Bernoulli(1 − p) for every entry of
    every trainable weight: in expectation nothing changes. Formula and random mask are those of the
    released code (yule-BUAA/MergeLM, `mask_input_with_mask_rate`, `use_weight_rescale`).

    θ_ref is the starting model in the paper, which has no stream. Here the default is the step's start:
    every task's change is then thinned once, and θ_T = θ_0 + Σ_t δ'_t is DARE merging by task arithmetic
    (scale 1). Against the starting model an old task's change would be thinned again at every step: its
    entries survive t steps with chance (1 − p)^t, 1/(1 − p)^t times as large.

    With LoRA only B is thinned; A is left alone, so E[B'A] = E[B']A and nothing changes in expectation. With
    `reference = "initial"`, where B starts at 0, that thins the whole change. "previous" thins (B − B_ref)A
    and, from the second step on, keeps B_ref(A − A_ref), what A's own change makes of the earlier B, as it
    is.
    """

    Settings = DareSettings
    settings: DareSettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.needs_initial = self.settings.reference == "initial"
        self._reference: Weights | None = None

    def begin_step(self, step: Step, learner: Learner) -> Step:
        import torch

        _refuse_lora_on_embeddings(learner)
        if self.settings.reference == "previous":
            self._reference = learner.weights()
        elif learner.is_adapter and learner.initial is None:
            self._reference = {name: torch.zeros_like(one) for name, one in learner.parameters().items()}
        else:
            self._reference = learner.initial
        return step

    def end_step(self, step: Step, learner: Learner) -> None:
        reference, self._reference = self._reference, None
        if self.settings.drop == 0:
            return
        assert reference is not None, "begin_step comes first, and needs_initial keeps the weights"
        weights = learner.weights()
        thinned = {
            name: drop_and_rescale(
                weight, reference[name], self.settings.drop, self._generator(step.number, name)
            )
            for name, weight in weights.items()
            if not learner.is_adapter or ".lora_B." in name
        }
        learner.load_weights(weights | thinned)

    def _generator(self, step: int, name: str) -> torch.Generator:
        """Chance of its own for each step and weight, on the CPU, so that every device draws the same."""
        import torch

        seed = self.rng(f"dare/{step}/{name}").getrandbits(63)
        return torch.Generator().manual_seed(seed)


def _refuse_lora_on_embeddings(learner: Learner) -> None:
    """Such adapters start with A at 0, not B, and would not be thinned at all."""
    found = [name for name in learner.parameters() if "lora_embedding" in name]
    if found:
        raise ConfigError(
            f"[method] dare thins LoRA on linear layers only, and {found[0]} is none; "
            "change model.lora_targets"
        )


def drop_and_rescale(weight: Tensor, reference: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """reference + m ⊙ (weight − reference) / (1 − drop), m = 0 with chance `drop`; in float32 or wider.

    Entries that are dropped equal the reference exactly. The generator is one of the CPU.
    """
    import torch

    kept = (torch.rand(weight.shape, generator=generator) >= drop).to(weight.device)
    wide = torch.promote_types(weight.dtype, torch.float32)
    base = reference.to(wide)
    return torch.where(kept, base + (weight.to(wide) - base) / (1 - drop), base).to(weight.dtype)
