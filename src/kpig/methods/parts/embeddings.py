"""Vectors of prompts and of instructions under a learner, for the methods that compare them.

Shape letters: P prompts, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kpig.records import Example, Instruction

if TYPE_CHECKING:
    from kpig.model.learner import Learner


def of_examples(learner: Learner, examples: Sequence[Example]) -> np.ndarray:
    """[P, D] in float64: the mean last hidden state over each example's whole prompt."""
    prompts = [learner.encoder.encode(example).prompt for example in examples]
    return learner.embed(prompts).cpu().double().numpy()


def of_responses(learner: Learner, examples: Sequence[Example]) -> np.ndarray:
    """[P, D] in float64: the same over each example's first response alone."""
    return (
        learner.embed([one.response for one in learner.encoder.encode_all(examples)]).cpu().double().numpy()
    )


def of_instructions(learner: Learner, instructions: Sequence[Instruction]) -> np.ndarray:
    """[P, D] in float64: the same over prompts that have an empty input."""
    return of_examples(learner, [Example("", "", one, "", ("",)) for one in instructions])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each vector scaled to length 1; one of length 0 stays as it is."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length == 0, 1.0, length)
