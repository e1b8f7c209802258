"""How much memory a run will take, told before it begins: the arithmetic, and the numbers that go into it.

Everything is in bytes. How far the sum is off what was measured stands in docs/running.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

import psutil

from kpig import ranks
from kpig.config import OFFLOAD, RunConfig
from kpig.methods import chosen
from kpig.methods.base import Method
from kpig.methods.parts.kpig_settings import KpigSettings
from kpig.methods.parts.upkeep import Factors, Upkeep
from kpig.model import portions, vocabulary
from kpig.model.encoding import Encoded
from kpig.model.folder import is_adapter, is_local, resolve
from kpig.records import Stream
from kpig.runs import machine, shapes
from kpig.runs.disk import MOMENTS, size
from kpig.runs.shapes import Shape
from kpig.training.precision import BFLOAT16, precision

NUM_SAMPLED = 256
"""Training examples whose tokens are counted, evenly chosen. Chosen: it takes less than a second."""

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


class Length(NamedTuple):
    """Tokens of an example: of the longer twin, of the response in both, and whether it has a masked twin."""

    tokens: int
    response: int
    has_twin: bool

    @property
    def prompt(self) -> int:
        """Tokens before the response."""
        return self.tokens - self.response

    def learned(self, upkeep: Upkeep) -> "Length":
        """As a method learns it: with what the model writes in the place of the response."""
        if not upkeep.written:
            return self
        return Length(self.prompt + upkeep.written, upkeep.written, False)


@dataclass(frozen=True)
class Measured:
    """What is measured beside learning: gains of so many tasks, and answers to so many tests; 0: to many."""

    tasks: int
    tests: int


@dataclass(frozen=True)
class Place:
    """Where a run computes: as `kpig.model.portions` asks, whether in bfloat16 by autocast, in how many
    processes."""

    type: str
    autocast: bool
    processes: int = 1


@dataclass(frozen=True)
class Load:
    """What goes through a model at once: the largest micro-batch of an update.

    `tokens` are padded, twins included; `targets` of them are predicted, and `twin_targets` for the masked
    twins. `is_split` says that an update has several. `generated` tokens are answered side by side, `read`
    ones of which `read_targets` are predicted are read so where gains are measured. `autocast` says that
    passes of an update compute in bfloat16, `checkpointed` that activations are computed twice, and where
    what enters a layer is kept. With `makes_logits` those of all targets are held, else a part of them, of
    which a formula reads `of_a_formula` at once. `alone` are tokens and targets of the longest example by
    itself. `written` tokens are read and written side by side while the model learns.
    """

    tokens: int
    targets: int
    twin_targets: int
    is_split: bool
    generated: int
    read: int = 0
    read_targets: int = 0
    autocast: bool = False
    checkpointed: bool | Literal["offload"] = False
    makes_logits: bool = True
    of_a_formula: int = portions.LOGITS
    alone: tuple[int, int] = (0, 0)
    written: float = 0


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

    That is writing answers that it learns, or the end of a step.
    """

    training: Memory
    gain: Memory
    answering: Memory
    between: Memory

    @property
    def most(self) -> Memory:
        """What takes most of them."""
        every = (self.training, self.gain, self.answering, self.between)
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
        max(writing, _ending(shape, load, upkeep, held), key=lambda one: one.total),
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
    return at_most(config, found, lengths, measured(tasks), _place(config, found.weights)).most


def measured(tasks: Stream) -> Measured:
    """What is measured of a stream when all of its tasks are."""
    every = (*tasks.tasks, *tasks.held_out)
    return Measured(len(every), sum(len(task.test) for task in every))


def sampled(config: RunConfig, tasks: Stream) -> list[Length]:
    """The lengths of training examples, evenly chosen; DataError for one that does not fit."""
    examples = [example for task in tasks.tasks for example in task.train]
    if not examples:
        return []
    encoder = vocabulary.encoder_of(config.model)
    chosen_ones = examples[:: max(1, len(examples) // NUM_SAMPLED)]
    return [_length(one) for one in encoder.encode_all(chosen_ones)]


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
        for load in _loads(config, method, upkeep, lengths, measured, place)
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
    free = _free(_device(config))
    if free is not None and found.total > free:
        told.append(
            f"only {size(free)} of memory are free: lower train.tokens_per_micro_batch or "
            'evaluate.tokens_per_batch, set model.adapter = "lora", or take a smaller model'
        )
    return told


def probes(method: Method) -> bool:
    """Whether gains are measured while a method learns, in passes of their own."""
    settings = method.settings
    return isinstance(settings, KpigSettings) and method.paired and settings.gain_from == "probe"


def num_read(config: RunConfig, method: Method, replays: bool = True) -> int:
    """Examples of an update, rounded: current ones, and where it `replays` those of the past."""
    ratio = config.replay.ratio if replays and type(method).replay is not Method.replay else 0
    return round(config.train.batch_size * (1 + ratio))


def micro_batches(
    config: RunConfig, method: Method, upkeep: Upkeep, lengths: Sequence[Length], place: Place
) -> list[list[Length]]:
    """An update of the longest examples, as it is cut into passes."""
    count = num_read(config, method)
    longest = sorted((one.learned(upkeep) for one in lengths), key=lambda one: -one.tokens)[:count]
    longest += [longest[0]] * (count - len(longest))
    left = math.ceil(count * num_twins(config, method))
    longest = [one._replace(has_twin=one.has_twin and at < left) for at, one in enumerate(longest)]
    tokens = [one.tokens * (2 if one.has_twin else 1) for one in longest]
    budget = portions.training(place, config.train.tokens_per_micro_batch)
    most = portions.shared(budget, sum(tokens), place.processes)
    cut = _filled if config.train.row_tokens else portions.token_batches
    return [[longest[n] for n in group] for group in cut(tokens, most)]


def _filled(tokens: Sequence[int], most: int) -> list[list[int]]:
    """Indices of examples that share rows: these fill a pass, whatever the lengths in it."""
    groups: list[list[int]] = []
    left = 0
    for index, count in enumerate(tokens):
        if count > left:
            groups.append([])
            left = most
        groups[-1].append(index)
        left -= count
    return groups


def num_twins(config: RunConfig, method: Method) -> float:
    """How many masked twins an example with key parts comes with in an update that replays."""
    if not isinstance(method.settings, KpigSettings):
        return float(method.paired)
    return method.paired * method.settings.num_twins(config.replay.ratio)


def _loads(
    config: RunConfig,
    method: Method,
    upkeep: Upkeep,
    lengths: Sequence[Length],
    measured: Measured,
    place: Place,
) -> list[Load]:
    """The micro-batches of an update of the longest examples, each with what is read and answered besides."""
    groups, evaluate = micro_batches(config, method, upkeep, lengths, place), config.evaluate
    longest = groups[0][0]
    written = config.train.batch_size * longest.tokens if upkeep.written else 0
    probed = measured.tasks * evaluate.num_gain_examples if evaluate.gain or probes(method) else 0
    with_twins = sum(one.tokens * (2 if one.has_twin else 1) for one in lengths) / len(lengths)
    responses = sum(one.response * (2 if one.has_twin else 1) for one in lengths) / len(lengths)
    num_side = min(probed, max(1, portions.forward(place) / with_twins))
    generated = portions.generation(place, evaluate.tokens_per_batch, evaluate.row_tokens != 0)
    if measured.tests:
        num_answers = measured.tests * (2 if evaluate.half_listening else 1)
        in_all = num_answers * (max(one.tokens for one in lengths) + evaluate.max_new_tokens)
        generated = min(generated, in_all)
    loads = []
    for group in groups:
        twins = [one for one in group if one.has_twin]
        rows = len(group) + len(twins)
        loads.append(
            Load(
                tokens=rows * max(one.tokens for one in group),
                targets=sum(one.response for one in group),
                twin_targets=sum(one.response for one in twins),
                is_split=len(groups) > 1,
                generated=generated,
                read=round(num_side * with_twins),
                read_targets=round(num_side * responses),
                autocast=place.autocast,
                checkpointed=config.train.gradient_checkpointing,
                makes_logits=method.makes_logits,
                of_a_formula=portions.logits_of_a_formula(place),
                alone=(longest.tokens, longest.response),
                written=min(written, portions.generation(place)),
            )
        )
    return loads


def _length(encoded: Encoded) -> Length:
    return Length(encoded.num_tokens, len(encoded.response), encoded.masked_prompt is not None)


def _place(config: RunConfig, num_weights: int) -> Place:
    """Where a run of the config computes, as far as this machine has it."""
    bare = Place(_device(config), False)
    processes = ranks.num_started() if config.train.shard else 1
    return Place(bare.type, precision(config.train, bare, num_weights) == BFLOAT16, processes)


def _device(config: RunConfig) -> str:
    name = config.train.device
    return name if name != "auto" else "cuda" if machine.has_cuda() else "cpu"


def _free(device: str) -> int | None:
    """Bytes that are free on a device; None where it does not tell."""
    if device == "cpu":
        return int(psutil.virtual_memory().available)
    if device == "cuda" and machine.has_cuda():
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return None
