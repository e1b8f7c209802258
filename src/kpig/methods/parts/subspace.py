"""PEFT's orthogonal subspace layers on a plain model: put on, held to their directions, merged again."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft import OSFConfig
from peft.tuners.osf.layer import Linear, OSFLayer
from peft.tuners.osf.model import OSFModel
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from kpig.errors import ConfigError, clause

NAME = "default"
"""PEFT's name of the one adapter on a model."""


class _OnConv1D(Linear):
    """PEFT's layer on GPT-2's Conv1D, whose weight is [in, out] and so are the factors of its change."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        now: Any = self.osf_svd_params[NAME]
        scaled = x.to(now["U_low"].dtype) @ now["U_low"] * now["S_low"]
        before = x.to(now["U_low"].dtype) @ self._osf_U_low_init[NAME] * self._osf_S_low_init[NAME]
        change: Tensor = scaled @ now["V_low"] - before @ self._osf_V_low_init[NAME]
        return result + change.to(result.dtype)


class _Model(OSFModel):
    """PEFT's tuner, which passes over every layer that is no nn.Linear, with layers for Conv1D too."""

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if not isinstance(target, nn.Linear | Conv1D) or min(target.weight.shape) < 2:
            return
        rank = num_preserved(target.weight.shape, peft_config.effective_rank or 0)
        kind = Linear if isinstance(target, nn.Linear) else _OnConv1D
        made = kind(target, adapter_name, config=peft_config, effective_rank=rank)
        self._replace_module(parent, target_name, made, target)


def num_preserved(shape: Sequence[int], share: float) -> int:
    """How many leading directions of a matrix a share is: at least one, and one is left to learn."""
    smaller = min(shape)
    return max(1, min(smaller - 1, int(smaller * share)))


def put_on(model: Any, share: float, targets: Sequence[str]) -> OSFModel:
    """Layers on the linear layers of a transformers model, in place; only their factors are trainable then.

    `share` of each one's directions is preserved (`num_preserved`). A matrix of one direction stays as it
    is. Raises ConfigError where no layer is called so, or none is linear.
    """
    named = list(targets) if targets else "all-linear"
    try:
        tuner = _Model(model, {NAME: OSFConfig(effective_rank=share, target_modules=named)}, NAME)
    except ValueError as error:
        raise ConfigError(
            f"[method] osf finds no layer to learn in: {clause(error)}. Change method.osf.targets"
        ) from error
    if not any(True for _ in _layers(tuner)):
        raise ConfigError(
            f"[method] osf learns in linear layers, and none of {named} is one; change method.osf.targets"
        )
    return tuner


def take_off(tuner: OSFModel) -> None:
    """Merge what the layers have learned into the plain weights, and put the plain layers back."""
    tuner.merge_and_unload()


@torch.no_grad()
def hold(tuner: OSFModel) -> None:
    """Take what lies in preserved directions out of the trained factors, as PEFT does of gradients."""
    for layer in _layers(tuner):
        factors: Any = layer.osf_svd_params[NAME]
        left, right = factors["U_low"], factors["V_low"]
        left.copy_(_outside(left, _known(layer._osf_U_high), layer._osf_U_low_init[NAME]))
        high = _known(layer._osf_V_high)
        right.copy_(_outside(right.T, None if high is None else high.T, layer._osf_V_low_init[NAME].T).T)


def _layers(tuner: OSFModel) -> Iterator[OSFLayer]:
    return (one for one in tuner.model.modules() if isinstance(one, OSFLayer))


def _known(preserved: Any) -> Tensor | None:
    """Preserved directions, which PEFT keeps only where they do not follow from the others."""
    return dict(preserved).get(NAME)


def _outside(vectors: Tensor, preserved: Tensor | None, free: Tensor) -> Tensor:
    """What of some vectors [n, r] lies outside preserved directions [n, k], or else in free ones [n, r]."""
    wide = vectors.float()
    if preserved is None:
        return free.float() @ (free.float().T @ wide)
    return wide - preserved.float() @ (preserved.float().T @ wide)
