"""KPIG's loss at a batch and its masked twins: without the logits of all tokens, where that is exact."""

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

    `divergence` [M] is without the weights, None where the batch has no twin. `log_probs` [N + M] are those
    of the targets. Both are without gradient.
    """

    total: Tensor
    divergence: Tensor | None
    log_probs: Tensor


def read(batch: Batch, weight: Tensor, reader: Reader, kept: Kept) -> Losses:
    """The pass over a batch and its twins, with a `weight` [M] for each of their tokens.

    The reference is asked through `reader`. Where the model's logits are not known to be those of a matrix,
    all of them are made, and nothing of the reference is kept.
    """
    head, reference_head = reader.learner.head(), reader.learner.reference_head(reader.weights)
    if head is None or reference_head is None:
        return _of_logits(batch, weight, reader)
    states = reader.learner.response_states(batch.both or batch.rows)
    own = CrossEntropy(batch.rows.target)
    if batch.twins is None:
        found = summed(states, head, [own])
        return Losses(found.total, None, found.log_probs)
    reference = reader.states(batch, kept)
    held = Divergence(batch.twins.target, reference, reference_head, weight)
    found = summed(states, head, [own, held])
    return Losses(found.total, found.values[batch.num_tokens :], found.log_probs)


def _of_logits(batch: Batch, weight: Tensor, reader: Reader) -> Losses:
    logits = reader.learner.response_logits(batch.both or batch.rows)
    own, twins = logits[: batch.num_tokens], logits[batch.num_tokens :]
    log_probs = token_log_probs(own, batch.rows.target)
    if batch.twins is None:
        return Losses(-log_probs.sum(), None, log_probs.detach())
    divergence = jsd(twins, reader.learner.reference_logits(batch.twins, reader.weights))
    log_probs = torch.cat([log_probs, token_log_probs(twins.detach(), batch.twins.target)])
    total = (weight * divergence).sum() - log_probs[: batch.num_tokens].sum()
    return Losses(total, divergence.detach(), log_probs.detach())
