"""Section `updates`: one update of plain tuning and of KPIG, beside TRL's."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import torch

from kpig.methods.base import Clock, Step
from kpig.model.learner import Learner
from kpig.records import Task
from kpig.training import loop
from sections.kpig_updates import Kpig
from sections.table import described, median, tell
from sections.trl_updates import Trl, has_trl
from sections.weights import Weights, starting

KINDS = {
    "full bfloat16": ("none", "bfloat16"),
    "LoRA bfloat16": ("lora", "bfloat16"),
    "full float32": ("none", "float32"),
    "LoRA float32": ("lora", "float32"),
}
"""What learns, and in which precision."""

ARMS = {
    "plain, own rows": ("sequential", 0, "first"),
    "plain": ("sequential", "auto", "first"),
    "KPIG, own rows, as before": ("kpig", 0, "before"),
    "KPIG, as before": ("kpig", "auto", "before"),
    "KPIG": ("kpig", "auto", "first"),
    "KPIG, twins that come again": ("kpig", "auto", "again"),
}
"""By name: the method, its rows, and how its examples are read, as `Kpig` has it."""


def show(given: argparse.Namespace) -> None:
    """A table for each kind: plain tuning, KPIG and TRL, one update each in turn."""
    told = (f"{name} {rate(name) / 1e9:.0f}" for name in ("float32", "bfloat16"))
    print(f"matrix products, GFLOP per CPU second: {', '.join(told)}\n", flush=True)
    for kind in given.kinds:
        learner, tasks = starting(given, KINDS[kind][0])
        title = f"{kind}: one update of {given.examples} examples, {given.together} of a task together"
        compare(given, kind, learner, tasks, title)


def compare(
    given: argparse.Namespace, kind: str, learner: Learner, tasks: Sequence[Task], title: str
) -> None:
    """The table of updates of these tasks, and what share of the matrix rate plain tuning reaches."""
    adapter, precision = KINDS[kind]
    step = Step(1, tuple(tasks), 10_000)
    made = arms(learner, precision, given.arms)
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in made}
    for number in range(given.rounds + 1):
        clock = Clock(0, 1, number, step.num_updates, given.examples)
        examples = loop.current_examples(step, clock, given.together)
        for name, training in made.items():
            result = training.update(examples, clock)
            print(f"{kind}, update {number}, {name}: {described(result)}", file=sys.stderr, flush=True)
            if number:
                found[name].append(result)
    tell(title, found)
    plain = median(found["plain"], "seconds")
    tokens = median(found["plain"], "computed")
    body = sum(weight.numel() for weight in learner.model.parameters() if weight.dim() > 1)
    body -= learner.model.get_input_embeddings().weight.numel()
    operations = 6 if adapter == "none" else 4
    share = operations * body * tokens / plain / rate(precision)
    print(
        f"plain: {share:.0%} of the {precision} matrix rate, of a weight and token {operations} operations\n"
    )


def arms(learner: Learner, precision: str, names: Sequence[str]) -> dict[str, Kpig | Trl]:
    """What takes turns, by name: TRL where it is installed, and kpig's methods; all, or those named."""
    weights = Weights(learner.model)
    made: dict[str, Callable[[], Kpig | Trl]] = {}
    if has_trl():
        made["TRL padded"] = partial(Trl, learner, weights, precision, padding_free=False)
        made["TRL padding-free"] = partial(Trl, learner, weights, precision, padding_free=True)
    for name, (method, row_tokens, way) in ARMS.items():
        made[name] = partial(Kpig, learner, weights, method, precision, row_tokens, way)
    return {name: make() for name, make in made.items() if not names or name in (*names, "plain")}


@cache
def rate(precision: str, size: int = 2048) -> float:
    """Floating-point operations per CPU second of a large matrix product, the best of five."""
    left, right = (torch.randn(size, size).to(getattr(torch, precision)) for _ in range(2))
    seconds = []
    for _ in range(6):
        start = time.process_time()
        (left @ right)[0, 0].item()
        seconds.append(time.process_time() - start)
    return 2 * size**3 / min(seconds[1:])
