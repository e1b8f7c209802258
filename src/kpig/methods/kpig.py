"""KPIG: measure who listens; do not learn to answer without being told (docs/method.md, sections 4 to 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

from kpig import ranks
from kpig.config import MethodSection, RunConfig
from kpig.errors import ConfigError, clause
from kpig.methods import chosen
from kpig.methods.base import Clock, Loss, Method, Step
from kpig.methods.parts import running_gain, twin_choice
from kpig.methods.parts.kpig_settings import KpigSettings
from kpig.methods.parts.memory import Memory, pick
from kpig.methods.parts.selection import chances, lowest, proportional
from kpig.methods.parts.upkeep import Matrices, Upkeep
from kpig.records import Example, Gain, Task

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.methods.parts import twins
    from kpig.methods.parts.twins import Losses
    from kpig.model.batch import Batch
    from kpig.model.kept import Kept
    from kpig.model.learner import Learner, Weights


UNREAD = Gain(0.0, 0.0, 0.0, 0.0, num_examples=0, num_annotated=0)
"""The gain of a task of which no example was read yet: its twins are held as hard as can be."""


class Kpig(Method):
    """A divergence term on masked twins, weighted by key-part gain, beside replay: uniform or by that gain.

    Gains of the seen tasks and of the current ones are measured when a step begins and every `refresh`
    updates, unless nothing depends on them. Until the next measurement they decide how hard each task's
    masked twin is held to the reference model and, unless `selection` is uniform, which tasks are replayed or
    with what chance in every update. `learned` is each task's gain when the step after its own begins: no
    weight has changed since it was learned. Where gains are read off the training passes nothing is
    measured: they are the means of `running`, anew in every update.

    `running` holds gains read off the training passes, `kept` what the reference answered in this step.

    `method` is what learns beside the twins: nothing but the loop's cross-entropy, or the method that `base`
    names. Every hook passes on to it. Where it has a memory, that is the memory, and it replays.
    """

    Settings = KpigSettings
    settings: KpigSettings
    memory: Memory

    shards = True
    penalties: ClassVar[Mapping[str, str]] = {"twin_penalty": "method.kpig.twin_weight"}
    divergences = frozenset({"twin_penalty"})
    lasting = frozenset({"base", "base_settings"})

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.method = self._made()
        self.paired = self.settings.twin_weight > 0
        self.reads_along = type(self.method).loss is Method.loss
        self.reads_gains = self.settings.reads_gains(self.reads_along)
        self.probes = self.paired and not self.reads_gains
        if self.reads_gains and not self.paired:
            raise ConfigError(
                'method.kpig.gain_from = "training" reads gains off the masked twins, which '
                'method.kpig.twin_weight = 0 leaves out; raise it, or set gain_from = "probe"'
            )
        if config.train.shard and self.paired and self.settings.reference == "previous":
            raise ConfigError(
                'method.kpig.reference = "previous" asks a model of earlier weights, and train.shard = true '
                'knows the starting ones only; set it to "initial", or train.shard = false'
            )
        for key, value, other in (("weighting", "example", "gain"), ("gain_from", "training", "probe")):
            if not self.reads_along and getattr(self.settings, key) == value:
                raise ConfigError(
                    f"method.kpig.{key} = {value!r} reads likelihoods off the pass that trains, and "
                    f"{self.settings.base!r} has a loss of its own; set {key} = {other!r}"
                )
        self.makes_logits = not (self.paired and self.reads_along) or config.train.shard
        self.needs_initial = self.method.needs_initial or (
            self.paired and self.settings.reference == "initial"
        )
        if self.method.renames and self.needs_initial:
            raise ConfigError(
                "method.kpig.reference = 'initial' asks the starting model, and "
                f"{self.settings.base!r} trains weights of other names, for which its own cannot stand in; "
                "set method.kpig.reference = 'previous', or method.kpig.twin_weight = 0"
            )
        self.reading, self.shares_rows = self.method.reading, self.method.shares_rows
        own = self.method.memory
        self.memory = Memory(config.replay.memory_per_task, config.seed) if own is None else own
        self.gains: dict[str, Gain] = {}
        self.learned: dict[str, float] = {}
        self.learned_likelihood: dict[str, float] = {}
        self.chosen: list[str] = []
        self.running: dict[str, tuple[running_gain.Read, ...]] = {}
        self.kept: Kept = {}
        self._read: dict[int, tuple[str, Gain]] = {}
        self._passed_over: frozenset[int] = frozenset()
        self._scale = 1.0
        self._current_probes: dict[str, tuple[Example, ...]] = {}
        self._previous: Weights | None = None
        self._asked: Step | None = None

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        return self.method.arrange(steps)

    def num_updates(self, default: int) -> int:
        return self.method.num_updates(default)

    def num_replayed(self, clock: Clock) -> int:
        return self.method.num_replayed(clock)

    def upkeep(self, matrices: Matrices) -> Upkeep:
        found = self.method.upkeep(matrices)
        is_previous = self.paired and self.settings.reference == "previous"
        return replace(found, copies=found.copies + int(is_previous))

    def begin_step(self, step: Step, learner: Learner) -> Step:
        """The probes of a current task are those that a random memory will have of it.

        Both are of the tasks as they are asked, where the method beside it adds others to them (radis).
        """
        given, count = step, self.settings.num_probes
        step = self.method.begin_step(step, learner)
        self._asked = given if self.method.memory is None else step
        self._current_probes = {task.name: self.memory.part(task)[:count] for task in self._asked.tasks}
        if self.paired and self.settings.reference == "previous":
            self._previous = learner.weights()
        self.kept = {}
        return step

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        self._read = {}
        if self.reads_gains or self._is_due(clock):
            self.gains = self._measure(learner)
            new = [task for task in self.memory.tasks if task in self.gains and task not in self.learned]
            self.learned |= {task: self._in_unit(self.gains[task]) for task in new}
            self.learned_likelihood |= {task: self.gains[task].instructed for task in new}
        if self.method.memory is not None:
            return self.method.replay(clock, learner)
        self.chosen = self._select(clock)
        rng, count = clock.rng("replay"), self.num_replayed(clock)
        return self.memory.draw(count, rng, self.chosen, self.settings.examples_per_task, fill=True)

    def current(self, examples: Sequence[Example], clock: Clock, learner: Learner) -> Sequence[Example]:
        return self.method.current(examples, clock, learner)

    def twinned(self, examples: Sequence[Example], num_replayed: int, clock: Clock) -> list[bool]:
        """A share of those that may have a twin; and what λ is to be multiplied with in this update.

        Examples without key parts have none. The same share of them is read for the gain of their task: else
        they would count more in it than those that have some.
        """
        asked = self.settings
        is_random = asked.twin_choice == "random"
        self._scale = scheduled(asked.twin_schedule, clock) / (asked.twin_share if is_random else 1.0)
        num_current = len(examples) - num_replayed
        allowed = [asked.twins_of != "replayed"] * num_current + [asked.twins_of != "current"] * num_replayed
        bare, rng = twin_choice.bare(examples), clock.rng("bare")
        self._passed_over = frozenset(
            place for place in bare if not allowed[place] or rng.random() >= asked.twin_share
        )
        urgency = None if is_random else [unheard(self.gains.get(one.task, UNREAD)) for one in examples]
        return twin_choice.chosen(examples, allowed, asked.twin_share, clock.rng("twins"), urgency)

    def measured(self, clock: Clock) -> dict[str, Any]:
        """Every task's gain, at the updates that measure: measured, and after the update as it was read."""
        found = {}
        if self._is_due(clock):
            found["gain"] = {task: one for task, one in self.gains.items() if one.num_examples}
        if self._is_due(clock) or clock.update + 1 == clock.num_updates:
            found["training_gain"] = self._running_means()
        return self.method.measured(clock) | {
            name: {task: round(self._in_unit(one), 4) for task, one in gains.items()}
            for name, gains in found.items()
            if gains
        }

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        """CE of originals + λ · w(task) · JSD of twins, summed over tokens (docs/method.md, section 6).

        In place of the CE stands the loss of `method` where it has one of its own.
        """
        if not self.paired:
            return self.method.loss(learner, batch)
        from kpig.methods.parts import twins
        from kpig.model.kept import MEBI, Reader

        most_bytes = self.settings.kept_mib * MEBI
        reader = Reader(learner, self._previous, most_bytes, self.config.train.row_tokens)
        weights = self._weights(batch)
        if self.reads_along:
            found = twins.read(batch, weights, reader, self.kept)
            self._read |= self._as_read(batch, found.log_probs)
            entropy = -found.log_probs[: batch.num_tokens].sum()
            return Loss(found.total, {"cross_entropy": entropy} | _terms(found))
        own = self.method.loss(learner, batch)
        if batch.twins is None:
            return own
        found = twins.held(batch, weights, reader, self.kept)
        return Loss(own.sum + found.total, own.log | _terms(found))

    def shape_gradients(self, learner: Learner, clock: Clock) -> None:
        """The passes of the update are made: what they told of gains joins `running`, in order.

        Of several processes that share a job, each has read a part.
        """
        self.method.shape_gradients(learner, clock)
        parts = ranks.united(lambda: self._read) if self.paired else []
        by_place = {place: one for part in parts for place, one in part.items()}
        read = [by_place[place] for place in sorted(by_place)]  # of examples without their twin, none
        self.running = running_gain.grown(self.running, read, self.settings.num_probes)
        self._read = {}

    def end_step(self, step: Step, learner: Learner) -> None:
        """What the reference answered is of use in this step only."""
        self.method.end_step(step, learner)
        self.kept = {}

    def penalty(self, learner: Learner) -> Tensor | None:
        return self.method.penalty(learner)

    def remember(self, step: Step, learner: Learner) -> None:
        self.method.remember(step, learner)
        if self.method.memory is None:
            super().remember(self._asked or step, learner)

    def forget(self) -> None:
        self.method.forget()
        super().forget()

    def notes(self) -> list[str]:
        return self.method.notes()

    def all_penalties(self) -> dict[str, str]:
        keys = {name: key.rpartition(".")[2] for name, key in self.method.all_penalties().items()}
        return dict(self.penalties) | {name: f"method.kpig.base_settings.{key}" for name, key in keys.items()}

    def divergence_weights(self) -> dict[str, float]:
        return super().divergence_weights() | self.method.divergence_weights()

    def state_dict(self) -> dict[str, Any]:
        gains = {task: asdict(measured) for task, measured in self.gains.items()}
        learned = {"learned": self.learned, "learned_likelihood": self.learned_likelihood}
        state: dict[str, Any] = {"memory": self.memory.state(), "gains": gains, **learned}
        if self.settings.base:
            state["base"] = self.method.state_dict()
        if self.running:
            state["running"] = running_gain.as_state(self.running)
        if self.kept:
            from kpig.model.kept import as_state

            state["kept"] = as_state(self.kept)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.restore(state["memory"])
        if self.settings.base:
            self.method.load_state_dict(state["base"])
        self.gains = {task: Gain(**measured) for task, measured in state["gains"].items()}
        self.learned = dict(state["learned"])
        self.learned_likelihood = dict(state.get("learned_likelihood", {}))
        self.running = running_gain.from_state(state.get("running", {}))
        self.kept = {}
        if "kept" in state:
            from kpig.model.kept import from_state

            self.kept = from_state(state["kept"])

    def _made(self) -> Method:
        """The method that learns beside the twins; ConfigError where it cannot stand beside them."""
        base, given = self.settings.base, self.settings.base_settings
        if given and not base:
            raise ConfigError("method.kpig.base_settings are those of a base, and there is none; set base")
        if base == "kpig":
            raise ConfigError(
                "method.kpig.base = 'kpig' would be itself; leave it out, or name another method"
            )
        section = MethodSection(name=base or "sequential").holding(given)
        try:
            method = chosen.create(self.config.model_copy(update={"method": section}))
        except ConfigError as error:
            raise ConfigError(f"method.kpig.base = {base!r}: {clause(error)}") from error
        if method.memory is not None and self.settings.selection != "uniform":
            raise ConfigError(
                f"method.kpig.selection = {self.settings.selection!r}: {base!r} chooses what is "
                "replayed; remove the one or the other"
            )
        return method

    def _weights(self, batch: Batch) -> twins.Weights:
        """[M], for each token of the batch's twins; or what makes them of log p, with a weight for each."""
        from kpig.model import gain

        if self.settings.weighting == "example":
            return lambda log_probs: self._spread(batch, map(unheard, gain.of_batch(batch, log_probs)))
        return self._spread(batch, (self._weight(example.task) for example in batch.examples))

    def _spread(self, batch: Batch, by_example: Iterable[float]) -> Tensor:
        import torch

        scaled = self.settings.twin_weight * self._scale * torch.tensor(list(by_example))
        return scaled.to(batch.example.device)[batch.example[batch.twin_of]]

    def _as_read(self, batch: Batch, log_probs: Tensor) -> dict[int, tuple[str, Gain]]:
        """The gains of a batch's examples by their places; of those that are left out of them, none."""
        from kpig.model import gain

        with_twins = set(batch.with_twins)
        gains = zip(batch.places, batch.examples, gain.of_batch(batch, log_probs), strict=True)
        return {
            place: (example.task, one)
            for number, (place, example, one) in enumerate(gains)
            if number in with_twins or not (example.instruction.key_parts or place in self._passed_over)
        }

    def _is_due(self, clock: Clock) -> bool:
        """Whether gains are measured before this update."""
        return clock.update == 0 or (self.settings.refresh > 0 and clock.update % self.settings.refresh == 0)

    def _measure(self, learner: Learner) -> dict[str, Gain]:
        from kpig.model import gain

        if self.reads_gains:
            return dict.fromkeys([*self._current_probes, *self.memory.tasks], UNREAD) | self._running_means()
        probes = self._current_probes | self.memory.probes(self.settings.num_probes)
        selects = self.settings.selection != "uniform" and self.memory.tasks and self.method.memory is None
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
        return unheard(self.gains.get(task, UNREAD)) if self.settings.weighting == "gain" else 1.0


def _terms(found: Losses) -> dict[str, Tensor]:
    """The terms of an update's record that the twins add."""
    if found.divergence is None or found.term is None:
        return {}
    return {"divergence": found.divergence.sum(), "twin_penalty": found.term}


def unheard(gain: Gain) -> float:
    """1 - the probability gain, within [0, 1]: how little an answer depends on the key parts."""
    return 1.0 - min(max(gain.prob, 0.0), 1.0)


def scheduled(schedule: str, clock: Clock) -> float:
    """What λ is multiplied with in an update; its mean over a step is 1."""
    done = (clock.update + 0.5) / clock.num_updates
    return {"constant": 1.0, "rising": 2 * done, "falling": 2 * (1 - done)}[schedule]
