"""Formulas on tensors: log-probabilities, cross-entropy, Jensen-Shannon divergence. No model, no config.

Shape letters: N response tokens of a batch, M those of its masked twins, V vocabulary, E examples.
Everything is computed in float32 or wider.
"""

import math

import torch
from torch import Tensor

MOST_LOG_RATIO = 80.0
"""log(p_b / p_a) above which p_a is nothing beside p_b, and exp of it still a number in float32."""


def token_log_probs(logits: Tensor, target: Tensor) -> Tensor:
    """log p of each response token, [N] in nats, at most 0, from logits [N, V] and ids [N]."""
    logits = _wide(logits)
    chosen = logits.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return chosen - logits.logsumexp(-1)


def cross_entropy_sum(logits: Tensor, target: Tensor) -> Tensor:
    """Minus the sum of log p over the response tokens, a scalar in nats; 0 for no tokens.

    docs/method.md, section 6, first term; the training loop divides by the number of tokens.
    """
    return -token_log_probs(logits, target).sum()


def cross_entropy_slopes(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """log p of each response token, [N], and the gradient of minus log p at the logits, [N, V].

    From logits [N, V] and ids [N]. No graph is made.
    """
    log_probs = _wide(logits.detach()).log_softmax(-1)
    chosen = log_probs.gather(-1, target.unsqueeze(-1))
    slopes = log_probs.exp_()
    return chosen.squeeze(-1), slopes.scatter_add_(-1, target.unsqueeze(-1), -torch.ones_like(chosen))


def jsd(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats at each token, [M], within [0, ln 2].

    Both inputs are finite logits [M, V] for the same response tokens. Gradients reach both sides; the
    caller detaches. docs/method.md, section 6, second term; Lin (1991), eq. 4.1 with equal weights.
    """
    log_a, log_b = _wide(logits_a).log_softmax(-1), _wide(logits_b).log_softmax(-1)
    log_mean = torch.logaddexp(log_a, log_b) - torch.log(
        torch.tensor(2.0, dtype=log_a.dtype, device=log_a.device)
    )
    to_mean_a = (log_a.exp() * (log_a - log_mean)).sum(-1)
    to_mean_b = (log_b.exp() * (log_b - log_mean)).sum(-1)
    return (0.5 * (to_mean_a + to_mean_b)).clamp(min=0.0)


def jsd_slopes(logits_a: Tensor, logits_b: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`jsd` at each token, [M], log p_a of the targets, [M], and the gradient of `jsd` at `logits_a`, [M, V].

    From finite logits [M, V] both and ids [M]. No graph is made. With m the mean of p_a and p_b, the gradient
    is 1/2 · p_a · (log(p_a / m) - KL(p_a || m)); on itself the divergence and its gradient are exactly 0.
    """
    log_a, log_b = (_wide(logits.detach()).log_softmax(-1) for logits in (logits_a, logits_b))
    chosen = log_a.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    # m is never formed: log(p_a / m) = -log(1 + (p_b / p_a - 1) / 2) keeps its digits where both are alike.
    above_b = (log_b - log_a).clamp_(max=MOST_LOG_RATIO)
    above_a = torch.expm1(above_b).mul_(0.5).log1p_().neg_()
    above_b += above_a
    to_mean_b = log_b.exp_().mul_(above_b).sum(-1)
    prob_a = log_a.exp_()
    to_mean_a = torch.mul(prob_a, above_a, out=above_b).sum(-1)
    slopes = prob_a.mul_(above_a.sub_(to_mean_a.unsqueeze(-1))).mul_(0.5)
    return (0.5 * (to_mean_a + to_mean_b)).clamp(min=0.0), chosen, slopes


def distillation(logits: Tensor, reference: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(reference / T) || softmax(logits / T)) at each token, [N] in nats, from [N, V] both.

    Gradients reach both sides; the caller detaches. 0 on itself, with gradient 0. Hinton et al. (2015),
    section 2: T² keeps the size of the gradient whatever T is.
    """
    target = (_wide(reference) / temperature).log_softmax(-1)
    current = (_wide(logits) / temperature).log_softmax(-1)
    return temperature**2 * (target.exp() * (target - current)).sum(-1)


def mixed_divergence(logits: Tensor, reference: Tensor, share: float) -> Tensor:
    """(1 - a) · KL(p || m) + a · KL(q || m) at each token, [N] in nats, at least 0, from logits [N, V] both.

    p is of `logits`, q of `reference`, m = (1 - a) · p + a · q with a = `share` inside (0, 1). At its ends
    these are 0, and what stands for them is KL(q || p) at 0 and KL(p || q) at 1. Gradients reach `logits`
    only. 0 on itself, with gradient 0. As TRL 1.16 has it (`sdft/loss_utils.py`, `compute_divergence`).
    """
    log_p, log_q = _wide(logits).log_softmax(-1), _wide(reference.detach()).log_softmax(-1)
    if share == 0:
        return _kl(log_q, log_p)
    if share == 1:
        return _kl(log_p, log_q)
    log_mixed = torch.logaddexp(log_p + math.log1p(-share), log_q + math.log(share))
    return (1 - share) * _kl(log_p, log_mixed) + share * _kl(log_q, log_mixed)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) at each token, [N] in nats, from log-probabilities [N, V] both; gradients reach both."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def top_log_probs(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities over k + 1 classes at each token, [N, k + 1] in nats, from [N, V] and ids [N, k].

    The first k are those of `ids`, distinct in each row and in their order; the last class is all other ids
    together. Where there are none (k = V), it has the lowest finite number, whose probability is exactly 0.
    """
    log_probs = _wide(logits).log_softmax(-1)
    rest = log_probs.scatter(-1, ids, torch.finfo(log_probs.dtype).min).logsumexp(-1, keepdim=True)
    return torch.cat([log_probs.gather(-1, ids), rest], dim=-1)


def kl(reference: Tensor, log_probs: Tensor) -> Tensor:
    """KL(reference || now) at each token, [N] in nats, at least 0, from finite log-probabilities [N, C] both.

    Gradients reach `log_probs` only. 0 on itself, with gradient 0 where these come from logits. Over the
    classes of `top_log_probs` it is at most the KL over the vocabulary, and equal to it at k = V.
    """
    reference = _wide(reference.detach())
    return (reference.exp() * (reference - _wide(log_probs))).sum(-1).clamp(min=0.0)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the predicted distribution at each token, [N] in nats, within [0, ln V]; finite logits."""
    log_probs = _wide(logits).log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


def uniform_divergence(logits: Tensor) -> Tensor:
    """KL(p || uniform) = ln V - H(p) at each token, [N] in nats, within [0, ln V]; 0 where p is uniform.

    CPR's regulariser (Cha et al., ICLR 2021); its released code subtracts H(p), which differs by ln V.
    """
    return math.log(logits.shape[-1]) - entropy(logits)


def mean_by_example(values: Tensor, example: Tensor, num_examples: int) -> Tensor:
    """Mean over the tokens of each example, [E], from values [N] and example numbers [N]."""
    total = values.new_zeros(num_examples).index_add(0, example, values)
    count = values.new_zeros(num_examples).index_add(0, example, torch.ones_like(values))
    return total / count.clamp(min=1.0)


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
