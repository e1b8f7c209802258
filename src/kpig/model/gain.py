"""Key-part information gain of examples and of tasks under a learner (docs/method.md, section 4)."""

import math
import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kpig.config.section import AUTO
from kpig.errors import ModelError
from kpig.model.batch import Batch, Logits
from kpig.model.generation import NOT_FINITE
from kpig.model.learner import Learner
from kpig.model.objective import mean_by_example, token_log_probs
from kpig.model.packing import RowTokens
from kpig.records import Example, Gain


def measure(
    learner: Learner, probes: Mapping[str, Sequence[Example]], row_tokens: RowTokens = AUTO
) -> dict[str, Gain]:
    """Mean gain of each task over its probe examples, with standard errors; seconds go to the ledger.

    With `row_tokens`, probes share rows of up to that many tokens, with "auto" where that costs less and
    changes nothing.
    """
    with learner.ledger.timed("gain_seconds"):
        examples = [example for chosen in probes.values() for example in chosen]
        gains = iter(measure_examples(learner, examples, row_tokens))
        return {task: average([next(gains) for _ in chosen]) for task, chosen in probes.items() if chosen}


def measure_examples(
    learner: Learner, examples: Sequence[Example], row_tokens: RowTokens = AUTO
) -> list[Gain]:
    """The gain of each example, in order; exactly 0 for an example without key parts.

    The learner is in evaluation mode meanwhile. Probabilities are means over the response tokens of the
    first reference, the token that ends it included. Raises ModelError where one is no finite number.
    """
    found = learner.per_example(examples, _gains, twins=True, row_tokens=row_tokens)
    for example, one in zip(examples, found, strict=True):
        if not all(map(math.isfinite, (one.prob, one.log, one.instructed, one.masked))):
            raise ModelError(
                f"the gain of task {example.task!r}, example {example.id!r}, is not finite: {NOT_FINITE}"
            )
    return found


def average(gains: Sequence[Gain]) -> Gain:
    """The mean gain of a task's probes with its standard error (0 where there is one probe)."""
    count = len(gains)
    columns = {
        name: [getattr(gain, name) for gain in gains] for name in ("prob", "log", "instructed", "masked")
    }
    errors = {
        name: statistics.stdev(columns[name]) / count**0.5 if count > 1 else 0.0 for name in ("prob", "log")
    }
    means = {name: statistics.fmean(values) for name, values in columns.items()}
    annotated = sum(gain.num_annotated for gain in gains)
    return Gain(
        **means,
        prob_error=errors["prob"],
        log_error=errors["log"],
        num_examples=count,
        num_annotated=annotated,
    )


def likelihoods(
    logits: Tensor, target: Tensor, example: Tensor, num_examples: int
) -> list[tuple[float, float]]:
    """Mean p and mean log p, in nats, over the response tokens of each example.

    From logits [N, V], ids [N] and the number of each token's example [N].
    """
    return _means(token_log_probs(logits, target), example, num_examples)


def of_batch(batch: Batch, log_probs: Tensor) -> list[Gain]:
    """The gain of each example of a batch, from log p of its N targets, then of the M of its twins.

    Where the batch has twins of no example, the gains are exactly 0.
    """
    count = len(batch.examples)
    instructed = masked = _means(log_probs[: batch.num_tokens], batch.example, count)
    if len(log_probs) > batch.num_tokens:
        masked = _means(log_probs[batch.num_tokens :], batch.example[batch.twin_of], count)
    return [_gain(*one) for one in zip(batch.examples, instructed, masked, strict=True)]


def _gains(batch: Batch, logits: Logits) -> list[Gain]:
    log_probs = token_log_probs(logits.rows, batch.rows.target)
    if batch.twins is not None and logits.twins is not None:
        log_probs = torch.cat([log_probs, token_log_probs(logits.twins, batch.twins.target)])
    return of_batch(batch, log_probs)


def _means(log_probs: Tensor, example: Tensor, num_examples: int) -> list[tuple[float, float]]:
    """Means of p and log p over the tokens of each example, in float64, for which they go to the CPU."""
    wide = log_probs.detach().cpu().double()
    means = (mean_by_example(values, example.cpu(), num_examples).tolist() for values in (wide.exp(), wide))
    return list(zip(*means, strict=True))


def _gain(example: Example, instructed: tuple[float, float], masked: tuple[float, float]) -> Gain:
    (prob, log), (masked_prob, masked_log) = instructed, masked
    if not example.instruction.key_parts:
        return Gain(0.0, 0.0, prob, prob, num_annotated=0)
    return Gain(prob - masked_prob, log - masked_log, prob, masked_prob)
