"""The one interface behind which every method learns a stream, and the plain data it works with."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from kpig.config import RunConfig
from kpig.config.section import Section
from kpig.errors import ConfigError
from kpig.methods.parts.memory import Memory
from kpig.methods.parts.upkeep import Matrices, Upkeep
from kpig.records import Example, Task

if TYPE_CHECKING:
    from torch import Tensor

    from kpig.model.batch import Batch
    from kpig.model.learner import Learner

ROUNDING = 1e-9
"""What a product of whole numbers and ratios may lack to the whole number that it stands for."""


@dataclass(frozen=True)
class Step:
    """One step of the stream: its number from 1, its tasks, and how many updates it gets.

    `bounds`: see `Clock`.
    """

    number: int
    tasks: tuple[Task, ...]
    num_updates: int
    bounds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Clock:
    """Where training stands. All chance is drawn from here, so a resumed run draws the same."""

    seed: int
    """That of the config."""

    step: int
    """Number of the step, from 1."""

    update: int
    """Updates of this step that are done: 0 in its first update, which the records count as 1."""

    num_updates: int
    """Updates of this step in all."""

    num_current: int
    """Examples of the current step in this update."""

    bounds: tuple[int, ...] = ()
    """Those in all updates before each one, and before the end: `num_updates` + 1 rising counts.

    Empty where each update has `num_current`.
    """

    def current_before(self, update: int) -> int:
        """Examples of the current step in all updates before one of them."""
        return self.bounds[update] if self.bounds else update * self.num_current

    def rng(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, step and update: asked twice, it draws the same twice."""
        return random.Random(f"{self.seed}/{purpose}/{self.step}/{self.update}")


@dataclass(frozen=True)
class Loss:
    """What one micro-batch adds to the loss of an update."""

    sum: Tensor
    """A scalar with gradient, summed over response tokens.

    The loop divides it once, by the response tokens of all micro-batches of the update, replayed ones
    included: so a split into micro-batches changes nothing.
    """

    log: dict[str, Tensor] = field(default_factory=dict)
    """Terms for the update's record, detached sums that the loop divides as it does `sum`.

    One of them is "cross_entropy", beside which penalties are judged. Those of the loop itself, such as
    "loss" and "tokens", are taken. A term that an update does not have is left out: as 0 it would be judged,
    and said to hardly act.
    """


class Settings(Section):
    """What a user may set of a method: a frozen table, its fields with type, default and description.

    It is the table [method.NAME] of a config, [method.options] for a module:Class of a third party. Keys it
    does not know and values of another type are refused before any model loads.
    """

    former: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """What held before a setting existed, where that is not its default: a run of that time keeps it."""


class NoSettings(Settings):
    """Of a method that has none."""


class Method:
    """One way to learn a task stream. Override only what differs; never subclass a subclass.

    A method never calls the optimizer and never writes files.
    """

    Settings: ClassVar[type[Settings]] = NoSettings
    """The class of `settings`; a method with settings states its own, and `settings: OwnSettings` for types.

    Every field has a default.
    """

    paired = False
    """Whether batches also carry the masked twins."""

    reading = False
    """Whether batches also ask for the prompt tokens, after the response tokens.

    Needs a number as train.row_tokens.
    """

    shares_rows = True
    """Whether examples may share rows; False where a method looks at other tokens than `rows.target`."""

    memory: Memory | None = None
    """Set in __init__ by methods that keep past examples; filled after every step, kept in the state.

    Such a method writes `memory: Memory` in its class, for types.
    """

    needs_initial = False
    """Whether the starting model is compared with or asked, so that its weights must be kept."""

    renames = False
    """Whether trainable weights have other names while a step learns.

    The starting model's cannot stand in for them then, so it cannot be asked.
    """

    penalties: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Terms of an update's record that stand beside the cross-entropy, each with the setting that scales it.

    "penalty" is what `penalty` returns; other terms are in the log of a loss, as they were added to it. The
    record of an update that has some tells their ratio to the cross-entropy, and there is a warning where one
    stays out of scale.
    """

    divergences: ClassVar[frozenset[str]] = frozenset()
    """Those of `penalties` that are a divergence in nats, times the setting of `settings` that scales them.

    They begin near 0, as the model begins where it is held, and none is said to be too small before it moved.
    """

    shards = False
    """Whether it can learn while weights are divided between processes (train.shard).

    So it can where it leaves weights and gradients to the loop, and a loss makes one pass with gradient.
    Passes without gradient may come at any time, also of the starting model.
    """

    undivided: ClassVar[str] = "is not known to learn the same with parts of them"
    """What is said of a method that cannot do so, behind its name."""

    probes = False
    """Whether it measures gains while it learns, in passes of their own: memory is reckoned so."""

    makes_logits = True
    """Whether its loss has the logits of all response tokens at once; so the memory of a run is reckoned."""

    lasting: ClassVar[frozenset[str]] = frozenset()
    """Names of settings that must stay as they were when a run goes on with further steps (kpig continue)."""

    def __init__(self, config: RunConfig):
        """Take over the config, and from it the method's settings. No model is loaded yet.

        What the method cannot do with a config is refused here: ConfigError that names the key.
        """
        if config.train.shard and not self.shards:
            raise ConfigError(
                f"train.shard = true divides weights between processes, and method {config.method.name!r} "
                f"{self.undivided}; set train.shard = false, so that each process has the whole model, or "
                "take another method (docs/several-gpus.md names them)"
            )
        self.config = config
        self.settings: Settings = self.Settings.model_validate(dict(config.method.given))

    def rng(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, the same for the same seed: for hooks that get no clock.

        What is to differ from step to step, or from task to task, has its number or name in the purpose.
        """
        return random.Random(f"{self.config.seed}/{purpose}")

    def arrange(self, steps: Sequence[tuple[Task, ...]]) -> list[tuple[Task, ...]]:
        """The task sets to learn one after the other; as the stream has them unless overridden.

        A stream that the method cannot learn is refused here, before a model loads: ConfigError. When a run
        goes on with further steps, this is asked about the shorter streams first, as they were known; the
        steps of those must come out as they did.
        """
        return list(steps)

    def num_updates(self, default: int) -> int:
        """Updates for a step, given what the config asks for."""
        return default

    def upkeep(self, matrices: Matrices) -> Upkeep:
        """What it holds and computes beside an update of its model, so that a run can be reckoned: nothing.

        Past examples, the starting model (`needs_initial`) and masked twins (`paired`) are known without it.
        `matrices` are those of a model's layers, which need not be there.
        """
        return Upkeep()

    def begin_step(self, step: Step, learner: Learner) -> Step:
        """Called before the first update of a step, also when resuming inside it; what is trained on.

        The learner has the weights of the step's start. The step is returned as it is unless a method
        rewrites its examples.
        """
        return step

    def num_replayed(self, clock: Clock) -> int:
        """Past examples for this update: the budget that a comparison holds equal.

        Where the ratio asks for a fraction, whole examples come as often as makes their number right on
        average.
        """
        until, before = (
            math.floor(self.config.replay.ratio * clock.current_before(update) + ROUNDING)
            for update in (clock.update + 1, clock.update)
        )
        return until - before

    def most_replayed(self, clock: Clock) -> int:
        """The largest number that `num_replayed` asks for in a step, where tasks are chosen once for all."""
        whole = math.ceil(self.config.replay.ratio * self.config.train.batch_size)
        return max(self.num_replayed(clock), whole)

    def replay(self, clock: Clock, learner: Learner) -> Sequence[Example]:
        """Past examples to mix into this update; none while memory is empty, as in the first step."""
        return ()

    def current(self, examples: Sequence[Example], clock: Clock, learner: Learner) -> Sequence[Example]:
        """The current examples of this update as they are trained on, asked for after `replay`.

        As they are unless a method writes them anew, with the weights of now: as many, in their order.
        """
        return examples

    def twinned(self, examples: Sequence[Example], num_replayed: int, clock: Clock) -> Sequence[bool]:
        """Which examples of an update come with their masked twins, of a `paired` method: all.

        Called after `replay`; the last `num_replayed` are what it returned. One without key parts has none.
        """
        return [True] * len(examples)

    def measured(self, clock: Clock) -> dict[str, Any]:
        """What `replay` has just measured, as JSON values for the update's record; {} for nothing."""
        return {}

    def loss(self, learner: Learner, batch: Batch) -> Loss:
        """The loss of one micro-batch; cross-entropy over response tokens unless overridden."""
        from kpig.model.objective import cross_entropy_sum

        logits = learner.response_logits(batch.rows)
        total = cross_entropy_sum(logits, batch.rows.target)
        return Loss(total, {"cross_entropy": total.detach()})

    def penalty(self, learner: Learner) -> Tensor | None:
        """A scalar with gradient, asked for once per update and added to its mean loss; None for none."""
        return None

    def shape_gradients(self, learner: Learner, clock: Clock) -> None:
        """Change gradients in place after backward, before clipping."""

    def end_step(self, step: Step, learner: Learner) -> None:
        """Called after the last update of a step; the weights that it leaves are the step's."""

    def remember(self, step: Step, learner: Learner) -> None:
        """Called after `end_step`: fill the memory, if there is one, with a random part of every task."""
        if self.memory is not None:
            for task in step.tasks:
                self.memory.add(task)

    def forget(self) -> None:
        """Drop every past example, and what is of use with it only; called between steps.

        For runs that go on without their data (kpig continue --forget-data).
        """
        if self.memory is not None:
            self.memory.tasks.clear()

    def all_penalties(self) -> Mapping[str, str]:
        """`penalties`, and those of a method that is a part of this one."""
        return self.penalties

    def divergence_weights(self) -> dict[str, float]:
        """The weight that scales each of `divergences`."""
        keys = {name: self.penalties[name].rpartition(".")[2] for name in self.divergences}
        return {name: float(getattr(self.settings, key)) for name, key in keys.items()}

    def notes(self) -> list[str]:
        """Sentences for whoever reads the scores, such as what could not be done; asked at the very end."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run cannot rebuild, the memory if there is one.

        JSON values, with tensors anywhere among them: in lists, and in dicts with text keys.
        """
        return {} if self.memory is None else {"memory": self.memory.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, read back from files: lists for tuples, tensors on the CPU.

        Called with the state of the last finished step before `begin_step` of the next one, and after that
        again where that step left a checkpoint. With `train.keep_best` it is also called before `end_step`,
        with the state after the step's best update, on a method that has gone on since: so it replaces all
        that `state_dict` returns.
        """
        if self.memory is not None:
            self.memory.restore(state["memory"])
