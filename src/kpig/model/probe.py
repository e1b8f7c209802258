"""Whether a loaded model is a plain causal LM: a few short rows tell it at once, whatever its name.

Two laws must hold for everything that kpig computes with a model: what comes later changes nothing before
it, and rows beside each other, padded to one length, count as each alone.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from kpig.errors import ModelError
from kpig.model.folder import explained
from kpig.model.learner import Learner
from kpig.model.rows import pad
from kpig.model.sharing import plain_ids

LENGTHS = (5, 9, 14)
"""Tokens of the rows: unequal, and few, for they should cost next to nothing. Chosen, not measured."""

SHARE = 0.1
"""The share of what a change of the first token does that still counts as rounding with float32 weights.
Measured on 40 tiny random architectures: a model that sees later tokens is moved by these as much as by the
first or 3 times as much, one that ignores the mask is off by as much or more; the others by 0.007 at most."""

ROUNDING = (1e-5, 1e-2)
"""Differences in log p, in nats, that are rounding with float32 weights whatever the share, and that are not.
Measured as above: 2e-6 at most by later tokens, 5e-5 by padding. The upper one is chosen, not measured."""

COARSE_ROUNDING = 0.3
"""What is rounding with bfloat16 and float16 weights. Measured on the shipped model and small Llama, Qwen 3
and GPT-2: 0 to 0.19 nats; trained models that are none of this kind are off by whole nats."""


def require_causal(learner: Learner, path: str) -> None:
    """Refuse a model that breaks one of the laws, with ModelError. Its tokens are not counted.

    Log-probabilities that are not numbers are refused too.
    """
    with explained(path), learner.ledger.unspent(), learner.evaluating(), torch.no_grad():
        _probe(learner, path)


def require_inside(learner: Learner, path: str) -> None:
    """Refuse an adapter that does not act within the base model, for only what is in there writes answers."""
    with explained(path), learner.ledger.unspent(), learner.evaluating(), torch.no_grad():
        ids = _rows(learner)[-1]
        around, within = (_log_probs(model, ids) for model in (learner.model, learner.model.get_base_model()))
    if _gap(around, within) > ROUNDING[1]:
        raise ModelError(
            f"adapter {path}: it acts outside the model that it belongs to, so that generation would not see "
            "it; give an adapter that changes the model's own layers, such as LoRA"
        )


def _probe(learner: Learner, path: str) -> None:
    rows = _rows(learner)
    model = learner.model
    if model.get_output_embeddings() is None:
        raise ModelError(f"model {path} has no output layer over the vocabulary, so it is no language model")
    alone = [_log_probs(model, ids) for ids in rows]
    if any(bool(one.isnan().any()) for one in alone):
        raise ModelError(
            f"model {path} gives log-probabilities that are not numbers: its weights hold NaN, or "
            "overflow in this "
            'dtype. Copy the weights anew from where they came, or set model.dtype = "float32"'
        )
    longest, half = rows[-1], len(rows[-1]) // 2
    first, later = (
        _log_probs(model, _changed(longest, places)) for places in ([0], range(half, len(longest)))
    )
    allowed = _allowed(model, _gap(first[1:], alone[-1][1:]))
    if not (gap := _gap(later[:half], alone[-1][:half])) <= allowed:
        raise ModelError(
            f"model {path} ({type(model).__name__}) sees later tokens: changing them moves log-probabilities "
            f"before them by {gap:.2g} nats. It is no causal language model; give one that predicts each "
            "token from those before it, such as Llama, Qwen or GPT-2"
        )
    _require_batches(learner, path, rows, torch.cat([one[:-1] for one in alone]), allowed)


def _require_batches(
    learner: Learner, path: str, rows: Sequence[Sequence[int]], alone: Tensor, allowed: float
) -> None:
    """Compare rows alone with the same ones padded: on the right (training) and the left (generation)."""
    pairs = [(ids[:1], ids[1:]) for ids in rows]
    for side in ("right", "left"):
        padded = pad(pairs, learner.pad_id, side).to(learner.device)
        gap = _gap(learner.forward_logits(padded).float().log_softmax(-1), alone)
        if not gap <= allowed:
            raise ModelError(
                f"model {path} ({type(learner.model).__name__}) gives a row other log-probabilities beside "
                f"longer ones, by {gap:.2g} nats where it is padded on the {side}: it ignores the attention "
                "mask, so answers would depend on what else is in a batch. Give a model that heeds it, such "
                "as Llama, Qwen or GPT-2"
            )


def _rows(learner: Learner) -> list[list[int]]:
    """Rows of ids drawn from the first of the embedding, the same for the same vocabulary."""
    rng = random.Random(0)
    known = plain_ids(learner.model, learner.tokenizer, learner.pad_id)
    return [rng.choices(known, k=length) for length in LENGTHS]


def _changed(ids: Sequence[int], places: Sequence[int]) -> list[int]:
    """The row with other ids of its own in some places."""
    others = sorted(set(ids))
    return [
        others[(others.index(one) + 1) % len(others)] if at in places else one for at, one in enumerate(ids)
    ]


def _log_probs(model: torch.nn.Module, ids: Sequence[int]) -> Tensor:
    """Log-probabilities [L, V] of one row as the model itself gives them, in float32."""
    device = next(model.parameters()).device
    logits: Tensor = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False).logits[0]
    return logits.float().log_softmax(-1)


def _gap(one: Tensor, other: Tensor) -> float:
    """The largest difference; 0 where both are the same infinity."""
    return float(torch.where(one == other, torch.zeros_like(one), (one - other).abs()).max())


def _allowed(model: torch.nn.Module, effect: float) -> float:
    """What counts as rounding, in nats, where a change of the first token does `effect`."""
    if next(model.parameters()).dtype != torch.float32:
        return COARSE_ROUNDING
    least, most = ROUNDING
    return min(max(least, SHARE * effect), most)
