"""The model that a table is about, its tasks, and the step of its optimizer."""

import argparse
from typing import Any

import torch

from kpig.config import ModelSection
from kpig.model.learner import Learner
from kpig.model.loading import load
from kpig.records import Task
from kpig.tasks import stream


class Weights:
    """A model's weights with their optimizer, whose steps take their time and change nothing."""

    def __init__(self, model: Any):
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, 0.0, weight_decay=0.0, fused=True)

    def step(self) -> float:
        """What follows the backward pass; the norm of the gradient."""
        norm = torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)


def starting(given: argparse.Namespace, adapter: str) -> tuple[Learner, tuple[Task, ...]]:
    """The model, and the tasks of the stream's first step."""
    section = ModelSection(path=str(given.model), max_length=1024, adapter=adapter)
    learner = load(section, keep_initial=True)
    return learner, stream.load(given.tasks, train_per_task=200, test_per_task=1).steps[0]
