"""A method learns two steps of a small stream, straight and interrupted; what happened is written down."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kpig import config as configuration
from kpig import ranks
from kpig.config import OPTIONS, RunConfig
from kpig.methods import growth
from kpig.methods.base import Clock, Method, Step
from kpig.methods.chosen import create
from kpig.methods.parts.memory import Memory
from kpig.model.learner import Learner, Weights
from kpig.records import Example
from kpig.tasks import suite
from kpig.testing import models
from kpig.training import checkpoint, loop

FULL, LORA = "none", "lora"
ADAPTERS = (FULL, LORA)
"""The kinds of tuning, as `model.adapter` names them."""

PAIRS = (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
TASKS = tuple(suite.task(pair, 9, 2, seed=0) for pair in PAIRS)
STEPS = (TASKS[:2], TASKS[2:])
"""Two tasks, then one, of nine training examples each: more than memory keeps, fewer than a step draws."""

UPDATES, BATCH, RATIO, CAPACITY = 4, 4, 0.75, 5
"""Updates of a step, current examples of an update, replayed for each of them, kept of a task. Odd where
they can be, and small, so that a history takes about a second."""

MICRO_BATCH = 96
"""Tokens of a micro-batch where one process is compared with several."""

LOW_RATE = 1e-4
"""The learning rate of that comparison."""

PAUSE = 2
"""Updates of the last step before the interrupted run is interrupted."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Beginning:
    """How a step found the learner and the method: weights, the method's state through files, the ledger."""

    weights: Weights
    state: Record
    ledger: Record


@dataclass
class History:
    """What happened when a method learned the stream."""

    config: RunConfig
    method: Method
    learner: Learner
    steps: list[Step]
    """The steps as the method arranged them."""

    surfaces: list[Record]
    """What a step must leave as it was (`surface`), before the first one and after each."""

    kept: list[dict[str, int]] = field(default_factory=list)
    """After each step, how many examples of each task `method.memory` holds."""

    begun: Beginning | None = None
    """How the last step began."""

    log: list[Record] = field(default_factory=list)
    """The records of the last step's updates."""

    drawn: list[list[Example]] = field(default_factory=list)
    """What `replay` returned in each update of the last step."""

    saved: list[int] = field(default_factory=list)
    """Numbers in the tensors of the method's state, after each update of the last step."""

    state: Record = field(default_factory=dict)
    """The method's state at the end, through files."""

    again: tuple[Method, Learner] | None = None
    """The run that was interrupted after `PAUSE` updates of the last step; None where it has none."""

    tail: list[Record] = field(default_factory=list)
    """The records of what the interrupted run did after it was resumed."""


def configured(method: str, settings: Mapping[str, Any] | None = None, adapter: str = FULL) -> RunConfig:
    """The config under which a method learns the stream; `settings` are those of its own table."""
    table = OPTIONS if ":" in method else method
    return configuration.build(
        {
            "model": {"adapter": adapter} | ({"lora_rank": models.RANK} if adapter == LORA else {}),
            "train": {
                "batch_size": BATCH,
                "updates_per_step": UPDATES,
                "learning_rate": 3e-3,
                "checkpoint_every": 1,
                "device": "cpu",
            },
            "replay": {"memory_per_task": CAPACITY, "ratio": RATIO},
            "method": {"name": method} | ({table: dict(settings)} if settings else {}),
        }
    )


def live(config: RunConfig, folder: Path) -> History:
    """Let the method of a config learn the stream, then once more from the middle of the last step.

    Dropout is on, and what a learner generates is `scripted`.
    """
    with scripted():
        method, learner, steps = begin(config)
        found = History(config, method, learner, steps, [surface(learner)])
        for step in steps:
            _learn(found, step, folder / f"step{step.number}")
        found.state = _through_files(method.state_dict(), folder / "end")
        if (middle := checkpoint.find(folder / f"step{steps[-1].number}")) is not None:
            _resume(found, checkpoint.read(middle))
    return found


def grown(config: RunConfig, folder: Path) -> tuple[Method, Learner]:
    """What has learned the first step when it was the whole stream, and then, new and from files, the last.

    ConfigError where the method refuses to go on.
    """
    with scripted():
        method, learner, (first,) = begin(config, num_steps=len(STEPS) - 1)
        loop.fit_step(learner, method, first, config, lambda event: None, lambda state: None)
        state = _through_files(method.state_dict(), folder / "grown")
        weights, ledger = learner.weights(), learner.ledger.as_dict()
        method, learner, steps = begin(config, lengths=[len(STEPS) - 1])
        learner.load_weights(weights)
        method.load_state_dict(state)
        learner.ledger.restore(ledger)
        loop.fit_step(learner, method, steps[-1], config, lambda event: None, lambda state: None)
    return method, learner


@dataclass(frozen=True)
class Learned:
    """What a method did in all steps, where no dropout draws: alike in one process and in several."""

    records: list[Record]
    """Those of all updates."""

    drawn: list[list[str]]
    """The ids of what `replay` returned in each update."""

    kept: list[dict[str, list[str]]]
    """What every memory of the method holds at the end: ids, by task."""

    tokens: tuple[int, int]
    """Those that went forward and backward, and those that went only forward."""


def learned(config: RunConfig) -> Learned:
    """What the method of a config does with the stream, in the processes that this one shares a job with.

    In micro-batches small enough for several processes, so that only the order of sums differs from one; and
    at a low rate, for AdamW makes whole steps of gradients that are nothing but rounding.
    """
    small = config.train.model_copy(update={"tokens_per_micro_batch": MICRO_BATCH, "learning_rate": LOW_RATE})
    config = config.model_copy(update={"train": small})
    records: list[Record] = []
    drawn: list[list[Example]] = []
    with scripted():
        method, learner, steps = begin(config, dropout=0.0)
        with patch.object(method, "replay", _recorded(method.replay, drawn)):
            for step in steps:
                loop.fit_step(learner, method, step, config, _updates_to(records), lambda state: None)
    kept = [
        {task: [example.id for example in found.examples] for task, found in memory.tasks.items()}
        for memory in memories(method)
    ]
    tokens = (learner.ledger.train_tokens, learner.ledger.forward_tokens)
    return Learned(records, [[example.id for example in one] for one in drawn], kept, tokens)


def begin(
    config: RunConfig, num_steps: int = len(STEPS), lengths: Sequence[int] = (), dropout: float = 0.1
) -> tuple[Method, Learner, list[Step]]:
    """A new method, a new learner and the steps, as the job makes them; `lengths` as in `growth.arranged`."""
    method = create(config)
    learner = models.learner(config.model.adapter == LORA, method.needs_initial, dropout)
    if config.train.shard and ranks.num_started() > 1:
        learner.network.shard("cpu", method.needs_initial)
    arranged = enumerate(growth.arranged(method, STEPS[:num_steps], lengths), 1)
    steps = [Step(number, tuple(tasks), method.num_updates(UPDATES)) for number, tasks in arranged]
    return method, learner, steps


def surface(learner: Learner) -> Record:
    """What a step must leave as it was: names, what is trainable, gradients, hooks, mode."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules, parameters = list(learner.model.modules()), list(learner.model.named_parameters())
    on_tensors = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return {
        "names": list(learner.parameters()),
        "trainable": {name: one.requires_grad for name, one in parameters},
        "gradients": [name for name, one in parameters if one.grad is not None],
        "hooks": sum(len(getattr(module, kind)) for module in modules for kind in kinds),
        "tensor_hooks": sum(len(getattr(one, kind) or ()) for _, one in parameters for kind in on_tensors),
        "training": learner.model.training,
    }


def memories(method: Method) -> list[Memory]:
    """Every memory that a method has as an attribute."""
    return [value for value in vars(method).values() if isinstance(value, Memory)]


def num_values(state: Mapping[str, Any]) -> int:
    """How many numbers stand in the tensors of a method's state."""
    return sum(value.numel() for value in checkpoint.parted(state)[1].values())


def _learn(found: History, step: Step, folder: Path) -> None:
    """One step of the straight run, with a checkpoint on disk after `PAUSE` updates."""
    method, learner = found.method, found.learner
    state = _through_files(method.state_dict(), folder / "before")
    found.begun = Beginning(learner.weights(), state, learner.ledger.as_dict())
    found.log, found.drawn, found.saved = [], [], []

    def save(state: checkpoint.Checkpoint) -> None:
        found.saved.append(num_values(state.method))
        if state.update == PAUSE:
            checkpoint.publish(state, folder)

    with patch.object(method, "replay", _recorded(method.replay, found.drawn)):
        loop.fit_step(learner, method, step, found.config, _updates_to(found.log), save)
    found.surfaces.append(surface(learner))
    memory = {} if method.memory is None else method.memory.tasks
    found.kept.append({task: len(kept.examples) for task, kept in memory.items()})


def _resume(found: History, middle: checkpoint.Checkpoint) -> None:
    """The last step from its checkpoint on, by a method and a learner that are as new as after a kill."""
    assert found.begun is not None
    method, learner, steps = begin(found.config)
    learner.load_weights(found.begun.weights)
    method.load_state_dict(found.begun.state)
    learner.ledger.restore(found.begun.ledger)
    log = _updates_to(found.tail)
    loop.fit_step(learner, method, steps[-1], found.config, log, lambda state: None, middle)
    found.again = (method, learner)


def _recorded(
    replay: Callable[[Clock, Learner], Sequence[Example]], drawn: list[list[Example]]
) -> Callable[[Clock, Learner], list[Example]]:
    def recorded(clock: Clock, learner: Learner) -> list[Example]:
        drawn.append(list(replay(clock, learner)))
        return list(drawn[-1])

    return recorded


def _updates_to(log: list[Record]) -> Callable[[Record], None]:
    """Keeps the records of updates, not the warnings between them, which count the updates of one process."""
    return lambda record: log.append(record) if "update" in record else None


def _through_files(state: Record, folder: Path) -> Record:
    """A method's state as it is read back."""
    folder.mkdir(parents=True)
    checkpoint.write_state(state, folder)
    read: Record = checkpoint.read_state(folder)["method"]
    return read


@contextmanager
def scripted() -> Iterator[None]:
    """What learners generate inside the block is made up: a model with random weights writes nothing."""
    with patch.object(Learner, "generate", _scripted), patch.object(Learner, "sample", _scripted):
        yield


def _scripted(
    learner: Learner, prompts: Sequence[Sequence[int]], max_new_tokens: int, *_: object
) -> list[tuple[str, bool]]:
    """Whole, new texts, the same for the same prompt."""
    marks = [zlib.crc32(repr(tuple(prompt)).encode()) for prompt in prompts]
    return [(f"w{mark}a w{mark}b w{mark}c.\nOutput: x", True) for mark in marks]
