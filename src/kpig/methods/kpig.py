"""KPIG: measure who listens; do not learn to answer without being told (docs/method.md, sections 4 to 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from kpig.config import RunConfig
from kpig.config.section import Count, CountOrAll, Share, cost
from kpig.methods.base import Clock, Loss, Method, Settings, Step
from kpig.methods.parts.memory import Memory, pick
from kpig.methods.parts.selection import chances, lowest, proportional
from kpig.records import Example, Gain

if TYPE_CHECKING:
    from kpig.model.batch import Batch
    from kpig.model.learner import Learner, Weights


PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "none": {},
        "paper": {
            "selection": "lowest",
            "signal": "gain",
            "gain_unit": "prob",
            "twin_weight": 1.0,
            "weighting": "gain",
            "reference": "initial",
        },
    }
)
"""Settings that a name stands for. "paper" is the form that the paper's summaries tell, with what is decided
here where they are silent (docs/method.md, section 5): it stays what it is when defaults change."""


class KpigSettings(Settings):
    """KPIG (docs/method.md, sections 4 to 6)."""

    preset: Literal["none", "paper"] = Field(
        "none",
        description="'paper' sets selection, signal, gain_unit, twin_weight, weighting and reference as the "
        "paper has them, as far as that is known; 'none': each is as given, or its default",
    )
    selection: Literal["uniform", "lowest", "proportional"] = Field(
        "uniform",
        description="the M tasks to replay from: in every update others, all equally likely; those of lowest "
        "signal; in every update others, the lower their signal the likelier",
    )
    signal: Literal["gain", "gain_drop"] = Field(
        "gain", description="the gain itself, or how far it has fallen"
    )
    gain_unit: Literal["prob", "log"] = Field("prob", description="probability gain, or log gain in nats")
    num_tasks: Count = Field(8, description="tasks replayed at a time (M)")
    examples_per_task: Count = Field(50, description="examples of each in the replay pool (N)")
    refresh: CountOrAll = Field(
        50,
        description="updates between gain measurements; 0: only when a step begins",
        json_schema_extra=cost(
            "a measurement is two forward passes over the probes of every seen and current task"
        ),
    )
    num_probes: Count = Field(
        16,
        description="probe examples per task for its gain",
        json_schema_extra=cost("two forward passes over each, at every measurement"),
    )
    gain_precision: Literal["train", "float32", "bfloat16"] = Field(
        "train",
        description="arithmetic in which gain is measured; 'train': that of train.precision",
        json_schema_extra=cost("bfloat16 about halves the time where the device is faster in it"),
    )
    floor: Share = Field(
        0.3, description="proportional: share of the chance spread evenly over all seen tasks"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.1, description="proportional: sharpness of the preference"
    )
    twin_weight: Annotated[float, Field(ge=0)] = Field(
        1.0,
        description="λ, weight of the masked-twin term; 0 leaves it out",
        json_schema_extra=cost("0 saves about two thirds of an update's tokens"),
    )
    weighting: Literal["gain", "none"] = Field("gain", description="scale the twin term by 1 - gain, or not")
    reference: Literal["initial", "previous"] = Field(
        "initial",
        description="the masked twin is held to the starting model, or to that of the step's start",
        json_schema_extra=cost("a copy of the trained weights in memory, but for 'initial' with LoRA"),
    )

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        """What is given with what its preset stands for; ValueError where the two differ."""
        name = given.get("preset") if isinstance(given, Mapping) else None
        fixed = PRESETS.get(name, {}) if isinstance(name, str) else {}
        differing = [key for key, value in fixed.items() if key in given and given[key] != value]
        if differing:
            stated = " and ".join(f"{key} = {fixed[key]!r}, not {given[key]!r}" for key in differing)
            raise ValueError(f"preset = {name!r} means {stated}; remove the one or the other")
        return {**given, **fixed} if fixed else given


class Kpig(Method):
    """A divergence term on masked twins, weighted by key-part gain, beside replay: uniform or by that gain.

    Gains of the seen tasks and of the current ones are measured when a step begins and every `refresh`
    updates, unless nothing depends on them. Until the next measurement they decide how hard each task's
    masked twin is held to the reference model and, unless `selection` is uniform, which tasks are replayed or
    with what chance in every update. `learned` is each task's gain when the step after its own begins: no
    weight has changed since it was learned.
    """

    Settings = KpigSettings
    settings: KpigSettings
    memory: Memory

    penalties: ClassVar[Mapping[str, str]] = {"twin_penalty": "method.kpig.twin_weight"}
    divergences = frozenset({"twin_penalty"})

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.paired = self.settings.twin_weight > 0
        self.needs_initial = self.paired and self.settings.reference == "initial"
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.gains: dict[str, Gain] = {}
        self.learned: dict[str, float] = {}
        self.chosen: list[str] = []
        self._current_probes: dict[str, tuple[Example, ...]] = {}
        self._previous: Weights | None = None

    def begin_step(self, step: Step, learner: Learner) -> Step:
        """The probes of a current task are those that memory will have of it."""
        count = self.settings.num_probes
        self._current_probes = {task.name: self.memory.part(task)[:count] for task in step.tasks}
        if self.paired and self.settings.reference == "previous":
            self._previous = learner.weights()
        return step

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        if self._is_due(clock):
            self.gains = self._measure(learner)
            new = [task for task in self.memory.tasks if task in self.gains and task not in self.learned]
            self.learned |= {task: self._in_unit(self.gains[task]) for task in new}
        self.chosen = self._select(clock)
        rng, count = clock.rng("replay"), self.num_replayed(clock)
        return self.memory.draw(count, rng, self.chosen, self.settings.examples_per_task, fill=True)

    def measured(self, clock: Clock) -> dict[str, Any]:
        """The gain of every task that was measured, at the updates that measure."""
        if not self._is_due(clock) or not self.gains:
            return {}
        return {"gain": {task: round(self._in_unit(found), 4) for task, found in self.gains.items()}}

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        """CE of originals + λ · w(task) · JSD of twins, summed over tokens (docs/method.md, section 6)."""
        from kpig.model.objective import cross_entropy_sum, jsd

        if batch.twins is None or batch.both is None:
            return super().loss(learner, batch)
        logits = learner.response_logits(batch.both)
        entropy = cross_entropy_sum(logits[: batch.num_tokens], batch.rows.target)
        reference = learner.reference_logits(batch.twins, self._previous)
        divergence = jsd(logits[batch.num_tokens :], reference)
        weight = divergence.new_tensor([self._weight(example.task) for example in batch.examples])
        weighted = (weight[batch.example[batch.twin_of]] * divergence).sum()
        term = self.settings.twin_weight * weighted
        log = {"cross_entropy": entropy.detach(), "divergence": divergence.detach().sum()}
        return Loss(entropy + term, log | {"twin_penalty": term.detach()})

    def state_dict(self) -> dict[str, Any]:
        gains = {task: asdict(measured) for task, measured in self.gains.items()}
        return {"memory": self.memory.state(), "gains": gains, "learned": self.learned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
        self.gains = {task: Gain(**measured) for task, measured in state["gains"].items()}
        self.learned = dict(state["learned"])

    def _is_due(self, clock: Clock) -> bool:
        """Whether gains are measured before this update."""
        return clock.update == 0 or (self.settings.refresh > 0 and clock.update % self.settings.refresh == 0)

    def _measure(self, learner: Learner) -> dict[str, Gain]:
        from kpig.model import gain

        probes = self._current_probes | self.memory.probes(self.settings.num_probes)
        selects = self.settings.selection != "uniform" and self.memory.tasks
        weighs = self.settings.weighting == "gain" and self.paired
        if not (selects or weighs):
            return {}
        asked = self.settings.gain_precision
        with nullcontext() if asked == "train" else learner.computing(asked):
            return gain.measure(learner, probes, self.config.train.row_tokens)

    def _select(self, clock: Clock) -> list[str]:
        """The tasks to replay from: the same until gains are measured again, or drawn for this update."""
        if not self.memory.tasks:
            return []
        if self.settings.selection == "uniform":
            return pick(list(self.memory.tasks), self.settings.num_tasks, clock.rng("tasks"))
        signals = {task: self._signal(task) for task in self.memory.tasks}
        if self.settings.selection == "proportional":
            chance = chances(signals, self.settings.floor, self.settings.temperature)
            return proportional(chance, self.settings.num_tasks, clock.rng("tasks"))
        ties = {task: self.gains[task].instructed for task in signals}
        return lowest(signals, ties, self.settings.num_tasks)

    def _signal(self, task: str) -> float:
        now = self._in_unit(self.gains[task])
        return now - self.learned[task] if self.settings.signal == "gain_drop" else now

    def _in_unit(self, measured: Gain) -> float:
        return measured.log if self.settings.gain_unit == "log" else measured.prob

    def _weight(self, task: str) -> float:
        """w(τ) = 1 - clip(G(τ), 0, 1) of docs/method.md, section 6."""
        return twin_weight(self.gains, task) if self.settings.weighting == "gain" else 1.0


def twin_weight(gains: Mapping[str, Gain], task: str) -> float:
    """How hard a task's masked twin is held: 1 - its probability gain, within [0, 1]."""
    return 1.0 - min(max(gains[task].prob, 0.0), 1.0)
