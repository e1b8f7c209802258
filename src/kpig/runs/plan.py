"""What a run would take on devices that need not be here: memory, computing, time and disk, by arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from kpig.config import RunConfig, build
from kpig.config.section import AUTO
from kpig.errors import UsageError
from kpig.methods import chosen
from kpig.model import portions
from kpig.model.folder import is_adapter, is_local, resolve
from kpig.runs import disk, fitting, load, memory, operations, shapes
from kpig.runs.disk import Disk
from kpig.runs.load import Data, Length, Measured, Place
from kpig.runs.memory import Phases
from kpig.runs.operations import Work
from kpig.runs.shapes import Shape
from kpig.training.precision import BFLOAT16, precision

GIGABYTE = 10**9

LEFT_FREE = 0.1
"""Of a GPU's memory, for its driver and for what the allocator scatters. Chosen, not measured."""

PLAIN = "replay"
"""The method beside which it is said what another one adds: the same updates, and the same past examples."""

CHECKPOINTED, LORA = "train.gradient_checkpointing=true", "model.adapter=lora"
HALF, FOUR_BITS = "model.dtype=bfloat16", "model.quantization=nf4"
SHARD = "train.shard=true"
"""Divides what a device holds, for some methods; so it is asked for, and no way that is proposed."""

WAYS: Sequence[tuple[str, ...]] = (
    (),
    (CHECKPOINTED,),
    (LORA,),
    (LORA, CHECKPOINTED),
    (LORA, HALF, CHECKPOINTED),
    (LORA, HALF, CHECKPOINTED, FOUR_BITS),
)
"""Changes that save memory, what changes a run least first."""


@dataclass(frozen=True)
class Told:
    """What is told beside the config; 0 and "" for nothing.

    `gigabytes` are those of each of the `devices`. `examples` to train on, in all `steps` together, have
    `tokens` each, of which `response_tokens` are the response. A device makes `teraflops` of 10^12
    multiplications and additions a second, and reads `bandwidth` gigabytes of its memory a second.
    """

    devices: int = 1
    gigabytes: float = 80.0
    model: str = ""
    examples: int = 0
    steps: int = 0
    tokens: int = 0
    response_tokens: int = 0
    teraflops: float = 0.0
    bandwidth: float = 0.0


@dataclass(frozen=True)
class Way:
    """One way to run the config: changes to it, what they make it take, and whether a device holds that."""

    changes: tuple[str, ...]
    phases: Phases
    fits: bool


@dataclass(frozen=True)
class Plan:
    """What a run takes; numbers of time are None where no rate is told.

    `work` and `micro_batches` are those of the way that is taken, the first that fits, else the last.
    `plain` is the work of the method PLAIN, `plain_phases` its memory, both in the same way.
    """

    shape: Shape
    data: Data
    ways: tuple[Way, ...]
    taken: Way
    updates: int
    micro_batches: int
    work: Work
    plain: Work
    plain_phases: Phases
    update_seconds: float | None
    training_seconds: float | None
    answers: int
    answering_seconds: float | None
    disk: Disk


def plan(config: RunConfig, told: Told) -> Plan:
    """What a run of the config takes on the devices that are told.

    The model is that of the config, or of `told.model` (see `shapes.named`), of which nothing but its
    config.json is read; the data are those of the config, as far as nothing else is told of them. Raises
    UsageError where what is told does not do, and a KpigError for a config that cannot be run.
    """
    _require(told)
    data = _data(config, told)
    ways = _ways(config, told, data)
    taken = next((way for way in ways if way.fits), ways[-1])
    changed = _changed(config, taken.changes)
    shape = _shape(changed, told)
    place = _place(changed, shape, told.devices)
    method, plain = chosen.create(changed), _changed(changed, (f"method.name={PLAIN}",))
    upkeep = method.upkeep(shape.matrices)
    groups = load.micro_batches(changed, method, upkeep, data.lengths, place)
    updates, work = operations.num_updates(changed, method, data), operations.work_of(changed, shape, data)
    turns = math.ceil(len(groups) / told.devices) / len(groups)
    answers = data.measured.tests * (2 if config.evaluate.half_listening else 1)
    return Plan(
        shape=shape,
        data=data,
        ways=tuple(ways),
        taken=taken,
        updates=updates,
        micro_batches=len(groups),
        work=work,
        plain=operations.work_of(plain, shape, data),
        plain_phases=memory.at_most(plain, shape, data.lengths, data.measured, place),
        update_seconds=_seconds(work.update * turns, told.teraflops),
        training_seconds=_seconds(
            work.updates * turns + (work.gains + work.steps) / told.devices, told.teraflops
        ),
        answers=answers,
        answering_seconds=_answering(changed, told, shape, data, place, answers),
        disk=disk.needed(changed, shape.trained * shape.trained_bytes, data.steps),
    )


def _require(told: Told) -> None:
    """Refuse what is no number to reckon with, and what would be left aside."""
    for name in ("gigabytes", "teraflops", "bandwidth"):
        value = getattr(told, name)
        if not math.isfinite(value) or value < 0:
            raise UsageError(f"{name} of a device are {value}; expected a number of 0 or more")
    if told.response_tokens and not told.tokens:
        raise UsageError(
            f"--response-tokens {told.response_tokens} is a part of --tokens, which is not told; give both, "
            "or none: then the data are read"
        )


def _data(config: RunConfig, told: Told) -> Data:
    if told.tokens:
        return _told_data(config, told)
    if not is_local(resolve(config.model.path)):
        raise UsageError(
            f"model.path {config.model.path!r} is no folder here, so that its tokenizer cannot count; tell "
            "the data: --examples N --tokens T --response-tokens R"
        )
    tasks = fitting.stream_of(config)
    return Data(
        lengths=tuple(load.sampled(config, tasks)),
        examples=told.examples or sum(len(task.train) for task in tasks.tasks),
        steps=told.steps or len(tasks.steps),
        measured=load.measured(tasks),
    )


def _told_data(config: RunConfig, told: Told) -> Data:
    if not told.examples or not 0 < told.response_tokens < told.tokens:
        raise UsageError(
            f"--tokens {told.tokens} needs --examples N, and --response-tokens R with R below {told.tokens}"
        )
    if told.tokens > config.model.max_length:
        raise UsageError(
            f"--tokens {told.tokens}: model.max_length = {config.model.max_length} cuts longer examples; "
            f"give fewer, or --set model.max_length={told.tokens}"
        )
    steps = told.steps or 1
    lengths = (Length(told.tokens, told.response_tokens, True),) * min(told.examples, load.NUM_SAMPLED)
    return Data(lengths, told.examples, steps, Measured(steps, 0))


def _shape(config: RunConfig, told: Told) -> Shape:
    """The shape of the model that is told, else of the config's; UsageError where there is none."""
    if told.model:
        return shapes.of_table(shapes.named(told.model), config.model)
    path = resolve(config.model.path)
    if not is_local(path):
        raise UsageError(
            f"model.path {config.model.path!r} is no folder here; tell its shape: --model with its "
            f"config.json, or one of {', '.join(shapes.KNOWN)}"
        )
    if is_adapter(path) and (found := shapes.of_section(config.model)):
        return found
    return shapes.of_table(shapes.named(path), config.model)


def _ways(config: RunConfig, told: Told, data: Data) -> list[Way]:
    """Every way that differs from those before it and that a config may ask for."""
    found: list[Way] = []
    known: list[RunConfig] = []
    room = told.gigabytes * GIGABYTE * (1 - LEFT_FREE)
    for changes in WAYS:
        if FOUR_BITS in changes and (_device(config) != "cuda" or config.train.shard):
            continue
        changed = _changed(config, changes)
        if changed in known:
            continue
        known.append(changed)
        shape = _shape(changed, told)
        place = _place(changed, shape, told.devices)
        phases = memory.at_most(changed, shape, data.lengths, data.measured, place)
        found.append(Way(changes, phases, phases.most.total <= room))
    return found


def _changed(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    return build(config.model_dump(mode="json"), changes)


def _device(config: RunConfig) -> str:
    """The kind of device that a run of the config is for: a GPU, unless another is named."""
    return "cuda" if config.train.device == AUTO else config.train.device


def _place(config: RunConfig, shape: Shape, processes: int) -> Place:
    """Where a run of the config computes; a GPU is taken to have bfloat16, a CPU to be as the one here."""
    device = _device(config)
    if device == "cuda" and config.train.precision == AUTO:
        return Place(device, True, processes)
    found = precision(config.train, Place(device, False), shape.weights)
    return Place(device, found == BFLOAT16, processes)


def _seconds(work: float, teraflops: float) -> float | None:
    return work / (teraflops * 1e12) if teraflops else None


def _answering(
    config: RunConfig, told: Told, shape: Shape, data: Data, place: Place, answers: int
) -> float | None:
    """Seconds in which the answers are written at the least: each token of a batch reads all weights once."""
    if not told.bandwidth or not answers:
        return None
    evaluate = config.evaluate
    most, is_shared = evaluate.max_new_tokens, evaluate.row_tokens != 0
    tokens = fmean(one.tokens - one.response for one in data.lengths) + most
    side_by_side = max(1, int(portions.generation(place, evaluate.tokens_per_batch, is_shared) // tokens))
    turns = math.ceil(math.ceil(answers / side_by_side) / told.devices)
    return turns * most * shape.weights * shape.weight_bytes / (told.bandwidth * GIGABYTE)
