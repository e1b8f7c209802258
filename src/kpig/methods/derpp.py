"""DER++: replay, and hold the outputs on replayed examples to those stored when their task ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Count, Weight, cost
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Loss, Method, Settings, Step
from kpig.methods.parts.memory import Memory
from kpig.records import Example

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.batch import Batch, Logits
    from kpig.model.learner import Learner

Stored = dict[str, "Tensor"]
"""Of one example with T tokens: "ids" [T, k] int32, "log_probs" [T, k + 1] float32, on the CPU."""


class DerppSettings(Settings):
    """What a user may set of DER++."""

    alpha: Weight = Field(0.5, description="weight of the divergence from the stored outputs; not tuned")
    beta: Weight = Field(0.5, description="weight of the cross-entropy of replayed tokens; not tuned")
    top_k: Count = Field(
        16,
        description="log-probabilities stored for each response token of memory",
        json_schema_extra=cost("2 k + 1 numbers for each response token of memory, in checkpoints too"),
    )


class DarkExperienceReplay(Method):
    """CE(current) + β · CE(replayed) + α · KL(stored || now), the last over replayed response tokens.

    Buzzega et al. 2020, "Dark Experience for General Continual Learning". Stored are, from the model at the
    end of the task's step, the top k log-probabilities of each token and the log of the remaining mass. Ours:
    the KL over these k + 1 classes, where the paper has the mean squared error of all logits; one draw at the
    budget of `[replay]` for both terms, where its code draws a batch for each; outputs stored when a step has
    ended, where the paper stores those met during training. Examples are replayed under the seed wording, for
    which the outputs were stored.
    """

    Settings = DerppSettings
    settings: DerppSettings
    memory: Memory
    shards = True
    penalties: ClassVar = {"dark_knowledge": "method.derpp.alpha"}
    divergences = frozenset({"dark_knowledge"})

    def __init__(self, config: RunConfig):
        super().__init__(config)
        if config.replay.ratio == 0:
            raise ConfigError("derpp needs replay; raise replay.ratio (now 0), say to 0.5")
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.stored: dict[str, dict[str, Stored]] = {}

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        return self.memory.draw(self.num_replayed(clock), clock.rng("replay"), reword=False)

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        from kpig.model import objective

        if not batch.replayed.any():
            return super().loss(learner, batch)
        logits = learner.response_logits(batch.rows)  # [N, V]
        is_past = batch.replayed[batch.example]  # [N]
        log_probs = objective.token_log_probs(logits, batch.rows.target)  # [N]
        entropy = -log_probs[~is_past].sum() - self.settings.beta * log_probs[is_past].sum()
        log = {"cross_entropy": entropy.detach()}
        if not self.settings.alpha:
            return Loss(entropy, log)
        term = self.settings.alpha * self._divergence(batch, logits[is_past]).sum()
        return Loss(entropy + term, log | {"dark_knowledge": term.detach()})

    def remember(self, step: Step, learner: Learner) -> None:
        super().remember(step, learner)
        for task in step.tasks:
            kept = self.memory.tasks[task.name].examples
            outputs = learner.per_example(kept, self._outputs)
            pairs = zip(kept, outputs, strict=True)
            self.stored[task.name] = {example.id: output for example, output in pairs}

    def forget(self) -> None:
        super().forget()
        self.stored = {}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"stored": self.stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.stored = {task: dict(outputs) for task, outputs in state["stored"].items()}

    def _outputs(self, batch: Batch, logits: Logits) -> list[Stored]:
        """What is stored of each example: the model's top k now, and the remainder."""
        import torch

        from kpig.model import objective

        ids = logits.rows.topk(min(self.settings.top_k, logits.rows.shape[-1])).indices  # [N, k]
        log_probs = objective.top_log_probs(logits.rows, ids).float().cpu()  # [N, k + 1]
        own = [(batch.example == number).cpu() for number in range(len(batch.examples))]
        ids = ids.to("cpu", torch.int32)
        return [{"ids": ids[mask], "log_probs": log_probs[mask]} for mask in own]

    def _divergence(self, batch: Batch, logits: Tensor) -> Tensor:
        """KL(stored || now) at each replayed token, from their logits [P, V], in the order of the batch."""
        import torch

        from kpig.model import objective

        pairs = zip(batch.examples, batch.replayed.tolist(), strict=True)
        stored = [self.stored[example.task][example.id] for example, is_past in pairs if is_past]
        ids = torch.cat([one["ids"] for one in stored]).to(logits.device, torch.int64)  # [P, k]
        reference = torch.cat([one["log_probs"] for one in stored]).to(logits.device)  # [P, k + 1]
        return objective.kl(reference, objective.top_log_probs(logits, ids))
