"""Answers of tasks with a closed label set by choice: the label that is likeliest behind the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kpig.config.section import AUTO
from kpig.model.batch import Batch, Logits
from kpig.model.encoding import Encoded
from kpig.model.generation import Answer
from kpig.model.learner import Learner
from kpig.model.objective import token_log_probs
from kpig.model.packing import RowTokens
from kpig.records import Constraint


@dataclass(frozen=True)
class Question:
    """A prompt of token ids of an example, and the labels that its answer is chosen from."""

    encoded: Encoded
    prompt: tuple[int, ...]
    labels: tuple[str, ...]


def labels(demands: Sequence[Constraint]) -> tuple[str, ...]:
    """The labels that every `one_of` among the demands allows, in the first one's order; () without one."""
    stated = [one for one in demands if one.type == "one_of"]
    if not stated:
        return ()
    found = stated[0].params["values"]
    return tuple(dict.fromkeys(label for label in found if all(_allows(one, label) for one in stated)))


def fit(learner: Learner, labels: Sequence[str], max_new_tokens: int) -> bool:
    """Whether every label, with the token that ends it, is as short as an answer may be."""
    return all(len(learner.encoder.response_ids(label)) <= max_new_tokens for label in labels)


def choose(learner: Learner, questions: Sequence[Question], row_tokens: RowTokens = AUTO) -> list[Answer]:
    """The label of highest probability for each question, of equals the first.

    The token that ends a label counts. A label's probability is the product over its tokens, so labels of any
    length compare as whole answers. Prompts and labels share rows as `row_tokens` says; their tokens count as
    forward tokens.
    """
    pairs = [
        replace(
            one.encoded,
            prompt=one.prompt,
            masked_prompt=None,
            response=learner.encoder.response_ids(label),
        )
        for one in questions
        for label in one.labels
    ]
    found = iter(learner.per_example(pairs, _log_likelihoods, row_tokens=row_tokens))
    answers = []
    for one in questions:
        values = [next(found) for _ in one.labels]
        label = one.labels[values.index(max(values))]
        answers.append(Answer(label, True, len(learner.encoder.response_ids(label))))
    return answers


def _allows(demand: Constraint, label: str) -> bool:
    values = demand.params["values"]
    if demand.params.get("case_sensitive", True):
        return label in values
    return label.lower() in [value.lower() for value in values]


def _log_likelihoods(batch: Batch, logits: Logits) -> list[float]:
    """log p of each example's whole response, in nats. Summed in float64 on the CPU, as gains are."""
    log_probs: Tensor = token_log_probs(logits.rows, batch.rows.target).cpu().double()
    sums = torch.zeros(len(batch.examples), dtype=torch.float64)
    found: list[float] = sums.index_add(0, batch.example.cpu(), log_probs).tolist()
    return found
