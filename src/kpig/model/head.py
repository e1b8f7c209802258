"""The output layer of a model as tensors, for logits of a few tokens at a time: shown on the model at hand.

Shape letters: R rows, L sequence, N tokens, V vocabulary, D hidden size.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kpig.model.rows import Rows, pad

LENGTHS = (3, 8)
"""Tokens of the responses of the proof: few, for it should cost next to nothing. Chosen, not measured."""

ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Largest difference of logits that counts as rounding, as a share of the largest logit. A cap of 30 moves a
logit of 1 by 4e-4, a scale by more."""

COARSE_ROUNDING = 0.02
"""The same for other weights: bfloat16 has 8 bits."""


@dataclass(frozen=True)
class Head:
    """What makes logits of hidden states: `weight` [V, D], `bias` [V], then a scale and a soft cap.

    Logits are cap · tanh(scale · (states · weight + bias) / cap); without a `cap`, what the cap is put on.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None

    def product(self, states: Tensor, out: Tensor | None = None) -> Tensor:
        """[N, V] from hidden states [N, D] of the same dtype, before scale and cap; into `out` if given."""
        if self.bias is None:
            return torch.mm(states, self.weight.T, out=out)
        return torch.addmm(self.bias, states, self.weight.T, out=out)

    def finished(self, product: Tensor) -> Tensor:
        """Logits from what `product` returns; itself where there is neither scale nor cap."""
        scaled = product if self.scale == 1.0 else product * self.scale
        return scaled if self.cap is None else torch.tanh(scaled / self.cap) * self.cap

    def slopes(self, logits: Tensor, slopes: Tensor) -> Tensor:
        """The gradient at `product` from that at the logits, which it overwrites."""
        if self.cap is not None:
            slopes *= 1 - (logits / self.cap).square()
        return slopes if self.scale == 1.0 else slopes.mul_(self.scale)

    def cast(self, dtype: torch.dtype) -> "Head":
        """The same in another dtype."""
        bias = None if self.bias is None else self.bias.detach().to(dtype)
        return replace(self, weight=self.weight.detach().to(dtype), bias=bias)


class OutputLayer:
    """Whether logits of hidden states are a model's own, and the head that makes them.

    `read` is a pass of the model without gradient, over rows such as `few_rows`: for each target the hidden
    state that enters the output layer, and the logits. What was shown once is not shown again.
    """

    def __init__(self, model: Any, read: Callable[[], tuple[Tensor, Tensor]]):
        self._model, self._read = model, read
        self._tail: tuple[float, float | None] | None = None
        self._is_shown = False

    def head(self) -> Head | None:
        """The head with the model's weights; None where it cannot be told what the model's logits are.

        So it is where the layer is more than a matrix, such as one with an adapter on it, or is looked at by
        hooks.
        """
        layer = self._model.get_output_embeddings()
        if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks:
            return None
        if not self._is_shown:
            with torch.autocast(layer.weight.device.type, enabled=False):
                self._tail, self._is_shown = self._found(Head(layer.weight, layer.bias)), True
        return None if self._tail is None else Head(layer.weight, layer.bias, *self._tail)

    def head_with(self, weights: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> Head | None:
        """The head with `weights` in the place of the model's own `parameters`, both by the same names."""
        if (head := self.head()) is None:
            return None
        layer = self._model.get_output_embeddings()
        names = {id(one): name for name, one in parameters.items()}
        weight, bias = names.get(id(layer.weight)), names.get(id(layer.bias))
        return replace(
            head,
            weight=weights[weight] if weight else head.weight,
            bias=weights[bias] if bias else head.bias,
        )

    @torch.no_grad()
    def _found(self, bare: Head) -> tuple[float, float | None] | None:
        """The scale and the cap with which the logits of a few rows come out, of those the config names."""
        states, own = self._read()
        if own.shape[-1] != bare.weight.shape[0] or states.dtype != bare.weight.dtype:
            return None
        product = bare.product(states)
        allowed = float(own.abs().max()) * ROUNDING.get(states.dtype, COARSE_ROUNDING)
        for scale, cap in self._named():
            gap = replace(bare, scale=scale, cap=cap).finished(product) - own
            if float(gap.abs().max()) <= allowed:
                return scale, cap
        return None

    def _named(self) -> Iterator[tuple[float, float | None]]:
        """Scales and caps that may follow the layer: none first, then those in the model's config."""
        config = self._model.config.get_text_config()
        scaling, scale = (getattr(config, name, None) or 1.0 for name in ("logits_scaling", "logit_scale"))
        scales = dict.fromkeys((1.0, 1 / scaling, float(scaling), float(scale)))
        caps = dict.fromkeys((None, getattr(config, "final_logit_softcapping", None)))
        return itertools.product(scales, caps)


def few_rows(ids: Sequence[int], pad_id: int) -> Rows:
    """Two short rows of random ids, the same for the same ids."""
    rng = random.Random(0)
    return pad([(rng.choices(ids, k=2), rng.choices(ids, k=length)) for length in LENGTHS], pad_id)
