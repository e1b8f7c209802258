"""Losses of hidden states: logits are made a few tokens at a time and are gone when the next are made.

So neither the logits of all tokens nor their gradient are ever in memory at once. A loss gets its gradient on
the way forward, beside its value. Shape letters: N tokens of all terms together, n those of a part, V
vocabulary, D hidden size. Sums are float32 or wider.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from kpig.model import portions
from kpig.model.head import Head
from kpig.model.objective import cross_entropy_slopes, jsd_slopes


class Found(NamedTuple):
    """What a term is at some tokens: its values [n], log p of the targets [n], d value / d logits [n, V]."""

    values: Tensor
    log_probs: Tensor
    slopes: Tensor


class Term(Protocol):
    """One term of a loss, over tokens of its own."""

    @property
    def target(self) -> Tensor:
        """The ids of its tokens."""

    def total(self, values: Tensor) -> Tensor:
        """The term of the loss, a scalar, from its values at all of its tokens."""

    def cast(self, dtype: torch.dtype) -> "Term":
        """The same with its products in another dtype."""

    def beside(self, part: slice, out: Tensor) -> Tensor | None:
        """What the head of a reference makes at some of the tokens, written to `out`; None without one."""

    def found(self, logits: Tensor, beside: Tensor | None, part: slice) -> Found:
        """What the term is at some of the tokens, from the model's logits and what stands beside them."""


@dataclass(frozen=True)
class CrossEntropy:
    """Minus log p of each target."""

    target: Tensor

    def total(self, values: Tensor) -> Tensor:
        """Their sum."""
        return values.sum()

    def cast(self, dtype: torch.dtype) -> "CrossEntropy":
        """Itself."""
        return self

    def beside(self, part: slice, out: Tensor) -> None:
        """There is no reference."""

    def found(self, logits: Tensor, beside: Tensor | None, part: slice) -> Found:
        """Values are minus log p."""
        log_probs, slopes = cross_entropy_slopes(logits, self.target[part])
        return Found(-log_probs, log_probs, slopes)


@dataclass(frozen=True)
class Divergence:
    """The Jensen-Shannon divergence from a reference at each token, times the token's weight.

    `states` are the reference's hidden states [n, D], and `head` makes its logits of them.
    """

    target: Tensor
    states: Tensor
    head: Head
    weight: Tensor

    def total(self, values: Tensor) -> Tensor:
        """Their sum, weighted."""
        return (self.weight * values).sum()

    def cast(self, dtype: torch.dtype) -> "Divergence":
        """The same with the reference's logits in another dtype."""
        return replace(self, states=self.states.to(dtype), head=self.head.cast(dtype))

    def beside(self, part: slice, out: Tensor) -> Tensor:
        """Of the reference, before scale and cap."""
        return self.head.product(self.states[part], out)

    def found(self, logits: Tensor, beside: Tensor | None, part: slice) -> Found:
        """Values are without the weights, slopes with them."""
        assert beside is not None
        divergence, log_probs, slopes = jsd_slopes(logits, self.head.finished(beside), self.target[part])
        return Found(divergence, log_probs, slopes.mul_(self.weight[part].unsqueeze(-1)))


class Summed(NamedTuple):
    """`total`, the sum of all terms, has the gradient; `values` and `log_probs` [N] have none.

    Values are without the weights. Tokens come in the order of the terms.
    """

    total: Tensor
    values: Tensor
    log_probs: Tensor


def summed(states: Tensor, head: Head, terms: Sequence[Term]) -> Summed:
    """The sum of terms over hidden states [N, D], those of the first term first.

    Gradients reach the states and the head, and can be asked for once. Under autocast the products are in its
    dtype, as those of the model are.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Summed.apply(states, head.weight, head.bias, head, terms)  # type: ignore[no-untyped-call]
    return Summed(*found)


class _Summed(torch.autograd.Function):
    """The sum with its gradient, which is known before it is asked for: the backward pass only scales it."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, head: Head, terms: Sequence[Term]
    ) -> tuple[Tensor, Tensor, Tensor]:
        dtype = _dtype(weight)
        with torch.autocast(states.device.type, enabled=False):
            walk = _Walk(states.to(dtype), head.cast(dtype), *ctx.needs_input_grad[1:3])
            totals = [walk.along(term.cast(dtype), place) for term, place in _placed(terms)]
        ctx.gradients = (walk.d_states.to(states.dtype), walk.d_weight, walk.d_bias)
        ctx.dtype = weight.dtype
        ctx.mark_non_differentiable(walk.values, walk.log_probs)
        return torch.stack(totals).sum(), walk.values, walk.log_probs

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients are given away: a second copy of the head's would be as large as its weights."""
        if ctx.gradients is None:
            raise RuntimeError("the gradient of this loss was asked for twice; compute the loss again")
        (states, *head), ctx.gradients = ctx.gradients, None
        return (
            states * slope,
            *(one if one is None else one.mul_(slope).to(ctx.dtype) for one in head),
            None,
            None,
        )


class _Walk:
    """Goes over the hidden states once, and gathers what terms are at each token and the gradients.

    `values` and `log_probs` [N], `d_states` [N, D], `d_weight` [V, D], `d_bias` [V]. All room is taken at the
    beginning: between tensors that come and go, small ones that stay would leave holes.
    """

    def __init__(self, states: Tensor, head: Head, to_weight: bool, to_bias: bool):
        self.states, self.head = states, head
        wide = torch.promote_types(states.dtype, torch.float32)
        self.values, self.log_probs = (states.new_empty(len(states), dtype=wide) for _ in range(2))
        self.d_states = torch.empty_like(states)
        self.d_weight = torch.zeros_like(head.weight, dtype=wide) if to_weight else None
        self.d_bias = torch.zeros_like(head.bias, dtype=wide) if to_bias and head.bias is not None else None
        num_rows = min(len(states), self._rows(portions.LOGITS))
        self._own, self._beside = (states.new_empty(num_rows, len(head.weight)) for _ in range(2))

    def along(self, term: Term, start: int) -> Tensor:
        """The total of a term whose hidden states begin at `start`."""
        for part in _slices(len(term.target), self._rows(portions.LOGITS)):
            at = slice(start + part.start, start + part.stop)
            states = self.states[at]
            slopes = self.head.product(states, self._own[: len(states)])
            self._make_slopes(term, part, start, slopes)
            self.d_states[at] = slopes @ self.head.weight
            if self.d_weight is not None:
                _add_product(self.d_weight, slopes.T, states)
            if self.d_bias is not None:
                self.d_bias += slopes.sum(0, dtype=self.d_bias.dtype)
        return term.total(self.values[start : start + len(term.target)])

    def _make_slopes(self, term: Term, part: slice, start: int, product: Tensor) -> None:
        """Take a term at a part of its tokens; products with the head become the slopes there, in place."""
        beside = term.beside(part, self._beside[: len(product)])
        at_once = portions.logits_of_a_formula(product.device)
        for few in _slices(len(product), self._rows(at_once)):
            of_term = slice(part.start + few.start, part.start + few.stop)
            logits = self.head.finished(product[few])
            found = term.found(logits, None if beside is None else beside[few], of_term)
            at = slice(start + of_term.start, start + of_term.stop)
            self.values[at], self.log_probs[at] = found.values, found.log_probs
            product[few] = self.head.slopes(logits, found.slopes)

    def _rows(self, num_logits: int) -> int:
        return max(1, num_logits // self.head.weight.shape[0])


def _dtype(weight: Tensor) -> torch.dtype:
    """The dtype of the model's own products."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _placed(terms: Sequence[Term]) -> Iterator[tuple[Term, int]]:
    """Each term with the number of tokens before it."""
    start = 0
    for term in terms:
        yield term, start
        start += len(term.target)


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _add_product(total: Tensor, one: Tensor, other: Tensor) -> None:
    """Add a matrix product in place; the sum may be wider than the factors."""
    if total.dtype == one.dtype:
        total.addmm_(one, other)
    else:
        total += one @ other
