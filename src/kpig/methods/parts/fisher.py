"""The diagonal of the empirical Fisher information of a learner's trainable weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kpig import ranks
from kpig.config import TrainSection
from kpig.methods.parts.gradient import mean_gradient, wide
from kpig.model.learner import Learner
from kpig.records import Example


def diagonal_fisher(
    learner: Learner, examples: Sequence[Example], settings: TrainSection
) -> dict[str, Tensor]:
    """F_i = 1/E Σ_e (∂ℓ_e/∂θ_i)², ℓ_e the *mean* log p of example e's response tokens; not negative.

    Kirkpatrick et al. (2017, PNAS), eq. 3, with the responses of the data instead of drawn ones
    ("empirical"). The mean and not the sum over tokens: all three public codes that `ewc` follows square
    gradients of a loss that is a mean over tokens, so their λ stand against that scale, and a long
    response weighs no more than a short one. One backward pass per example, in evaluation mode: no
    dropout, and gradients of different examples cannot cancel before they are squared. Processes that share a
    job take a part of the examples each.
    """
    total = {name: torch.zeros_like(wide(weight.detach())) for name, weight in learner.parameters().items()}

    def add(own: list[int]) -> None:
        for example in (examples[number] for number in own):
            for name, gradient in mean_gradient(learner, [example], settings).items():
                total[name].addcmul_(gradient, gradient)

    with learner.evaluating():
        learner.divided([1] * len(examples), add)
    return {
        name: value / max(1, len(examples)) for name, value in ranks.summed(total, learner.device).items()
    }
