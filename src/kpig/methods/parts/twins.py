"""KPIG's loss at a batch and its masked twins: without the logits of all tokens, where that is exact."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kpig.model.batch import Batch
from kpig.model.kept import Kept, Reader
from kpig.model.objective import jsd, token_log_probs
from kpig.model.projection import CrossEntropy, Divergence, summed


@dataclass(frozen=True)
class Losses:
    """`total` has the gradient: the cross-entropy of N tokens and the weighted divergence of M.

    `divergence` [M] is without the weights, `term` its weighted sum; None where the batch has no twin.
    `log_probs` [N + M] are those of the targets. All three are without gradient.
    """

    total: Tensor
    divergence: Tensor | None
    term: Tensor | None
    log_probs: Tensor


Weights = Tensor | Callable[[Tensor], Tensor]
"""[M], one for each token of the twins; or what makes them of log p of the N targets, then of the M."""


def read(batch: Batch, weights: Weights, reader: Reader, kept: Kept) -> Losses:
    """The pass over a batch and its twins, whose tokens are weighted.

    Weights that are made of log p cost a further product with the head. The reference is asked through
    `reader`. Where the model's logits are not known to be those of a matrix, all of them are made, and
    nothing of the reference is kept.
    """
    head, reference_head = reader.learner.head(), reader.learner.reference_head(reader.weights)
    if head is None or reference_head is None:
        return _of_logits(batch, weights, reader)
    states = reader.learner.response_states(batch.both or batch.rows)
    own = CrossEntropy(batch.rows.target)
    if batch.twins is None:
        found = summed(states, head, [own])
        return Losses(found.total, None, None, found.log_probs)
    reference = reader.states(batch, kept)
    if not isinstance(weights, Tensor):
        with torch.no_grad():
            likely = summed(states.detach(), head, [own, CrossEntropy(batch.twins.target)])
        weights = weights(likely.log_probs)
    held = Divergence(batch.twins.target, reference, reference_head, weights)
    found = summed(states, head, [own, held])
    divergence = found.values[batch.num_tokens :]
    return Losses(found.total, divergence, (weights * divergence).sum(), found.log_probs)


def held(batch: Batch, weights: Weights, reader: Reader, kept: Kept) -> Losses:
    """The pass over the twins of a batch alone, for a method whose own loss reads the originals.

    `total` is the weighted divergence, and `log_probs` [M] are the twins'. The batch has twins, and weights
    that need no log p of originals.
    """
    assert batch.twins is not None and isinstance(weights, Tensor)
    head, reference_head = reader.learner.head(), reader.learner.reference_head(reader.weights)
    if head is None or reference_head is None:
        logits = reader.learner.response_logits(batch.twins)
        divergence = jsd(logits, reader.learner.reference_logits(batch.twins, reader.weights))
        total, log_probs = (weights * divergence).sum(), token_log_probs(logits, batch.twins.target)
        return Losses(total, divergence.detach(), total.detach(), log_probs.detach())
    states = reader.learner.response_states(batch.twins)
    reference = reader.states(batch, kept)
    found = summed(states, head, [Divergence(batch.twins.target, reference, reference_head, weights)])
    return Losses(found.total, found.values, found.total.detach(), found.log_probs)


def _of_logits(batch: Batch, weights: Weights, reader: Reader) -> Losses:
    logits = reader.learner.response_logits(batch.both or batch.rows)
    own, twins = logits[: batch.num_tokens], logits[batch.num_tokens :]
    log_probs = token_log_probs(own, batch.rows.target)
    if batch.twins is None:
        return Losses(-log_probs.sum(), None, None, log_probs.detach())
    divergence = jsd(twins, reader.learner.reference_logits(batch.twins, reader.weights))
    log_probs = torch.cat([log_probs, token_log_probs(twins.detach(), batch.twins.target)])
    if not isinstance(weights, Tensor):
        weights = weights(log_probs.detach())
    term = (weights * divergence).sum()
    total = term - log_probs[: batch.num_tokens].sum()
    return Losses(total, divergence.detach(), term.detach(), log_probs.detach())
