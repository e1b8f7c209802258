"""Key-part information gain of examples and of tasks under a learner (docs/method.md, section 4)."""

import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kpig.model import portions
from kpig.model.batch import collate, packed_batches, token_batches
from kpig.model.encoding import Encoded
from kpig.model.learner import Learner
from kpig.model.objective import mean_by_example, token_log_probs
from kpig.model.rows import Rows
from kpig.records import Example, Gain


def measure(
    learner: Learner, probes: Mapping[str, Sequence[Example]], row_tokens: int = 0
) -> dict[str, Gain]:
    """Mean gain of each task over its probe examples, with standard errors; seconds go to the ledger.

    With `row_tokens`, probes under one instruction share rows of up to that many tokens.
    """
    with learner.ledger.timed("gain_seconds"):
        examples = [example for chosen in probes.values() for example in chosen]
        gains = iter(measure_examples(learner, examples, row_tokens))
        return {task: average([next(gains) for _ in chosen]) for task, chosen in probes.items() if chosen}


@torch.no_grad()
def measure_examples(learner: Learner, examples: Sequence[Example], row_tokens: int = 0) -> list[Gain]:
    """The gain of each example, in order; exactly 0 for an example without key parts.

    The learner is in evaluation mode meanwhile. Probabilities are means over the response tokens of the
    first reference, end of sequence included.
    """
    encoded = [learner.encoder.encode(example) for example in examples]
    gains: dict[int, Gain] = {}
    budget = portions.forward(learner)
    if row_tokens:
        groups = packed_batches(encoded, budget, paired=True)
    else:
        groups = token_batches([2 * item.num_tokens for item in encoded], budget)
    with learner.evaluating():
        for group in groups:
            gains |= zip(group, _gains(learner, [encoded[i] for i in group], row_tokens), strict=True)
    return [gains[index] for index in range(len(encoded))]


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


def reading(gain: Gain, high: float = 0.5) -> str:
    """What the two likelihoods say together: the table of docs/method.md, section 4.

    `high` is the mean token probability from which an answer counts as likely. [D]
    """
    if gain.num_annotated == 0:
        return "no key parts"
    if gain.instructed >= high:
        return "half-listens" if gain.masked >= high else "listens"
    return "misled" if gain.masked >= high else "not learned"


def _gains(learner: Learner, encoded: Sequence[Encoded], row_tokens: int) -> list[Gain]:
    batch = collate(encoded, learner.pad_id, twins=True, row_tokens=row_tokens)
    instructed = _likelihoods(learner, batch.rows, batch.example, len(encoded))
    masked = instructed
    if batch.twins is not None:
        masked = _likelihoods(learner, batch.twins, batch.example[batch.twin_of], len(encoded))
    gains = []
    for item, (prob, log), (masked_prob, masked_log) in zip(encoded, instructed, masked, strict=True):
        if item.masked_prompt is None:
            gains.append(Gain(0.0, 0.0, prob, prob, num_annotated=0))
        else:
            gains.append(Gain(prob - masked_prob, log - masked_log, prob, masked_prob))
    return gains


def _likelihoods(
    learner: Learner, rows: Rows, example: Tensor, num_examples: int
) -> list[tuple[float, float]]:
    """Mean p and mean log p over the response tokens of each example; `example` [N] numbers the tokens' own."""
    logits = learner.response_logits(rows)
    target = rows.target.to(logits.device)
    log_probs = token_log_probs(logits, target).cpu().double()
    means = (
        mean_by_example(values, example.cpu(), num_examples).tolist()
        for values in (log_probs.exp(), log_probs)
    )
    return list(zip(*means, strict=True))
