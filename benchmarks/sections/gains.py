"""Section `gain`: what measuring gain takes beside the updates of a run at its defaults."""

import argparse
import math
from collections.abc import Mapping, Sequence

import torch

from kpig import config
from kpig.methods.base import Clock, Step
from kpig.methods.parts.kpig_settings import KpigSettings
from kpig.model import gain
from kpig.model.learner import Learner
from kpig.records import Example, Task
from kpig.tasks import stream
from kpig.training import loop
from sections.kpig_updates import Kpig
from sections.table import in_turn, median
from sections.updates import KINDS
from sections.weights import Weights, starting

NUM_READ = 24
"""Examples of an update at its defaults: 16, and half as many replayed."""


def show(given: argparse.Namespace) -> None:
    """A table for each kind, and the share of a run over the stream.

    The gain of a step's tasks is measured, and an update of their examples made, none of which comes again.
    The share follows by counting: how many tasks are measured how often, and how many updates are made.
    """
    steps = stream.load(given.tasks, test_per_task=1).steps
    for kind in given.kinds:
        of_gain, of_updates = spent(steps, *seconds(given, kind))
        share = of_gain / (of_gain + of_updates)
        print(f"{kind}: measuring gain takes {share:.1%} of training over {len(steps)} steps\n", flush=True)


def seconds(given: argparse.Namespace, kind: str) -> tuple[float, float]:
    """What the gain of a step's tasks takes, and an update."""
    adapter, precision = KINDS[kind]
    learner, tasks = starting(given, adapter)
    training = Kpig(learner, Weights(learner.model), "kpig", precision, "auto", "first")
    clock = Clock(0, 1, 0, 10_000, NUM_READ)
    examples = loop.current_examples(Step(1, tasks, 10_000), clock)
    count = KpigSettings().num_probes
    probes = {task.name: training.method.memory.part(task)[:count] for task in tasks}
    arms = {
        "gain, own rows": lambda: measured(learner, probes, precision, 0),
        "gain": lambda: measured(learner, probes, precision, "auto"),
        "update": lambda: training.update(examples, clock),
    }
    found = in_turn(f"{kind}: gain of {len(tasks)} tasks, and an update", arms, given.rounds)
    return median(found["gain"], "seconds"), median(found["update"], "seconds")


def spent(steps: Sequence[Sequence[Task]], of_tasks: float, of_one: float) -> tuple[float, float]:
    """Seconds of gain and of updates in all steps, of which each has as many tasks."""
    settings = config.build({}).train
    of_gain = of_updates = 0.0
    for number, step in enumerate(steps, 1):
        num_updates = loop.num_updates(step, settings)
        of_gain += math.ceil(num_updates / KpigSettings().refresh) * number * of_tasks
        of_updates += num_updates * of_one
    return of_gain, of_updates


def measured(
    learner: Learner, probes: Mapping[str, Sequence[Example]], precision: str, row_tokens: int | str
) -> Mapping[str, float]:
    """The gain of tasks, that of the first under loss."""
    before = learner.ledger.computed_tokens
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        found = gain.measure(learner, probes, row_tokens)
    return {"computed": learner.ledger.computed_tokens - before, "loss": next(iter(found.values())).prob}
