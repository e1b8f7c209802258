"""How much memory a run will take, told before it begins: the arithmetic, and the numbers that go into it.

Everything is in bytes. How far the sum is off what was measured stands in docs/running.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import NamedTuple

import psutil

from kpig.config import OFFLOAD, RunConfig
from kpig.methods import chosen
from kpig.methods.base import Method
from kpig.methods.parts.upkeep import Factors, Upkeep
from kpig.model import portions
from kpig.model.folder import is_adapter, is_local, resolve
from kpig.records import Stream
from kpig.runs import machine, shapes
from kpig.runs.disk import MOMENTS, size
from kpig.runs.load import Length, Load, Measured, Place, device_of, loads, measured, place_of, sampled
from kpig.runs.shapes import Shape

PROGRAM = 580_000_000
"""Python and its libraries in a run of a model that takes next to nothing. Measured, as resident: 588 MB."""

PEFT = 130_000_000
"""What PEFT adds to the program when it is loaded. Measured."""

SCATTERED = 0.6
"""What the system's allocator holds beyond what it is asked for, as a share of activations and logits on a
CPU. Between the 0.35 (sequential) and 0.9 (kpig) that were measured with glibc; docs/running.md."""

OUTSIDE = 4
"""Times the residual stream that is kept outside the layers: embedding, and around the last norm."""

LOGITS, TWIN_LOGITS = 3, 9
"""Numbers of float32 held for each logit: itself and what its gradient takes; of a masked twin also what the
divergence keeps, and the reference model's logit. Counted in kpig.model.objective."""

OF_A_FORMULA = 6
"""Numbers of float32 for each logit that a formula reads at once, where logits are made a part at a time.
Counted in kpig.model.objective.jsd_slopes."""

READ_LOGITS = 1.5
"""The same for a logit of a pass without gradient, of which a log-probability is wanted. The sum over the
vocabulary takes another number; it is taken of originals and of twins by turns. Counted there too."""

CAST_BYTES = 2
"""Of each weight in float32, for its copy in bfloat16 where autocast computes. It lives until the way
back."""


class Kept(NamedTuple):
    """Bytes that a layer keeps of one token for the gradient: for each number of the residual stream, of keys
    (values included), and of the feed-forward part, where that has a gate."""

    hidden: int
    keys: int
    inner: int


KEPT: Mapping[tuple[bool, bool, bool], Kept] = MappingProxyType(
    {
        (False, False, False): Kept(32, 8, 16),
        (False, False, True): Kept(32, 8, 16),
        (False, True, False): Kept(30, 4, 8),
        (False, True, True): Kept(24, 4, 8),
        (True, False, False): Kept(20, 4, 8),
        (True, False, True): Kept(36, 4, 10),
        (True, True, False): Kept(20, 4, 8),
        (True, True, True): Kept(24, 4, 8),
    }
)
"""By whether weights are held in 16 bits, whether autocast computes in bfloat16, whether an adapter learns.

In float32: around the two norms three times the stream each, queries, keys and values, and what comes out of
attention; both ways in, the activation and the product. Autocast keeps the input of each matrix anew. An
adapter keeps none of what its base's matrices read, and in float32 is reckoned as if it did. All were counted
as the tensors that a Llama of transformers 5.23 saves, with torch 2.13 on a CPU."""

UNGATED = 5 / 4
"""Of the bytes of a feed-forward part with a gate, what one without keeps: the terms of a GELU."""


PLAIN = Upkeep()
"""That of a method that holds nothing of its own."""


@dataclass(frozen=True)
class Memory:
    """Bytes by what holds them, as far as they are there at the same time."""

    weights: float
    casts: float
    reference: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    program: float
    method: float = 0
    """What the method keeps: see `kpig.methods.parts.upkeep`."""

    @property
    def total(self) -> float:
        """All of them together."""
        return float(sum(getattr(self, one.name) for one in fields(self)))


@dataclass(frozen=True)
class Phases:
    """What a run does by turns: an update, measuring gains, answering, and what a method does between passes.

    That is writing answers that it learns, reading examples of the past besides, or the end of a step.
    """

    training: Memory
    gain: Memory
    answering: Memory
    between: Memory

    @property
    def most(self) -> Memory:
        """What takes most of them."""
        return _largest(self.training, self.gain, self.answering, self.between)


def _largest(*every: Memory) -> Memory:
    return max(every, key=lambda one: one.total)


def needed(shape: Shape, load: Load, num_references: int = 0, program: int = 0) -> Memory:
    """The most that training takes at once, or measuring gains or answering where that takes more."""
    return phases(shape, load, num_references, program).most


def phases(
    shape: Shape,
    load: Load,
    num_references: int = 0,
    program: int = 0,
    divided: int = 1,
    upkeep: Upkeep = PLAIN,
) -> Phases:
    """What each part of a run takes at the most.

    `num_references` are copies of the trained weights that are kept beside them. `program` are bytes of the
    program itself where it computes in the same memory, as on a CPU; the allocator's scatter counts then too.
    `divided` is the number of processes that divide the weights and what there is for each of them. `upkeep`
    is what the method says that it holds.
    """
    shape = learning(shape, upkeep)
    whole = _gathered(shape) if divided > 1 else 0
    trained = shape.trained * shape.trained_bytes / divided
    weights = (shape.weights / divided + whole) * shape.weight_bytes + (trained if shape.is_adapted else 0)
    is_cast = load.autocast and shape.number_bytes == 4
    in_pass = whole if divided > 1 and load.checkpointed else shape.weights
    casts = CAST_BYTES * in_pass if is_cast else 0
    kept_casts = 0 if shape.is_adapted or divided > 1 else casts  # without a gradient others go at once
    logits = _all_logits(shape, load, upkeep.logits) if load.makes_logits else _some_logits(shape, load)
    activations = _activations(shape, load, logits, upkeep.factors)
    scattered = 1 + SCATTERED if program else 1

    def held(passes: float, logits: float, is_training: bool, casts: float, gradients: float = 0) -> Memory:
        return Memory(
            weights=weights,
            casts=casts if is_training else 0,
            reference=num_references * trained,
            gradients=gradients,
            optimizer=MOMENTS * trained if is_training else 0,
            activations=passes * scattered,
            logits=logits * scattered,
            program=program,
            method=_kept(shape, upkeep, is_training) / divided,
        )

    in_layer = 4 * (shape.hidden + shape.inner)
    of_answer = 2 * shape.keys * shape.layers + in_layer
    of_whole = 0 if shape.is_adapted else whole * shape.trained_bytes
    gradients = of_whole + (trained if load.is_split else max(0, trained - activations - logits))
    number = 2 if is_cast else shape.number_bytes
    read_logits = 4 * shape.vocabulary * READ_LOGITS * load.read_targets
    writing = held(load.written * of_answer * shape.number_bytes, 0, True, kept_casts)
    return Phases(
        held(activations, logits, True, casts, gradients),
        held(
            max(0, load.read * in_layer * number - read_logits),
            read_logits,
            load.twin_targets > 0,
            kept_casts,
        ),
        held(load.generated * of_answer * shape.number_bytes, 0, False, 0),
        _largest(writing, _rehearsing(shape, load, upkeep, held), _ending(shape, load, upkeep, held)),
    )


def learning(shape: Shape, upkeep: Upkeep) -> Shape:
    """The shape with what learns in the place of its weights, where a method has such."""
    if upkeep.factors is None:
        return shape
    return replace(shape, trained=upkeep.factors.trained, trained_bytes=shape.number_bytes)


def _kept(shape: Shape, upkeep: Upkeep, is_training: bool) -> float:
    """Bytes that a method keeps. Copies are reckoned all the time, though some are there in a step only."""
    each = upkeep.copies * shape.trained_bytes + upkeep.wide * max(4, shape.trained_bytes)
    beside = upkeep.factors.kept if upkeep.factors is not None and is_training else 0
    return each * shape.trained + beside * shape.number_bytes


def _rehearsing(shape: Shape, load: Load, upkeep: Upkeep, held: Callable[..., Memory]) -> Memory:
    """Examples of the past that an update reads: beside its gradient, their sum and that of a pass."""
    if not upkeep.rehearsed:
        return held(0, 0, True, 0)
    tokens, targets = (math.ceil(upkeep.rehearsed) * one for one in load.alone)
    part = replace(load, tokens=min(tokens, load.tokens), targets=min(targets, load.targets), twin_targets=0)
    logits = _all_logits(shape, part)
    activations = _activations(shape, part, logits)
    of_pass = shape.trained * shape.trained_bytes
    sums = of_pass + shape.trained * max(4, shape.trained_bytes)
    return held(activations, logits, True, 0, sums + max(0, of_pass - activations - logits))


def _ending(shape: Shape, load: Load, upkeep: Upkeep, held: Callable[..., Memory]) -> Memory:
    """The end of a step: one example's pass, and what is made of its gradient, which is there besides."""
    if not upkeep.at_end:
        return held(0, 0, True, 0)
    tokens, targets = load.alone
    alone = replace(load, tokens=tokens, targets=targets, twin_targets=0)
    logits = _all_logits(shape, alone)
    activations = _activations(shape, alone, logits)
    taken = upkeep.at_end * 4 * shape.trained
    return held(activations, logits, True, 0, max(0, taken - activations - logits))


def _gathered(shape: Shape) -> float:
    """Of divided weights those that a process has whole in a pass: of two layers, and all outside of them.

    The next layer is on its way while one computes.
    """
    outside = min(shape.weights - shape.body, 2 * shape.vocabulary * shape.hidden)
    return outside + 2 * (shape.weights - outside) / shape.layers


def _activations(shape: Shape, load: Load, logits: float, factors: Factors | None = None) -> float:
    """Bytes that are kept for the way back. Layers are computed twice when the logits are gone."""
    kept = KEPT[shape.number_bytes < 4, load.autocast, shape.is_adapted and factors is None]
    inner = shape.inner * (1 if shape.gated else UNGATED)
    in_each = load.tokens * (kept.hidden * shape.hidden + kept.keys * shape.keys + kept.inner * inner)
    if factors is not None:
        in_each += (factors.in_pass + load.tokens * factors.of_token) * shape.number_bytes / shape.layers
    stream = load.tokens * shape.hidden * shape.number_bytes
    if not load.checkpointed:
        return shape.layers * in_each + OUTSIDE * stream
    entering = 0 if load.checkpointed == OFFLOAD else shape.layers
    return (entering + OUTSIDE) * stream + max(0.0, in_each - logits)


def _all_logits(shape: Shape, load: Load, more: int = 0) -> int:
    return 4 * shape.vocabulary * ((LOGITS + more) * load.targets + TWIN_LOGITS * load.twin_targets)


def _some_logits(shape: Shape, load: Load) -> int:
    """Bytes of a part, of model and reference, and of the output layer's gradient, which comes with them."""
    own, twins = (shape.vocabulary * count for count in (load.targets, load.twin_targets))
    number = 2 if load.autocast else shape.number_bytes
    made = 2 * number * min(portions.LOGITS, own + twins)
    read = 4 * OF_A_FORMULA * min(load.of_a_formula, max(own, twins))
    return made + read + (0 if shape.is_adapted else 4 * shape.vocabulary * shape.hidden)


def of_run(config: RunConfig, tasks: Stream) -> Memory | None:
    """What a run of the config will take; None where its model is on a hub, or tells no shape.

    Raises DataError for an example that does not fit even without its input.
    """
    if not is_local(resolve(config.model.path)):
        return None
    found = shapes.of_section(config.model)
    lengths = sampled(config, tasks)
    if found is None or not lengths:
        return None
    return at_most(config, found, lengths, measured(tasks), place_of(config, found.weights)).most


def at_most(
    config: RunConfig, shape: Shape, lengths: Sequence[Length], measured: Measured, place: Place
) -> Phases:
    """What each process of a run takes on its place, with a model of a shape, examples of these lengths."""
    method = chosen.create(config)
    starts_bare = config.model.adapter == "lora" and not is_adapter(resolve(config.model.path))
    copies = int(method.needs_initial and not starts_bare) + int(config.train.keep_best)
    program = PROGRAM + (PEFT if config.model.adapter == "lora" else 0) if place.type == "cpu" else 0
    divided = place.processes if config.train.shard else 1
    upkeep = method.upkeep(shape.matrices)
    found = [
        phases(shape, load, copies, program, divided, upkeep)
        for load in loads(config, method, upkeep, lengths, measured, place)
    ]
    return max(found, key=lambda one: one.most.total)


def sentences(config: RunConfig, tasks: Stream) -> list[str]:
    """How much memory a run takes, and a warning where less is free; nothing where it cannot be told."""
    found = of_run(config, tasks)
    if found is None:
        return []
    parts = [f"{one.name} {size(value)}" for one in fields(found) if (value := getattr(found, one.name))]
    method = chosen.create(config)
    rest = "; what the method keeps comes on top" if type(method).upkeep is Method.upkeep else ""
    told = [f"memory: about {size(found.total)} at the most ({', '.join(parts)}){rest}"]
    free = _free(device_of(config))
    if free is not None and found.total > free:
        told.append(
            f"only {size(free)} of memory are free: lower train.tokens_per_micro_batch or "
            'evaluate.tokens_per_batch, set model.adapter = "lora", or take a smaller model'
        )
    return told


def _free(device: str) -> int | None:
    """Bytes that are free on a device; None where it does not tell."""
    if device == "cpu":
        return int(psutil.virtual_memory().available)
    if device == "cuda" and machine.has_cuda():
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return None
