"""How much a run multiplies and adds: learning, twins, gains, and what methods do besides. By arithmetic."""

import math
from dataclasses import dataclass
from statistics import fmean

from kpig.config import RunConfig
from kpig.methods import chosen
from kpig.methods.base import Method
from kpig.methods.parts.kpig_settings import KpigSettings
from kpig.methods.parts.upkeep import Factors, Upkeep
from kpig.runs import load
from kpig.runs.load import Data, Length
from kpig.runs.shapes import Shape

MEBI = 1 << 20


@dataclass(frozen=True)
class Work:
    """Multiplications and additions of an update, of all updates, of measuring gains while learning, and of
    what steps begin and end with."""

    update: float
    updates: float
    gains: float
    steps: float = 0

    @property
    def total(self) -> float:
        """Of the whole training."""
        return self.updates + self.gains + self.steps


def num_updates(config: RunConfig, method: Method, data: Data) -> int:
    """Updates of a step, when its examples are as many as of any other."""
    train = config.train
    examples = math.ceil(train.epochs * data.examples / data.steps)
    return method.num_updates(train.updates_per_step or max(1, math.ceil(examples / train.batch_size)))


def work_of(config: RunConfig, shape: Shape, data: Data) -> Work:
    """What a run computes, without answers: every step has as many updates, the first replays nothing."""
    method = chosen.create(config)
    updates = num_updates(config, method, data)
    per_example = fmean(example_work(config, method, shape, one) for one in data.lengths)
    per_example -= _kept_share(config, method, shape, data) * fmean(
        _reference_work(config, method, shape, one) for one in data.lengths
    )
    first, later = (load.num_read(config, method, replays) for replays in (False, True))
    in_first = first * (per_example - _read_of_past(method, shape, data))
    rehearsed = method.upkeep(shape.matrices).rehearsed
    in_later = later * per_example + rehearsed * _mean_learned(config, shape, data)
    return Work(
        update=in_later if data.steps > 1 else in_first,
        updates=updates * (in_first + (data.steps - 1) * in_later),
        gains=_gain_work(method, shape, data, updates),
        steps=_step_work(config, method, shape, data),
    )


def example_work(config: RunConfig, method: Method, shape: Shape, length: Length) -> float:
    """Forward and backward, the masked twin included, the reference's pass over the twin, and what a method
    does besides: passes without gradient, and answers that the model writes.
    """
    upkeep = method.upkeep(shape.matrices)
    learned = _learned_work(config, shape, length.learned(upkeep), upkeep.factors)
    twins = learned * _num_twins(config, method, length) + _reference_work(config, method, shape, length)
    read, written = _read_besides(length, upkeep), length.learned(upkeep)
    besides = upkeep.read * _forward_work(shape, read)
    if upkeep.written:
        besides += _forward_work(shape, written)
    return learned + twins + besides


def _learned_work(config: RunConfig, shape: Shape, length: Length, factors: Factors | None = None) -> float:
    """Forward and backward, which is twice the forward; the gradients of frozen weights are left out of it.

    Of factors both those that learn and those that stay are multiplied with, and get a gradient.
    """
    is_frozen = shape.is_adapted or factors is not None
    learned = _forward_work(shape, length) * (2 if is_frozen else 3)
    if config.train.gradient_checkpointing:
        learned += _layer_work(shape, length)
    beside = 2 * factors.trained if factors else shape.trained if shape.is_adapted else 0
    return learned + 6 * beside * length.tokens


def _mean_learned(config: RunConfig, shape: Shape, data: Data) -> float:
    """What an example takes forward and backward by itself, without its twin, on average."""
    return fmean(_learned_work(config, shape, one) for one in data.lengths)


def _read_of_past(method: Method, shape: Shape, data: Data) -> float:
    """What a method reads of each example from the second step on only."""
    upkeep = method.upkeep(shape.matrices)
    if not upkeep.needs_past:
        return 0.0
    return upkeep.read * fmean(_forward_work(shape, _read_besides(one, upkeep)) for one in data.lengths)


def _read_besides(length: Length, upkeep: Upkeep) -> Length:
    """What a pass without gradient reads: the example; with answers, also its response before them."""
    if not upkeep.written:
        return length
    tokens = length.tokens + upkeep.shown + upkeep.written
    return Length(tokens, upkeep.written, False)


def _step_work(config: RunConfig, method: Method, shape: Shape, data: Data) -> float:
    """What all steps begin and end with: see `Upkeep`. Of a task, memory has what `[replay]` says."""
    upkeep = method.upkeep(shape.matrices)
    learned = _mean_learned(config, shape, data)
    layers = fmean(_layer_work(shape, one) for one in data.lengths)
    found = data.steps * (upkeep.measured * learned + upkeep.embedded * layers)
    if upkeep.chooses:
        twins = fmean(one.has_twin * _forward_work(shape, one) for one in data.lengths)
        kept = min(config.replay.memory_per_task * data.measured.tasks, data.examples)
        found += (data.examples + kept * (data.steps - 1) / 2) * (learned + twins)
    return found


def _num_twins(config: RunConfig, method: Method, length: Length) -> float:
    """How many masked twins an example comes with on average in a step that replays: 0 to 1."""
    return length.has_twin * load.num_twins(config, method)


def _reference_work(config: RunConfig, method: Method, shape: Shape, length: Length) -> float:
    """The frozen model's pass over the masked twin; 0 where there is none."""
    return _forward_work(shape, length) * _num_twins(config, method, length)


def _kept_share(config: RunConfig, method: Method, shape: Shape, data: Data) -> float:
    """The share of twins for which the reference is not asked: they came before in their step, and are kept.

    None are where weights are divided. Replayed ones are reckoned as current ones, which come first and stay.
    """
    if not isinstance(method.settings, KpigSettings) or config.train.shard:
        return 0.0
    of_twin = fmean(one.response for one in data.lengths) * shape.hidden * shape.number_bytes
    in_step = data.examples / data.steps
    read = max(in_step, num_updates(config, method, data) * config.train.batch_size)
    kept = min(in_step, method.settings.kept_mib * MEBI / of_twin)
    return kept * (read / in_step - 1) / read


def _forward_work(shape: Shape, length: Length) -> float:
    """All layers, and the vocabulary at the response."""
    return _layer_work(shape, length) + 2 * shape.vocabulary * shape.hidden * length.response


def _layer_work(shape: Shape, length: Length) -> float:
    """Two for each weight and token, and attention over the whole row."""
    attention = 4 * shape.layers * (shape.queries or shape.hidden) * length.tokens**2
    return float(2 * shape.body * length.tokens + attention)


def _gain_work(method: Method, shape: Shape, data: Data, updates: int) -> float:
    """What measuring gains takes while all steps are learned: two passes over the probes of tasks so far."""
    settings = method.settings
    if not isinstance(settings, KpigSettings) or not method.probes:
        return 0.0
    times = 1 + (updates - 1) // settings.refresh if settings.refresh else 1
    tasks = data.measured.tasks * (data.steps + 1) / 2  # as many more are known in each step
    forward = fmean(_forward_work(shape, one) for one in data.lengths)
    return times * tasks * settings.num_probes * 2 * forward
