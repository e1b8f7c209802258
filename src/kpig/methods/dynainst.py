"""DynaInst: a pull to uniform outputs, and replay of what the model is unsure of (Mok et al., ACL 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from kpig.config import RunConfig
from kpig.config.section import Count, CountOrAll, Weight, cost
from kpig.methods.base import Clock, Loss, Method, Settings
from kpig.methods.parts.memory import Memory, reworded
from kpig.methods.parts.selection import leading, proportional
from kpig.records import Example

if TYPE_CHECKING:
    from kpig.model.batch import Batch, Logits
    from kpig.model.learner import Learner


class DynainstSettings(Settings):
    """DynaInst (Mok et al., ACL 2023)."""

    entropy_weight: Weight = Field(0.01, description="weight of the pull towards outputs of maximum entropy")
    num_tasks: Count = Field(8, description="tasks replayed at a time")
    refresh: CountOrAll = Field(
        50,
        description="updates between measurements of uncertainty; 0: once a step",
        json_schema_extra=cost("a measurement is a forward pass over all of memory"),
    )


class Dynainst(Method):
    """L = CE + β · KL(p || uniform) over response tokens; replay by uncertainty.

    The regulariser is that of CPR (Cha et al., ICLR 2021), whose released code subtracts β · entropy: the
    same up to the constant β ln V. It holds for replayed and current examples. An example's uncertainty is
    the mean entropy of the predicted distribution over its reference response's tokens, a task's the mean
    over its examples in memory, measured at a step's first update and every `refresh` updates. The tasks
    of highest uncertainty are replayed, an example of theirs with a chance proportional to its own.
    DynaInst's own formulas could not be had: unverified.
    """

    Settings = DynainstSettings
    settings: DynainstSettings
    memory: Memory
    shards = True

    penalties: ClassVar[Mapping[str, str]] = {"uniform_penalty": "method.dynainst.entropy_weight"}

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.uncertainty: dict[str, list[float]] = {}
        self.chosen: list[str] = []

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        count, refresh = self.num_replayed(clock), self.settings.refresh
        if clock.update == 0 or (refresh and clock.update % refresh == 0):
            self.uncertainty = measure(learner, self.memory.probes(self.memory.capacity))
            self.chosen = most_uncertain(self.uncertainty, self.settings.num_tasks, self.most_replayed(clock))
        chance = {
            (name, index): value for name in self.chosen for index, value in enumerate(self.uncertainty[name])
        }
        rng = clock.rng("replay")
        drawn = [(self.memory.tasks[name], index) for name, index in proportional(chance, count, rng)]
        return [reworded(kept.examples[index], kept.instructions, rng) for kept, index in drawn]

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        from kpig.model.objective import cross_entropy_sum, uniform_divergence

        if not self.settings.entropy_weight:
            return super().loss(learner, batch)
        logits = learner.response_logits(batch.rows)
        total, distance = cross_entropy_sum(logits, batch.rows.target), uniform_divergence(logits).sum()
        term = self.settings.entropy_weight * distance
        log = {"cross_entropy": total.detach(), "uniform_divergence": distance.detach()}
        return Loss(total + term, log | {"uniform_penalty": term.detach()})

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self.memory.state(), "uncertainty": self.uncertainty, "chosen": self.chosen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
        self.uncertainty = {name: list(values) for name, values in state["uncertainty"].items()}
        self.chosen = list(state["chosen"])


def measure(learner: Learner, examples: Mapping[str, Sequence[Example]]) -> dict[str, list[float]]:
    """Mean entropy, in nats, over the reference response's tokens of each example, by task and in order.

    The learner is in evaluation mode meanwhile; the tokens count as forward tokens.
    """
    every = [example for chosen in examples.values() for example in chosen]
    ordered = iter(learner.per_example(every, _uncertainties))
    return {name: [next(ordered) for _ in chosen] for name, chosen in examples.items()}


def _uncertainties(batch: Batch, logits: Logits) -> list[float]:
    from kpig.model.objective import entropy, mean_by_example

    means: list[float] = mean_by_example(entropy(logits.rows), batch.example, len(batch.examples)).tolist()
    return means


def most_uncertain(uncertainty: Mapping[str, Sequence[float]], num_tasks: int, count: int) -> list[str]:
    """The tasks of highest mean uncertainty; more than `num_tasks` where they hold under `count` examples."""
    mean = {name: sum(values) / len(values) for name, values in uncertainty.items()}
    ranked = sorted(mean, key=lambda name: (-mean[name], name))
    return leading(ranked, num_tasks, {name: len(values) for name, values in uncertainty.items()}, count)
