"""Updates by kpig's methods."""

import copy
import time
from collections.abc import Mapping, Sequence

import torch

from kpig import config
from kpig.methods.base import Clock
from kpig.methods.chosen import create
from kpig.model.learner import Learner
from kpig.records import Example, Gain
from kpig.training.passes import Passes
from sections.weights import Weights


class Kpig:
    """Updates by one of kpig's methods, which reads its examples for the "first" time.

    Or "again", after passes that do not count; or as it was "before" there were kept answers, with the
    logits of all tokens at once.
    """

    def __init__(
        self, learner: Learner, weights: Weights, method: str, precision: str, row_tokens: int | str, way: str
    ):
        settings = {"row_tokens": row_tokens, "precision": precision, "device": "cpu"}
        run = config.build({"method": {"name": method}, "train": settings})
        self.learner, self.weights, self.method, self.way = learner, weights, create(run), way
        if way == "before":
            self.learner = copy.copy(learner)
            self.learner.head = lambda: None
        self.passes = Passes(Plain(), self.learner, self.method, run.train, lambda _: None)

    def update(self, examples: Sequence[Example], clock: Clock) -> Mapping[str, float]:
        """What one update took, its loss and its tokens."""
        self.method.gains = dict.fromkeys((one.task for one in examples), Gain(0.3, 0.3, 0.5, 0.2))
        self.method.kept = {}
        self.learner.model.train()
        if self.way == "again":
            self.passes.read(examples, 0, clock)
            self.learner.model.zero_grad(set_to_none=True)
        before, start = self.learner.ledger.computed_tokens, time.process_time()
        totals, num_tokens = self.passes.read(examples, 0, clock)
        norm = self.weights.step()
        seconds, computed = time.process_time() - start, self.learner.ledger.computed_tokens - before
        loss = float(totals["cross_entropy"]) / num_tokens
        return {"seconds": seconds, "loss": loss, "norm": norm, "computed": computed}


class Plain:
    """What a pass needs of Accelerate."""

    def backward(self, loss: torch.Tensor) -> None:
        """As it is."""
        loss.backward()
