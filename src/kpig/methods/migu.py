"""MIGU: update only the output units that answer most strongly to the present data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from kpig import ranks
from kpig.config import RunConfig
from kpig.config.section import AUTO, Share
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Loss, Method, Settings, Step

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers.pytorch_utils import Conv1D

    from kpig.model.batch import Batch
    from kpig.model.learner import Learner


class MiguSettings(Settings):
    """MIGU (Du et al., 2024): update only output units of large magnitude."""

    threshold: Share = Field(0.7, description="share of the output units of a layer that stay as they are")


class Migu(Method):
    """MIGU (Du et al., 2406.17245): gradients reach only the units of largest output magnitude.

    For every linear layer and update, unit i has the magnitude Σ |h_i| over all tokens of the update's
    micro-batches; the gradients of the other units' weights and biases are set to 0. As many units are
    kept as lie at or above the quantile `threshold` of the layer's magnitudes, and the first step is
    trained whole: both as in the released code (wenyudu/MIGU, full tuning). The paper normalises a
    layer's magnitudes by their sum, which changes no ranks, and the code leaves that out.

    Linear layers are those with a trainable weight: the model's own (`nn.Linear` and GPT-2's `Conv1D`),
    or LoRA's A and B, each ranked by its own output. Embeddings, norms and an output layer that shares
    its weight with the embedding are updated as ever; one of its own is ranked over response positions,
    for elsewhere it is not computed. Departures: padding does not count, so that micro-batches and
    padding change nothing; biases are masked like weights (the published models have none).

    Only gradients are masked, as in the released code: AdamW's running mean still moves a unit that had a
    gradient some updates before.
    """

    Settings = MiguSettings
    shares_rows = False
    settings: MiguSettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if config.train.row_tokens not in (0, AUTO):
            raise ConfigError(
                "[method] migu counts every token of every example, and in shared rows some are computed "
                f"once for several; set train.row_tokens = 0 (now {config.train.row_tokens})"
            )
        self.magnitudes: dict[str, Tensor] = {}
        self._is_masking = False

    def begin_step(self, step: Step, learner: Learner) -> Step:
        self._is_masking = step.number > 1
        self.magnitudes = {}
        return step

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        if not self._is_masking:
            return super().loss(learner, batch)
        assert batch.rows.attention_mask.dim() == 2, (
            "examples share rows, so that tokens would count too little"
        )
        with self._watched(learner, batch.rows.attention_mask):
            return super().loss(learner, batch)

    def shape_gradients(self, learner: Learner, clock: Clock) -> None:
        import torch

        layers = linear_layers(learner)
        magnitudes_of_all = ranks.summed(self.magnitudes, learner.device) if self._is_masking else {}
        for name, magnitudes in magnitudes_of_all.items():
            rest = torch.ones_like(magnitudes, dtype=torch.bool)
            rest[magnitudes.topk(num_kept(len(magnitudes), self.settings.threshold)).indices] = False
            for gradient in unit_gradients(layers[name]):
                gradient[rest] = 0
        self.magnitudes = {}

    @contextmanager
    def _watched(self, learner: Learner, mask: Tensor) -> Iterator[None]:
        """Inside the block, linear layers add what they put out to `magnitudes`."""
        with ExitStack() as hooks:
            for name, layer in linear_layers(learner).items():
                handle = layer.register_forward_hook(partial(self._add, name, mask))
                hooks.callback(handle.remove)
            yield

    def _add(
        self, name: str, mask: Tensor, _layer: nn.Module, _arguments: tuple[Any, ...], output: Tensor
    ) -> None:
        size = output.detach().abs().float()
        if size.shape[:-1] == mask.shape:
            size = size * mask.unsqueeze(-1)
        self.magnitudes[name] = self.magnitudes.get(name, 0.0) + size.flatten(0, -2).sum(0)


def linear_layers(learner: Learner) -> dict[str, nn.Linear | Conv1D]:
    """The linear layers whose weight is trained, by name; none that shares it with the input embedding."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    shared = learner.model.get_input_embeddings().weight
    return {
        name: module
        for name, module in learner.model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and module.weight.requires_grad
        and module.weight is not shared
    }


def unit_gradients(layer: nn.Linear | Conv1D) -> Iterator[Tensor]:
    """Views of the gradients of weight and bias, output units first. Conv1D stores them last."""
    from transformers.pytorch_utils import Conv1D

    if layer.weight.grad is not None:
        yield layer.weight.grad.T if isinstance(layer, Conv1D) else layer.weight.grad
    if layer.bias is not None and layer.bias.grad is not None:
        yield layer.bias.grad


def num_kept(num_units: int, threshold: float) -> int:
    """How many of so many different numbers lie at or above their quantile `threshold`; at least 1."""
    return num_units - math.ceil(round(threshold * (num_units - 1), 9))
