"""Examples that may be chosen to learn from: their gradient's vector and four scores of each.

Shape letters: P examples, D size of a vector.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kpig import ranks
from kpig.config import TrainSection
from kpig.errors import ModelError
from kpig.methods.parts.gradient import wide
from kpig.model import gain
from kpig.model.generation import NOT_FINITE
from kpig.model.learner import Learner
from kpig.model.objective import cross_entropy_slopes, cross_entropy_sum, token_log_probs
from kpig.records import Example

VECTOR_SIZE = 1024
"""D. Chosen: cosines of gradients that are unlike come out within 0.03, those that are alike much nearer."""

MOST_LOG_GAIN = 700.0
"""Nats whose exp is still a number in float64."""

LAYER = re.compile(r"\.(\d+)\.")
"""The number of a layer in the name of a weight."""

SCORES = ("log_perplexity", "el2n", "gradient_norm", "grounding")


@dataclass(frozen=True)
class Candidates:
    """What was read of P examples: vectors [P, D] and, by the names of SCORES, finite values [P]."""

    vectors: np.ndarray
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Read:
    """What one pass with gradient tells of an example."""

    vector: np.ndarray
    log_perplexity: float
    el2n: float
    gradient_norm: float
    grounding: float


def read(
    learner: Learner,
    examples: Sequence[Example],
    settings: TrainSection,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> Candidates:
    """The vectors and scores of one example or more, under the instructions that they carry.

    `log_perplexity` is the mean cross-entropy of an example's response tokens in nats, `gradient_norm` the
    length of its gradient over all trainable weights, `el2n` the mean over tokens of the length of p minus
    the one-hot target (Paul et al. 2021), `grounding` exp(log gain): the perplexity without key parts over
    that with them, exactly 1 for an example without any. A vector is the gradient at the middle layer's
    weights, `sketched`. One pass with gradient for each example and one without for its masked twin, in
    evaluation mode and alone, so that its numbers hang on no other one. Processes that share a job read a
    part each. `advance` is told how many more have been read. Raises ModelError for a number that
    is not finite.
    """
    signs = _signs(learner, seed)
    settings = settings.model_copy(update={"row_tokens": 0})

    def found(own: list[int]) -> dict[int, _Read]:
        return {number: _of_example(learner, examples[number], settings, signs, advance) for number in own}

    sizes = [one.num_tokens for one in learner.encoder.encode_all(examples)]
    with learner.evaluating():
        every = ranks.in_order(learner.divided(sizes, found))
    scores = {name: np.array([getattr(one, name) for one in every]) for name in SCORES}
    return Candidates(np.stack([one.vector for one in every]).astype(np.float64), scores)


def middle_layer(names: Iterable[str]) -> list[str]:
    """The weights of the middle one of the layers that names tell of; all of them where they tell of none."""
    layers = {name: int(found[1]) for name in names if (found := LAYER.search(name))}
    numbers = sorted(set(layers.values()))
    return [name for name in names if not numbers or layers.get(name) == numbers[len(numbers) // 2]]


def sketched(gradients: Mapping[str, Tensor], signs: Mapping[str, Tensor]) -> Tensor:
    """[VECTOR_SIZE] in float32: the gradients under random `signs`, in pieces that are laid on each other.

    Inner products and lengths stay the same on average over the signs, and exactly where there are no more
    entries than VECTOR_SIZE. Every entry of a sketch is a sum of its own entries of the gradient (count
    sketch, Charikar et al. 2002); the released code projects with a dense random matrix.
    """
    flat = torch.cat([wide(gradients[name]).flatten() * sign for name, sign in signs.items()])
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % VECTOR_SIZE))
    return padded.view(-1, VECTOR_SIZE).sum(0)


def _signs(learner: Learner, seed: int) -> dict[str, Tensor]:
    """One sign for each weight of the middle layer, the same for the same seed on every device."""
    generator = torch.Generator().manual_seed(seed)
    weights = learner.parameters()
    return {
        name: (
            torch.randint(0, 2, (weights[name].numel(),), generator=generator, dtype=torch.int8) * 2 - 1
        ).to(learner.device)
        for name in middle_layer(list(weights))
    }


def _of_example(
    learner: Learner,
    example: Example,
    settings: TrainSection,
    signs: Mapping[str, Tensor],
    advance: Callable[[int], None],
) -> _Read:
    (batch,) = learner.training_batches([example], settings, twins=True)
    logits = learner.response_logits(batch.rows)
    loss = cross_entropy_sum(logits, batch.rows.target) / batch.num_tokens
    weights = learner.parameters()
    parts = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    gradients = {
        name: torch.zeros_like(weights[name]) if part is None else part
        for name, part in zip(weights, parts, strict=True)
    }
    log_probs, errors = cross_entropy_slopes(logits, batch.rows.target)  # p less the one-hot target
    if batch.twins is not None:
        masked = token_log_probs(learner.forward_logits(batch.twins), batch.twins.target)
        log_probs = torch.cat([log_probs, masked])
    (own,) = gain.of_batch(batch, log_probs)
    found = _Read(
        vector=sketched(gradients, signs).cpu().numpy(),
        log_perplexity=float(loss.detach()),
        el2n=float(errors.norm(dim=-1).mean()),
        gradient_norm=math.sqrt(math.fsum(float(wide(one).square().sum()) for one in gradients.values())),
        grounding=math.exp(min(own.log, MOST_LOG_GAIN)),
    )
    if not all(math.isfinite(getattr(found, name)) for name in SCORES):
        raise ModelError(
            f"the gradient of task {example.task!r}, example {example.id!r}, is not finite: {NOT_FINITE}"
        )
    advance(1)
    return found
