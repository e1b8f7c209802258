"""LM-Cocktail: after each step, a weighted mean of tuned, starting and earlier weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Count, Share, cost
from kpig.errors import ConfigError
from kpig.methods.base import Method, Settings, Step
from kpig.methods.parts.memory import pick
from kpig.records import Example

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.learner import Learner, Weights


class LmCocktailSettings(Settings):
    """LM-Cocktail (Xiao et al., 2023): a weighted mean of tuned, starting and earlier weights."""

    temperature: Annotated[float, Field(gt=0)] = Field(5.0, description="τ in softmax(-loss / τ)")
    num_examples: Count = Field(
        5,
        description="examples that the losses are measured on, per task",
        json_schema_extra=cost("a forward pass over each with every model, when a step ends"),
    )
    tuned_share: Share | Literal["softmax"] = Field(
        0.5, description="share of the tuned weights, the rest by loss; 'softmax': all of them by loss"
    )
    max_peers: Annotated[int, Field(ge=0)] = Field(
        4,
        description="earlier steps that count, the newest",
        json_schema_extra=cost("a copy of all weights for each, in checkpoints too"),
    )


class LmCocktail(Method):
    """LM-Cocktail (Xiao et al., 2311.13534): a weighted mean of tuned, starting and earlier weights.

    θ = a θ_t + (1 − a) Σ_k w_k θ_k with w = softmax(−loss_k / τ) over the starting model and the peers:
    the recipe of the released README (FlagOpen/FlagEmbedding, LM_Cocktail, "Mitigate the problem of
    Catastrophic Forgetting"), first `mix_models_with_data` over the others, then `mix_models` with the
    tuned model. a = `tuned_share`; "softmax" gives the tuned model its weight by its loss like the others.
    The README mixes with 0.3 and 0.5; that the paper's a is 0.5 was not verified.

    As in that code, losses are measured on a few training examples of the present step's tasks. Peers are
    the weights of earlier steps as they were tuned, before mixing: at most `max_peers`, the newest, since
    each is a whole copy of the weights in memory and in every checkpoint. The loss is the mean over
    response tokens; the released code means over batches of two.
    """

    Settings = LmCocktailSettings
    settings: LmCocktailSettings

    needs_initial = True

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if config.model.adapter == "lora":
            raise ConfigError(
                "[method] lm_cocktail averages whole weights, and averaged LoRA matrices are not the average "
                'of their products; set model.adapter = "none", or use another method'
            )
        self.peers: list[dict[str, Tensor]] = []
        self.shares: list[float] = []

    def end_step(self, step: Step, learner: Learner) -> None:
        batches = learner.training_batches(self._examples(step), self.config.train)
        tuned = learner.weights()
        peers = [{name: one.to(learner.device) for name, one in peer.items()} for peer in self.peers]
        assert learner.initial is not None, "needs_initial keeps the starting weights"
        models = [tuned, learner.initial, *peers]
        self.shares = self._shares([learner.mean_loss(batches, weights) for weights in models])
        learner.load_weights(weighted_mean(models, self.shares))
        kept = {name: weight.cpu() for name, weight in tuned.items()}
        self.peers = [*self.peers, kept][max(0, len(self.peers) + 1 - self.settings.max_peers) :]

    def state_dict(self) -> dict[str, Any]:
        return {"peers": self.peers, "shares": self.shares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.shares, self.peers = list(state["shares"]), list(state["peers"])

    def _examples(self, step: Step) -> list[Example]:
        chance = {task.name: self.rng(f"lm_cocktail/{step.number}/{task.name}") for task in step.tasks}
        return [
            example
            for task in step.tasks
            for example in pick(task.train, self.settings.num_examples, chance[task.name])
        ]

    def _shares(self, losses: Sequence[float]) -> list[float]:
        """What each model counts for, from the losses of the tuned model, then of the others; sums to 1."""
        tuned_share, temperature = self.settings.tuned_share, self.settings.temperature
        if tuned_share == "softmax":
            return softmax(losses, temperature)
        return [tuned_share, *((1 - tuned_share) * one for one in softmax(losses[1:], temperature))]


def softmax(losses: Sequence[float], temperature: float) -> list[float]:
    """softmax(−loss / temperature)."""
    import torch

    return torch.softmax(-torch.tensor(losses, dtype=torch.float64) / temperature, 0).tolist()


def weighted_mean(models: Sequence[Weights], shares: Sequence[float]) -> dict[str, Tensor]:
    """Σ_k share_k θ_k for every weight, in float32 or wider."""
    import torch

    return {
        name: sum(
            (
                share * model[name].to(torch.promote_types(model[name].dtype, torch.float32))
                for model, share in zip(models, shares, strict=True)
            ),
            start=torch.zeros(()),
        )
        for name in models[0]
    }
