"""KPIG: measure who listens; do not learn to answer without being told (docs/method.md, sections 4 to 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from kpig import ranks
from kpig.config import RunConfig
from kpig.config.section import Count, CountOrAll, Share, cost
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Loss, Method, Settings, Step
from kpig.methods.parts import running_gain, twin_choice
from kpig.methods.parts.memory import Memory, pick
from kpig.methods.parts.selection import chances, lowest, proportional
from kpig.records import Example, Gain

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.batch import Batch
    from kpig.model.kept import Kept
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
    signal: Literal["gain", "gain_drop", "likelihood_drop", "unheard_drop"] = Field(
        "gain",
        description="the gain itself, or how far it has fallen since the task was learned; how far the "
        "instructed likelihood of its responses has fallen, or that times 1 - gain",
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
    weighting: Literal["gain", "example", "none"] = Field(
        "gain", description="scale the twin term by 1 - gain, of the task or of the example itself, or not"
    )
    twin_schedule: Literal["constant", "rising", "falling"] = Field(
        "constant", description="λ over the updates of a step: the same, or from 0 to twice itself, or back"
    )
    twins_of: Literal["all", "current", "replayed"] = Field(
        "all", description="the examples that may come with their masked twins"
    )
    twin_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="the share of those examples that do so in an update. Where they are drawn by chance the "
        "term is divided by it, and so stays the same on average",
        json_schema_extra=cost("an example with its twin costs two to three times one without"),
    )
    twin_choice: Literal["random", "lowest"] = Field(
        "random", description="which of them: by chance, or of the tasks of lowest gain"
    )
    reference: Literal["initial", "previous"] = Field(
        "initial",
        description="the masked twin is held to the starting model, or to that of the step's start",
        json_schema_extra=cost("a copy of the trained weights in memory, but for 'initial' with LoRA"),
    )
    kept_mib: CountOrAll = Field(
        256,
        description="MiB for what the reference answered to masked twins: each is asked once in a step as "
        "long as there is room. 0: anew in every update. Results are the same up to rounding",
        json_schema_extra=cost("saves a forward pass over every twin that comes again, takes that memory"),
    )
    gain_from: Literal["probe", "training"] = Field(
        "probe",
        description="gains are measured on probes, or read off the passes that train: for each task the mean "
        "over the last `num_probes` of its examples or more. A task that was not read yet has gain 0",
        json_schema_extra=cost("'training' makes no pass for gains"),
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


UNREAD = Gain(0.0, 0.0, 0.0, 0.0, num_examples=0, num_annotated=0)
"""The gain of a task of which no example was read yet: its twins are held as hard as can be."""


class Kpig(Method):
    """A divergence term on masked twins, weighted by key-part gain, beside replay: uniform or by that gain.

    Gains of the seen tasks and of the current ones are measured when a step begins and every `refresh`
    updates, unless nothing depends on them. Until the next measurement they decide how hard each task's
    masked twin is held to the reference model and, unless `selection` is uniform, which tasks are replayed or
    with what chance in every update. `learned` is each task's gain when the step after its own begins: no
    weight has changed since it was learned. With `gain_from = "training"` nothing is measured: gains are the
    means of `running`, anew in every update.

    `running` holds gains read off the training passes, `kept` what the reference answered in this step.
    """

    Settings = KpigSettings
    settings: KpigSettings
    memory: Memory

    shards = True
    penalties: ClassVar[Mapping[str, str]] = {"twin_penalty": "method.kpig.twin_weight"}
    divergences = frozenset({"twin_penalty"})

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.paired = self.settings.twin_weight > 0
        if self.settings.gain_from == "training" and not self.paired:
            raise ConfigError(
                'method.kpig.gain_from = "training" reads gains off the masked twins, which '
                'method.kpig.twin_weight = 0 leaves out; raise it, or set gain_from = "probe"'
            )
        if config.train.shard and self.paired and self.settings.reference == "previous":
            raise ConfigError(
                'method.kpig.reference = "previous" asks a model of earlier weights, and train.shard = true '
                'knows the starting ones only; set it to "initial", or train.shard = false'
            )
        self.makes_logits = not self.paired or config.train.shard
        self.needs_initial = self.paired and self.settings.reference == "initial"
        self.memory = Memory(config.replay.memory_per_task, config.seed)
        self.gains: dict[str, Gain] = {}
        self.learned: dict[str, float] = {}
        self.learned_likelihood: dict[str, float] = {}
        self.chosen: list[str] = []
        self.running: dict[str, tuple[running_gain.Read, ...]] = {}
        self.kept: Kept = {}
        self._read: dict[int, tuple[str, Gain]] = {}
        self._scale = 1.0
        self._current_probes: dict[str, tuple[Example, ...]] = {}
        self._previous: Weights | None = None

    def begin_step(self, step: Step, learner: Learner) -> Step:
        """The probes of a current task are those that memory will have of it."""
        count = self.settings.num_probes
        self._current_probes = {task.name: self.memory.part(task)[:count] for task in step.tasks}
        if self.paired and self.settings.reference == "previous":
            self._previous = learner.weights()
        self.kept = {}
        return step

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        self._read = {}
        if self.settings.gain_from == "training" or self._is_due(clock):
            self.gains = self._measure(learner)
            new = [task for task in self.memory.tasks if task in self.gains and task not in self.learned]
            self.learned |= {task: self._in_unit(self.gains[task]) for task in new}
            self.learned_likelihood |= {task: self.gains[task].instructed for task in new}
        self.chosen = self._select(clock)
        rng, count = clock.rng("replay"), self.num_replayed(clock)
        return self.memory.draw(count, rng, self.chosen, self.settings.examples_per_task, fill=True)

    def twinned(self, examples: Sequence[Example], num_replayed: int, clock: Clock) -> list[bool]:
        """A share of those that may have a twin; and what λ is to be multiplied with in this update."""
        chosen = self.settings
        is_random = chosen.twin_choice == "random"
        self._scale = scheduled(chosen.twin_schedule, clock) / (chosen.twin_share if is_random else 1.0)
        first_replayed = len(examples) - num_replayed
        of_all = chosen.twins_of == "all"
        allowed = [
            of_all or (place >= first_replayed) == (chosen.twins_of == "replayed")
            for place in range(len(examples))
        ]
        urgency = None if is_random else [twin_weight(self.gains, one.task) for one in examples]
        return twin_choice.chosen(examples, allowed, chosen.twin_share, clock.rng("twins"), urgency)

    def measured(self, clock: Clock) -> dict[str, Any]:
        """Every task's gain, at the updates that measure: measured, and after the update as it was read."""
        found = {}
        if self._is_due(clock):
            found["gain"] = {task: one for task, one in self.gains.items() if one.num_examples}
        if self._is_due(clock) or clock.update + 1 == clock.num_updates:
            found["training_gain"] = self._running_means()
        return {
            name: {task: round(self._in_unit(one), 4) for task, one in gains.items()}
            for name, gains in found.items()
            if gains
        }

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        """CE of originals + λ · w(task) · JSD of twins, summed over tokens (docs/method.md, section 6)."""
        import torch

        from kpig.methods.parts import twins
        from kpig.model import gain
        from kpig.model.kept import MEBI, Reader

        if not self.paired:
            return super().loss(learner, batch)

        def spread(by_example: Sequence[float]) -> Tensor:
            scaled = self.settings.twin_weight * self._scale * torch.tensor(by_example)
            return scaled.to(learner.device)[batch.example[batch.twin_of]]

        weights: twins.Weights
        if self.settings.weighting == "example":
            weights = lambda log_probs: spread([unheard(one) for one in gain.of_batch(batch, log_probs)])  # noqa: E731
        else:
            weights = spread([self._weight(example.task) for example in batch.examples])
        most_bytes = self.settings.kept_mib * MEBI
        reader = Reader(learner, self._previous, most_bytes, self.config.train.row_tokens)
        found = twins.read(batch, weights, reader, self.kept)
        gains = gain.of_batch(batch, found.log_probs)
        with_twins = set(batch.with_twins)
        self._read |= {
            place: (example.task, one)
            for number, (place, example, one) in enumerate(
                zip(batch.places, batch.examples, gains, strict=True)
            )
            if number in with_twins or not example.instruction.key_parts
        }
        log = {"cross_entropy": -found.log_probs[: batch.num_tokens].sum()}
        if found.divergence is not None and found.term is not None:
            log |= {"divergence": found.divergence.sum(), "twin_penalty": found.term}
        return Loss(found.total, log)

    def shape_gradients(self, learner: Learner, clock: Clock) -> None:
        """The passes of the update are made: what they told of gains joins `running`, in order.

        Of several processes that share a job, each has read a part.
        """
        read = ranks.in_order(ranks.united(lambda: self._read)) if self.paired else []
        self.running = running_gain.grown(self.running, read, self.settings.num_probes)
        self._read = {}

    def end_step(self, step: Step, learner: Learner) -> None:
        """What the reference answered is of use in this step only."""
        self.kept = {}

    def state_dict(self) -> dict[str, Any]:
        gains = {task: asdict(measured) for task, measured in self.gains.items()}
        learned = {"learned": self.learned, "learned_likelihood": self.learned_likelihood}
        state: dict[str, Any] = {"memory": self.memory.state(), "gains": gains, **learned}
        if self.running:
            state["running"] = running_gain.as_state(self.running)
        if self.kept:
            from kpig.model.kept import as_state

            state["kept"] = as_state(self.kept)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
        self.gains = {task: Gain(**measured) for task, measured in state["gains"].items()}
        self.learned = dict(state["learned"])
        self.learned_likelihood = dict(state.get("learned_likelihood", {}))
        self.running = running_gain.from_state(state.get("running", {}))
        self.kept = {}
        if "kept" in state:
            from kpig.model.kept import from_state

            self.kept = from_state(state["kept"])

    def _is_due(self, clock: Clock) -> bool:
        """Whether gains are measured before this update."""
        return clock.update == 0 or (self.settings.refresh > 0 and clock.update % self.settings.refresh == 0)

    def _measure(self, learner: Learner) -> dict[str, Gain]:
        from kpig.model import gain

        if self.settings.gain_from == "training":
            return dict.fromkeys([*self._current_probes, *self.memory.tasks], UNREAD) | self._running_means()
        probes = self._current_probes | self.memory.probes(self.settings.num_probes)
        selects = self.settings.selection != "uniform" and self.memory.tasks
        weighs = self.paired and (self.settings.weighting == "gain" or self.settings.twin_choice == "lowest")
        if not (selects or weighs):
            return {}
        asked = self.settings.gain_precision
        with nullcontext() if asked == "train" else learner.computing(asked):
            return gain.measure(learner, probes, self.config.train.row_tokens)

    def _running_means(self) -> dict[str, Gain]:
        from kpig.model.gain import average

        return {task: average(running_gain.examples(read)) for task, read in self.running.items()}

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
        found = self.gains[task]
        now = self._in_unit(found)
        fall = found.instructed - self.learned_likelihood.get(task, found.instructed)
        by_name = {
            "gain": now,
            "gain_drop": now - self.learned[task],
            "likelihood_drop": fall,
            "unheard_drop": fall * unheard(found),
        }
        return by_name[self.settings.signal]

    def _in_unit(self, measured: Gain) -> float:
        return measured.log if self.settings.gain_unit == "log" else measured.prob

    def _weight(self, task: str) -> float:
        """w(τ) = 1 - clip(G(τ), 0, 1) of docs/method.md, section 6."""
        return twin_weight(self.gains, task) if self.settings.weighting == "gain" else 1.0


def twin_weight(gains: Mapping[str, Gain], task: str) -> float:
    """How hard a task's masked twin is held."""
    return unheard(gains[task])


def unheard(gain: Gain) -> float:
    """1 - the probability gain, within [0, 1]: how little an answer depends on the key parts."""
    return 1.0 - min(max(gain.prob, 0.0), 1.0)


def scheduled(schedule: str, clock: Clock) -> float:
    """What λ is multiplied with in an update; its mean over a step is 1."""
    done = (clock.update + 0.5) / clock.num_updates
    return {"constant": 1.0, "rising": 2 * done, "falling": 2 * (1 - done)}[schedule]
