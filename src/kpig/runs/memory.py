"""How much memory a run will take, told before it begins: the arithmetic, and the numbers that go into it.

Everything is in bytes. How far the sum is off what was measured stands in docs/running.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

from kpig.config import ModelSection, RunConfig
from kpig.methods import chosen
from kpig.methods.base import Method
from kpig.model import portions, vocabulary
from kpig.model.encoding import Encoder
from kpig.model.folder import base_of_adapter, is_adapter, is_local, num_weights, resolve
from kpig.records import Example, Stream
from kpig.runs import machine
from kpig.runs.disk import MOMENTS, NUMBER_BYTES, size, trained_bytes
from kpig.training.precision import precision

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

MOST_UNGATED = 2.5
"""Matrices of a layer's feed-forward part, as far as weights tell: two without a gate, three with one."""

LOGITS, TWIN_LOGITS = 3, 9
"""Numbers of float32 held for each logit: itself and what its gradient takes; of a masked twin also what the
divergence keeps, and the reference model's logit. Counted in kpig.model.objective."""

OF_A_FORMULA = 6
"""Numbers of float32 for each logit that a formula reads at once, where logits are made a part at a time.
Counted in kpig.model.objective.jsd_slopes."""


@dataclass(frozen=True)
class Shape:
    """What of a model decides how much memory it takes; numbers of a layer are of one token.

    `hidden`, `keys` and `inner` are the sizes of the residual stream, of all keys (as many values), and of
    the feed-forward part; `gated` says that this has two ways in. `trained` counts the weights that learn.
    """

    weights: int
    trained: int
    layers: int
    hidden: int
    keys: int
    inner: int
    gated: bool
    vocabulary: int
    weight_bytes: int = 4
    trained_bytes: int = 4

    @property
    def activations(self) -> int:
        """Numbers kept for the gradient, of one token in one layer, whether all weights learn or an adapter.

        Attention: queries, keys and values, what comes out, and around the two norms three times the stream
        each. Feed-forward: both ways in, the activation and the product; without a gate the terms of a GELU.
        """
        return 8 * self.hidden + 2 * self.keys + (4 if self.gated else 5) * self.inner


@dataclass(frozen=True)
class Load:
    """What goes through a model at once: the largest micro-batch of an update.

    `tokens` are padded, twins included; `targets` of them are predicted, and `twin_targets` for the masked
    twins. `is_split` says that an update has several. `generated` tokens are answered side by side. With
    `makes_logits` those of all targets are held, else a part of them, of which a formula reads
    `of_a_formula` at once.
    """

    tokens: int
    targets: int
    twin_targets: int
    is_split: bool
    generated: int
    number_bytes: int = 4
    makes_logits: bool = True
    of_a_formula: int = portions.LOGITS


@dataclass(frozen=True)
class Memory:
    """Bytes by what holds them, as far as they are there at the same time."""

    weights: float
    reference: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    program: float

    @property
    def total(self) -> float:
        """All of them together."""
        return float(sum(getattr(self, one.name) for one in fields(self)))


def needed(shape: Shape, load: Load, num_references: int = 0, program: int = 0) -> Memory:
    """The most that training takes at once, or answering where that takes more.

    `num_references` are copies of the trained weights that are kept beside them. `program` are bytes of the
    program itself where it computes in the same memory, as on a CPU; the allocator's scatter counts then too.
    """
    weights, trained = shape.weights * shape.weight_bytes, shape.trained * shape.trained_bytes
    if shape.trained != shape.weights:
        weights += trained
    in_all = shape.layers * shape.activations + OUTSIDE * shape.hidden
    activations = load.tokens * in_all * load.number_bytes
    logits = 4 * (_all_logits(shape, load) if load.makes_logits else _some_logits(shape, load))
    scattered = 1 + SCATTERED if program else 1
    training = Memory(
        weights=weights,
        reference=num_references * trained,
        gradients=trained if load.is_split else max(0, trained - activations - logits),
        optimizer=MOMENTS * trained,
        activations=activations * scattered,
        logits=logits * scattered,
        program=program,
    )
    per_token = 2 * shape.keys * shape.layers + 4 * (shape.hidden + shape.inner)
    answering = Memory(
        weights=weights,
        reference=num_references * trained,
        gradients=0,
        optimizer=0,
        activations=load.generated * per_token * shape.weight_bytes * scattered,
        logits=0,
        program=program,
    )
    return max(training, answering, key=lambda one: one.total)


def _all_logits(shape: Shape, load: Load) -> int:
    return shape.vocabulary * (LOGITS * load.targets + TWIN_LOGITS * load.twin_targets)


def _some_logits(shape: Shape, load: Load) -> int:
    """Those of a part, of model and reference, with the gradient of the output layer that comes with them."""
    own, twins = (shape.vocabulary * count for count in (load.targets, load.twin_targets))
    read = OF_A_FORMULA * min(load.of_a_formula, max(own, twins))
    made = max(min(portions.LOGITS, own), 2 * min(portions.LOGITS, twins))
    return read + made + (shape.vocabulary * shape.hidden if shape.trained == shape.weights else 0)


def of_run(config: RunConfig, tasks: Stream) -> Memory | None:
    """What a run of the config will take; None where its model is on a hub, or tells no shape.

    Raises DataError for an example that does not fit even without its input.
    """
    if not is_local(resolve(config.model.path)):
        return None
    shape = shape_of(config.model)
    examples = [example for task in tasks.tasks for example in task.train]
    if shape is None or not examples:
        return None
    method = chosen.create(config)
    encoder = vocabulary.encoder_of(config.model)
    loads = _loads(config, method, encoder, examples[:: max(1, len(examples) // NUM_SAMPLED)])
    starts_bare = config.model.adapter == "lora" and not is_adapter(resolve(config.model.path))
    copies = int(method.needs_initial and not starts_bare) + int(config.train.keep_best)
    found = [needed(shape, load, copies, _program(config)) for load in loads]
    return max(found, key=lambda one: one.total)


def sentences(config: RunConfig, tasks: Stream) -> list[str]:
    """How much memory a run takes, and a warning where less is free; nothing where it cannot be told."""
    found = of_run(config, tasks)
    if found is None:
        return []
    device = _device(config)
    parts = [f"{one.name} {size(value)}" for one in fields(found) if (value := getattr(found, one.name))]
    told = [
        f"memory: about {size(found.total)} at the most ({', '.join(parts)}); what the method keeps comes on "
        "top"
    ]
    free = _free(device)
    if free is not None and found.total > free:
        told.append(
            f"only {size(free)} of memory are free: lower train.tokens_per_micro_batch or "
            'evaluate.tokens_per_batch, set model.adapter = "lora", or take a smaller model'
        )
    return told


def shape_of(section: ModelSection) -> Shape | None:
    """The shape of a model in a folder, by its config and its files; None where the config does not tell."""
    path = resolve(section.path)
    base = base_of_adapter(path) if is_adapter(path) else path
    if not is_local(base):
        return None
    config = vocabulary.shape(section)
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    if any(not isinstance(getattr(config, name, None), int) for name in names):
        return None
    hidden, heads = config.hidden_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or hidden // heads
    keys = head * (getattr(config, "num_key_value_heads", None) or heads)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * hidden
    weights = num_weights(Path(base))[1]
    in_each = (weights - config.vocab_size * hidden) / config.num_hidden_layers
    feeding = (in_each - 2 * hidden * (heads * head + keys)) / (hidden * inner)
    trained = trained_bytes(section)
    if trained is None:
        return None
    own = weights if section.adapter == "none" else trained // 4
    return Shape(
        weights=weights,
        trained=own,
        layers=config.num_hidden_layers,
        hidden=hidden,
        keys=keys,
        inner=inner * (getattr(config, "num_experts_per_tok", None) or 1),
        gated=feeding > MOST_UNGATED,
        vocabulary=config.vocab_size,
        weight_bytes=NUMBER_BYTES[section.dtype],
        trained_bytes=NUMBER_BYTES[section.dtype] if section.adapter == "none" else 4,
    )


def _loads(config: RunConfig, method: Method, encoder: Encoder, examples: Sequence[Example]) -> list[Load]:
    """The micro-batches of an update of the longest examples."""
    device, train = _device(config), config.train
    replays = type(method).replay is not Method.replay
    num_read = round(train.batch_size * (1 + (config.replay.ratio if replays else 0)))
    known = [encoder.encode(example) for example in examples]
    longest = sorted(known, key=lambda one: -one.num_tokens)[:num_read]
    longest += [longest[0]] * (num_read - len(longest))
    twice = 2 if method.paired else 1
    lengths = [one.num_tokens * twice for one in longest]
    groups = portions.token_batches(lengths, portions.training(device, train.tokens_per_micro_batch))
    most = config.evaluate.max_new_tokens
    generated = portions.generation(device, config.evaluate.tokens_per_batch)
    loads = []
    for group in groups:
        twins = [longest[n] for n in group if method.paired and longest[n].masked_prompt is not None]
        rows = len(group) + len(twins)
        loads.append(
            Load(
                tokens=rows * max(longest[n].num_tokens for n in group),
                targets=sum(len(longest[n].response) for n in group),
                twin_targets=sum(len(one.response) for one in twins),
                is_split=len(groups) > 1,
                generated=min(generated, len(examples) * (longest[0].num_tokens + most)),
                number_bytes=2 if _is_half(config) else 4,
                makes_logits=method.makes_logits,
                of_a_formula=portions.logits_of_a_formula(device),
            )
        )
    return loads


def _program(config: RunConfig) -> int:
    """Bytes of the program where it takes of the memory that the model is in."""
    if _device(config).type != "cpu":
        return 0
    return PROGRAM + (PEFT if config.model.adapter == "lora" else 0)


def _is_half(config: RunConfig) -> bool:
    return config.model.dtype != "float32" or precision(config.train, _device(config)) == "bf16"


@dataclass(frozen=True)
class _Device:
    """One, as `kpig.model.portions` asks for it."""

    type: str


def _device(config: RunConfig) -> _Device:
    """Where a run of the config computes, as far as this machine has it."""
    name = config.train.device
    return _Device(name if name != "auto" else "cuda" if machine.has_cuda() else "cpu")


def _free(device: _Device) -> int | None:
    """Bytes that are free on a device; None where it does not tell."""
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    if device.type == "cuda" and machine.has_cuda():
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return None
