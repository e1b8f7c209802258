"""The gradient of the loss on chosen examples, and the projection of another gradient on it."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from kpig import ranks
from kpig.config import TrainSection
from kpig.model.learner import Learner
from kpig.model.objective import cross_entropy_sum
from kpig.records import Example


def mean_gradient(learner: Learner, examples: Sequence[Example], settings: TrainSection) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy per response token over all examples, by trainable parameter.

    In float32 or wider; zeros where a parameter has no part in it. The parameters' own `.grad` stays as it
    is, the mode of the model (dropout) too, and the tokens are counted as training tokens. Processes that
    share a job read a part each and have the whole.
    """
    batches = learner.training_batches(examples, settings)
    num_tokens = max(1, sum(batch.num_tokens for batch in batches))
    parameters = learner.parameters()
    total = {name: torch.zeros_like(wide(weight.detach())) for name, weight in parameters.items()}

    def add(own: list[int]) -> None:
        for batch in (batches[number] for number in own):
            logits = learner.response_logits(batch.rows)
            loss = cross_entropy_sum(logits, batch.rows.target) / num_tokens
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    total[name] += wide(gradient)

    learner.divided([batch.rows.num_computed for batch in batches], add)
    return ranks.summed(total, learner.device)


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it is so already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@torch.no_grad()
def project(parameters: Mapping[str, torch.nn.Parameter], reference: Mapping[str, Tensor]) -> None:
    """Remove from the parameters' `.grad`, all taken as one vector, what goes against `reference`.

    Nothing changes where their inner product is not negative.
    """
    held = {name: weight.grad for name, weight in parameters.items() if weight.grad is not None}
    product = _inner((gradient, reference[name]) for name, gradient in held.items())
    if product >= 0:
        return
    share = product / _inner((one, one) for one in reference.values())
    for name, weight in parameters.items():
        against = share * reference[name]
        weight.grad = held[name].sub_(against) if name in held else -against.to(weight.dtype)


def _inner(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    return sum(float(torch.dot(wide(one).flatten(), wide(other).flatten())) for one, other in pairs)
