"""How many padded tokens go through the model at once, where the user has not said: fewer on a CPU.

Results are the same up to rounding. The figures for a CPU were measured (docs/LOG.md), those for a GPU were not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kpig.model.learner import Learner


def training(learner: Learner, asked: int = 0) -> int:
    """Tokens of one forward and backward pass; `asked`, unless it is 0."""
    return asked or (2048 if _on_cpu(learner) else 8192)


def forward(learner: Learner) -> int:
    """Tokens of one forward pass."""
    return 4096 if _on_cpu(learner) else 16384


def generation(learner: Learner, asked: int = 0) -> int:
    """Tokens of prompts and answers that are generated side by side; `asked`, unless it is 0."""
    return asked or (4096 if _on_cpu(learner) else 32768)


def _on_cpu(learner: Learner) -> bool:
    return learner.device.type == "cpu"
