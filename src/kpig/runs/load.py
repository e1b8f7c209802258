"""What an update of a run puts on a device: lengths of examples, and the passes it is cut into.

`kpig.runs.memory` reckons with it what is held, `kpig.runs.plan` how long it takes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kpig import ranks
from kpig.config import RunConfig
from kpig.methods.base import Method
from kpig.methods.parts.kpig_settings import KpigSettings
from kpig.methods.parts.upkeep import Upkeep
from kpig.model import portions, vocabulary
from kpig.model.encoding import Encoded
from kpig.records import Stream
from kpig.runs import machine
from kpig.training.precision import BFLOAT16, precision

NUM_SAMPLED = 256
"""Training examples whose tokens are counted, evenly chosen. Chosen: it takes less than a second."""


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
class Data:
    """How many training examples there are, in all steps, the lengths of some, and what is measured."""

    lengths: tuple[Length, ...]
    examples: int
    steps: int
    measured: Measured


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


def loads(
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
    probed = measured.tasks * evaluate.num_gain_examples if evaluate.gain or method.probes else 0
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
        rows = [*group, *twins]
        padded = len(rows) * max(one.tokens for one in group)
        loads.append(
            Load(
                tokens=sum(one.tokens for one in rows) if config.train.row_tokens else padded,
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


def place_of(config: RunConfig, num_weights: int) -> Place:
    """Where a run of the config computes, as far as this machine has it."""
    bare = Place(device_of(config), False)
    processes = ranks.num_started() if config.train.shard else 1
    return Place(bare.type, precision(config.train, bare, num_weights) == BFLOAT16, processes)


def device_of(config: RunConfig) -> str:
    name = config.train.device
    return name if name != "auto" else "cuda" if machine.has_cuda() else "cpu"
