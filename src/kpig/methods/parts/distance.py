"""How far weights are from others, entry by entry."""

from collections.abc import Mapping

import torch
from torch import Tensor

from kpig.methods.parts.gradient import wide
from kpig.model.learner import Weights


def squared_distance(
    weights: Weights, anchor: Weights, importance: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Σ_i F_i (θ_i - θ*_i)² over all entries, F = 1 without `importance`; a scalar in float32 or wider."""
    terms = []
    for name, weight in weights.items():
        square = (wide(weight) - wide(anchor[name])).square()
        terms.append((square if importance is None else importance[name] * square).sum())
    return torch.stack(terms).sum()
