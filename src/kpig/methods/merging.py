"""Methods that change the weights when a step ends: DARE and LM-Cocktail."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kpig.config import RunConfig
from kpig.errors import ConfigError
from kpig.methods.base import Method, Step
from kpig.methods.parts.memory import pick
from kpig.model.batch import Batch, micro_batches
from kpig.model.learner import Learner, Weights
from kpig.model.objective import cross_entropy_sum


class Dare(Method):
    """DARE (Yu et al., 2311.03099): δ = θ_t − θ_ref; drop entries of δ, rescale the others by 1/(1 − p).

    After the step, θ = θ_ref + m ⊙ δ / (1 − p) with independent m ~ Bernoulli(1 − p) for every entry of
    every trainable weight: in expectation nothing changes. Formula and random mask are those of the
    released code (yule-BUAA/MergeLM, `mask_input_with_mask_rate`, `use_weight_rescale`).

    θ_ref is the starting model in the paper, which has no stream. Here the default is the step's start:
    every task's change is then thinned once, and θ_T = θ_0 + Σ_t δ'_t is DARE merging by task arithmetic
    (scale 1). Against the starting model an old task's change would be thinned again at every step: its
    entries survive t steps with chance (1 − p)^t, 1/(1 − p)^t times as large.

    With LoRA only B is thinned; A is left alone, so E[B'A] = E[B']A and nothing changes in expectation. With
    `reference = "initial"`, where B starts at 0, that thins the whole change. "previous" thins (B − B_ref)A and, from
    the second step on, keeps B_ref(A − A_ref), what A's own change makes of the earlier B, as it is.
    """

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.settings = config.method.dare
        self.needs_initial = self.settings.reference == "initial"
        self._reference: Weights = {}

    def begin_step(self, step: Step, learner: Learner) -> Step:
        _refuse_lora_on_embeddings(learner)
        if self.settings.reference == "previous":
            self._reference = learner.weights()
        elif learner.is_adapter:
            self._reference = {name: torch.zeros_like(one) for name, one in learner.parameters().items()}
        else:
            self._reference = learner.initial
        return step

    def end_step(self, step: Step, learner: Learner) -> None:
        reference, self._reference = self._reference, {}
        if self.settings.drop == 0:
            return
        weights = learner.weights()
        thinned = {
            name: drop_and_rescale(
                weight, reference[name], self.settings.drop, self._generator(step.number, name)
            )
            for name, weight in weights.items()
            if not learner.is_adapter or ".lora_B." in name
        }
        learner.load_weights(weights | thinned)

    def _generator(self, step: int, name: str) -> torch.Generator:
        """Chance of its own for each step and weight, on the CPU, so that every device draws the same."""
        seed = random.Random(f"{self.config.seed}/dare/{step}/{name}").getrandbits(63)
        return torch.Generator().manual_seed(seed)


def _refuse_lora_on_embeddings(learner: Learner) -> None:
    """Such adapters start with A at 0, not B, and would not be thinned at all."""
    found = [name for name in learner.parameters() if "lora_embedding" in name]
    if found:
        raise ConfigError(
            f"[method] dare thins LoRA on linear layers only, and {found[0]} is none; change model.lora_targets"
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

    needs_initial = True

    def __init__(self, config: RunConfig):
        super().__init__(config)
        if config.model.adapter == "lora":
            raise ConfigError(
                "[method] lm_cocktail averages whole weights, and averaged LoRA matrices are not the average of "
                'their products; set model.adapter = "none", or use another method'
            )
        self.settings = config.method.lm_cocktail
        self.peers: list[dict[str, Tensor]] = []
        self.shares: list[float] = []

    def end_step(self, step: Step, learner: Learner) -> None:
        batches = micro_batches(learner, self._examples(step), False, self.config.train)
        tuned = learner.weights()
        peers = [{name: one.to(learner.device) for name, one in peer.items()} for peer in self.peers]
        models = [tuned, learner.initial, *peers]
        self.shares = self._shares([mean_loss(learner, batches, weights) for weights in models])
        learner.load_weights(weighted_mean(models, self.shares))
        kept = {name: weight.cpu() for name, weight in tuned.items()}
        self.peers = [*self.peers, kept][max(0, len(self.peers) + 1 - self.settings.max_peers) :]

    def state_dict(self) -> dict[str, Any]:
        peers = {f"peer/{k}/{name}": one for k, peer in enumerate(self.peers) for name, one in peer.items()}
        return {"num_peers": len(self.peers), "shares": self.shares} | peers

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.shares, self.peers = list(state["shares"]), [{} for _ in range(state["num_peers"])]
        for key, value in state.items():
            if key.startswith("peer/"):
                _, k, name = key.split("/", 2)
                self.peers[int(k)][name] = value

    def _examples(self, step: Step) -> list:
        seed = f"{self.config.seed}/lm_cocktail/{step.number}"
        return [
            example
            for task in step.tasks
            for example in pick(task.train, self.settings.num_examples, random.Random(f"{seed}/{task.name}"))
        ]

    def _shares(self, losses: Sequence[float]) -> list[float]:
        """What each model counts for, from the losses of the tuned model and then of the others; sums to 1."""
        tuned_share, temperature = self.settings.tuned_share, self.settings.temperature
        if tuned_share == "softmax":
            return softmax(losses, temperature)
        return [tuned_share, *((1 - tuned_share) * one for one in softmax(losses[1:], temperature))]


def drop_and_rescale(weight: Tensor, reference: Tensor, drop: float, generator: torch.Generator) -> Tensor:
    """reference + m ⊙ (weight − reference) / (1 − drop), m = 0 with chance `drop`; in float32 or wider.

    Entries that are dropped equal the reference exactly. The generator is one of the CPU.
    """
    kept = (torch.rand(weight.shape, generator=generator) >= drop).to(weight.device)
    wide = torch.promote_types(weight.dtype, torch.float32)
    base = reference.to(wide)
    return torch.where(kept, base + (weight.to(wide) - base) / (1 - drop), base).to(weight.dtype)


def softmax(losses: Sequence[float], temperature: float) -> list[float]:
    """softmax(−loss / temperature)."""
    return torch.softmax(-torch.tensor(losses, dtype=torch.float64) / temperature, 0).tolist()


def weighted_mean(models: Sequence[Weights], shares: Sequence[float]) -> dict[str, Tensor]:
    """Σ_k share_k θ_k for every weight, in float32 or wider."""
    return {
        name: sum(
            share * model[name].to(torch.promote_types(model[name].dtype, torch.float32))
            for model, share in zip(models, shares, strict=True)
        )
        for name in models[0]
    }


def mean_loss(learner: Learner, batches: Sequence[Batch], weights: Weights) -> float:
    """Cross-entropy in nats per response token under these weights, in evaluation mode; costs forward tokens."""
    total = 0.0
    for batch in batches:
        logits = learner.reference_logits(batch.rows, weights)
        total += float(cross_entropy_sum(logits, batch.rows.target.to(logits.device)))
    return total / max(1, sum(batch.num_tokens for batch in batches))
