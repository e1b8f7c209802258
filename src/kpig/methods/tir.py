"""TIR: a penalty on how far the weights move, each held less where the step it matters to is like this one.

Shape letters: S steps, the present one last, D hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Count, Weight, cost
from kpig.methods.base import Method, Settings, Step
from kpig.methods.parts import embeddings
from kpig.methods.parts.memory import drawn
from kpig.methods.parts.upkeep import Matrices, Upkeep
from kpig.records import Example

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.learner import Learner, Weights

EVEN = 1e-9
"""A standard deviation of cosines below which they differ by rounding only."""

SIDES = ("prompts", "responses")
"""What the likeness of two steps is made of: one cosine each, and their product."""


class TirSettings(Settings):
    """Task-similarity-informed regularisation (He et al., 2023)."""

    weight: Weight = Field(0.1, description="λ; the mean importance of a step is 1, so it compares with l2's")
    num_examples: Count = Field(
        64,
        description="training examples of a step that estimate its importances and its likeness to others",
        json_schema_extra=cost(
            "a backward pass over each when a step ends, and before it a forward pass of the starting model"
        ),
    )


class Tir(Method):
    """Cross-entropy + λ Σ_i (1 − s_k(i)) I_i (θ_i − θ*_i)²; no penalty in the first step.

    Task-similarity-informed regularisation (He et al., 2311.16206). Its text was not at hand, a public copy
    of its code was read (the learner "tir+ewc" and its task encoder). As there: a step's importances are its
    diagonal Fisher over their sum; of all past steps each weight keeps the largest, I_i, and which step k(i)
    it is of; s_k is the product of two likenesses of step k to the present one (three with images), each
    sigmoid((c − mean) / std) of the cosine c between the steps' mean vectors, mean and standard deviation
    over all pairs of steps so far.

    Departures. Importances are scaled to mean 1 instead of sum 1, so that λ does not hang on the number of
    weights. Vectors are the starting model's mean last hidden states, there BERT's: frozen, so that those of
    different steps compare. Where there is one pair only its likeness is ½, that of a pair at the mean; the
    code takes the cosine itself, which is near 1 for such vectors and switches the penalty off. Importances
    are kept as they were measured: the code scales those that it keeps once more with every step. The mode
    "tir+mas" of the code, with another importance, is not here.
    """

    Settings = TirSettings
    settings: TirSettings

    needs_initial = True
    undivided = (
        "is not one that can do so: its importances are squares of each example's own gradient, and "
        "processes that divide weights get the sum of theirs"
    )
    penalties: ClassVar[Mapping[str, str]] = {"penalty": "method.tir.weight"}

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.anchor: Weights | None = None
        self.importance: dict[str, Tensor] = {}
        self.owners: dict[str, Tensor] = {}
        """Which past step each importance is of, counted from 0; int16."""
        self.vectors: dict[str, list[list[float]]] = {side: [] for side in SIDES}
        """A vector of length 1 for each past step, of its prompts and of its responses."""
        self._present: dict[str, list[float]] = {}
        self._held: dict[str, Tensor] = {}

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """θ*, I and (1 − s) I, and two bytes for whose each is; a step ends as one of `ewc` does."""
        count = self.settings.num_examples
        return Upkeep(copies=1, wide=2.5, at_end=3, measured=count, embedded=count)

    def begin_step(self, step: Step, learner: Learner) -> Step:
        from kpig.methods.parts.distance import anchor

        self.anchor = anchor(step, learner)
        self._present = self._vectors(step, learner)
        self._held = self._scaled(learner)
        return step

    def penalty(self, learner: Learner) -> Tensor | None:
        from kpig.methods.parts.distance import squared_distance

        if self.anchor is None:
            return None
        return self.settings.weight * squared_distance(learner.parameters(), self.anchor, self._held)

    def end_step(self, step: Step, learner: Learner) -> None:
        from kpig.methods.parts.fisher import diagonal_fisher

        found = of_mean_1(diagonal_fisher(learner, self._examples(step), self.config.train))
        self.importance, self.owners = largest(self.importance, self.owners, found, step.number - 1)
        self.vectors = {side: [*past, self._present[side]] for side, past in self.vectors.items()}

    def likenesses(self) -> list[float]:
        """s_k of every past step to the present one, each between 0 and 1."""
        each = [likenesses(np.array([*self.vectors[side], self._present[side]])) for side in SIDES]
        return [float(one) for one in np.prod(each, axis=0)]

    def state_dict(self) -> dict[str, Any]:
        return {"importance": self.importance, "owners": self.owners, "vectors": self.vectors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.importance, self.owners = dict(state["importance"]), dict(state["owners"])
        self.vectors = {side: list(state["vectors"][side]) for side in SIDES}

    def _examples(self, step: Step) -> list[Example]:
        return drawn(step.tasks, self.settings.num_examples, self.rng(f"tir/{step.number}"))

    def _vectors(self, step: Step, learner: Learner) -> dict[str, list[float]]:
        examples = self._examples(step)
        with learner.as_initial():
            sides = (embeddings.of_examples(learner, examples), embeddings.of_responses(learner, examples))
        means = (embeddings.unit(vectors.mean(0)).tolist() for vectors in sides)
        return dict(zip(SIDES, means, strict=True))

    def _scaled(self, learner: Learner) -> dict[str, Tensor]:
        """(1 − s_k) I for every weight, on the learner's device."""
        import torch

        rest = 1 - torch.tensor(self.likenesses(), dtype=torch.float32, device=learner.device)
        return {
            name: one.to(learner.device) * rest[self.owners[name].to(learner.device).long()]
            for name, one in self.importance.items()
        }


def likenesses(vectors: np.ndarray) -> np.ndarray:
    """[S − 1]: how like the last of the vectors [S, D], of length 1, is to each before it; from 0 to 1.

    sigmoid((c − mean) / std) of their cosines c, over all pairs of the vectors; ½ where no two pairs differ.
    """
    first, second = np.triu_indices(len(vectors), 1)
    cosines = vectors @ vectors.T
    pairs = cosines[first, second]
    spread = pairs.std(ddof=1) if len(pairs) > 1 else 0.0
    if spread < EVEN:
        return np.full(len(vectors) - 1, 0.5)
    standing: np.ndarray = 1 / (1 + np.exp((pairs.mean() - cosines[-1, :-1]) / spread))
    return standing


def of_mean_1(importance: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The importances over the mean of them all; all 0 stay 0."""
    total = sum(float(one.double().sum()) for one in importance.values())
    scale = sum(one.numel() for one in importance.values()) / total if total > 0 else 0.0
    return {name: one * scale for name, one in importance.items()}


def largest(
    former: Mapping[str, Tensor], owners: Mapping[str, Tensor], found: Mapping[str, Tensor], number: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The larger importance of each weight, and whose it is: `number` where it is the one that is `found`.

    Of equal ones the former stays. Without a former one all are those found.
    """
    import torch

    if not former:
        whose = {name: torch.full_like(one, number, dtype=torch.int16) for name, one in found.items()}
        return dict(found), whose
    kept, whose = {}, {}
    for name, one in found.items():
        before, owner = former[name].to(one.device), owners[name].to(one.device)
        kept[name] = torch.maximum(before, one)
        whose[name] = torch.where(one > before, torch.full_like(owner, number), owner)
    return kept, whose
