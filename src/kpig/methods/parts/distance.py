"""Where a step began, and how far the weights are from there.

Both act on the trainable weights: all of them in full tuning, those of the adapter with LoRA.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from kpig.methods.base import Step
from kpig.methods.parts.gradient import wide
from kpig.model.learner import Learner, Weights


def anchor(step: Step, learner: Learner) -> Weights | None:
    """θ*, the weights that the previous step ended with, when asked as a step begins; None in the first step.

    A resumed step begins with them too.
    """
    return learner.weights() if step.number > 1 else None


def squared_distance(
    weights: Weights, anchor: Weights, importance: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Σ_i F_i (θ_i - θ*_i)² over all entries, F = 1 without `importance`; a scalar in float32 or wider."""
    terms = []
    for name, weight in weights.items():
        square = (wide(weight) - wide(anchor[name])).square()
        terms.append((square if importance is None else importance[name] * square).sum())
    return torch.stack(terms).sum()
