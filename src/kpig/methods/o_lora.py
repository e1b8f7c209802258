"""O-LoRA: every step learns in low-rank directions of its own, orthogonal to those of earlier steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import CountOrAll, Weight
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Method, Settings, Step
from kpig.model.folder import is_adapter, resolve
from kpig.records import Task

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.learner import Learner


class OLoraSettings(Settings):
    """O-LoRA (Wang et al., EMNLP Findings 2023); each step gets a block of the LoRA's rows."""

    orthogonality: Weight = Field(0.5, description="λ₁, weight of the overlap with earlier subspaces")
    norm: Weight = Field(0.0, description="λ₂, weight of the norm of the new matrices")
    step_rank: CountOrAll = Field(
        0,
        description="rows of model.lora_rank for each step; 0: lora_rank // steps, which leaves no room for "
        "steps that are not known yet",
    )


class OLora(Method):
    """O-LoRA (Wang et al., 2310.14152): CE + λ₁ Σ |A_old A_newᵀ| + λ₂ Σ ‖·‖₂, one LoRA for each step.

    Per adapted layer: the sum of the absolute entries of A_old A_newᵀ, where A_old stacks the rows of all
    earlier steps, and the (unsquared) norms of the new A and of the new B; as in the released code
    (cmnfriend/O-LoRA, `UIETrainer.training_step`). Defaults λ₁ = 0.5, λ₂ = 0 are those of its scripts.

    The per-step LoRAs are blocks of one PEFT adapter: of `model.lora_rank` rows of A (columns of B), step
    t has `step_rank` (or lora_rank // steps) and trains no other. Rows that are left over are room for
    further steps. The sum of the blocks' products is the adapter's product, and a block that has not been
    trained has B = 0. PEFT multiplies by lora_alpha / lora_rank: the published rank 8 and alpha 32 mean
    lora_rank = 8 · steps and lora_alpha = 32 · steps.

    Frozen blocks get a gradient of 0; AdamW starts each step without moments and leaves them to the bit
    as they are, but would shrink them with weight decay, which is refused.
    """

    Settings = OLoraSettings
    settings: OLoraSettings

    penalties: ClassVar[Mapping[str, str]] = {"penalty": "method.o_lora.orthogonality"}
    lasting: ClassVar[frozenset[str]] = frozenset({"step_rank"})

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if config.model.adapter != "lora":
            raise ConfigError(
                '[method] o_lora trains LoRA matrices; set model.adapter = "lora" (now "none"), with a '
                "model.lora_rank of at least the number of steps"
            )
        if is_adapter(resolve(config.model.path)):
            raise ConfigError(
                f"[method] o_lora gives each step rows of a fresh LoRA, and model.path = {config.model.path} "
                "is an adapter whose rows are taken; start from a whole model"
            )
        if config.train.weight_decay > 0:
            raise ConfigError(
                "[method] o_lora keeps what earlier steps learned; train.weight_decay = "
                f"{config.train.weight_decay} would shrink it: set it to 0"
            )
        self._size = 0
        self._step = 0

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        """The size of a block is fixed when the first stream is seen; a longer one has to fit."""
        rank, num_steps = self.config.model.lora_rank, len(steps)
        self._size = self._size or self.settings.step_rank or rank // num_steps
        if rank < num_steps:
            raise ConfigError(
                f"[method] o_lora splits model.lora_rank = {rank} over {num_steps} steps; set it to at "
                f"least {num_steps} (the published rank of 8 for each step: {8 * num_steps})"
            )
        if rank < self._size * num_steps:
            raise ConfigError(
                f"[method] o_lora has no rows left: {num_steps} steps of {self._size} rows each, and "
                f"model.lora_rank = {rank}. Begin a run that is to go on with a model.lora_rank of at least "
                f"{self._size * num_steps}, and with method.o_lora.step_rank = {self._size}"
            )
        return list(steps)

    def begin_step(self, step: Step, learner: Learner) -> Step:
        if not self._size:
            raise ConfigError("o_lora has to know how many steps there are: call arrange() before any step")
        self._step = step.number
        unknown = [name for name in learner.parameters() if not (".lora_A." in name or ".lora_B." in name)]
        if unknown:
            raise ConfigError(
                f"[method] o_lora trains LoRA on linear layers only, and {unknown[0]} is none; "
                "change model.lora_targets"
            )
        return step

    def penalty(self, learner: Learner) -> Tensor | None:
        """λ₁ Σ |A_old A_newᵀ| + λ₂ Σ (‖A_new‖ + ‖B_new‖) over the adapted layers; None where both are 0."""
        import torch

        terms = []
        for a, b in _pairs(learner):
            own = self._block(a)
            if self.settings.orthogonality and own.start:
                overlap = a[: own.start].detach() @ a[own].T
                terms.append(self.settings.orthogonality * overlap.abs().sum())
            if self.settings.norm:
                norms = torch.linalg.vector_norm(a[own]) + torch.linalg.vector_norm(b[:, own])
                terms.append(self.settings.norm * norms)
        return torch.stack(terms).sum() if terms else None

    def shape_gradients(self, learner: Learner, clock: Clock) -> None:
        for a, b in _pairs(learner):
            if a.grad is None or b.grad is None:
                continue
            own = self._block(a)
            for gradient in (a.grad, b.grad.T):
                gradient[: own.start] = 0
                gradient[own.stop :] = 0

    def _block(self, a: Tensor) -> slice:
        """The rows of A, and columns of B, that belong to the present step."""
        return slice((self._step - 1) * self._size, self._step * self._size)


def _pairs(learner: Learner) -> Iterator[tuple[Tensor, Tensor]]:
    """A [rank, in] and B [out, rank] of every adapted layer."""
    weights = learner.parameters()
    for name, weight in weights.items():
        if ".lora_A." in name:
            yield weight, weights[name.replace(".lora_A.", ".lora_B.")]
