"""Section `gain`: what it takes to measure the gain of a task's probes."""

import argparse
from collections.abc import Mapping

import torch

from kpig.model import gain
from sections.table import in_turn
from sections.weights import starting


def show(given: argparse.Namespace) -> None:
    """The gain of 16 probes of one task, as a run at its defaults measures it."""
    learner, tasks = starting(given, "none")
    probes = {tasks[0].name: tasks[0].train[:16]}

    def arm(row_tokens: int | str, precision: str) -> Mapping[str, float]:
        before = learner.ledger.computed_tokens
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            found = gain.measure(learner, probes, row_tokens)
        computed = learner.ledger.computed_tokens - before
        return {"computed": computed, "loss": found[tasks[0].name].prob}

    arms = {
        f"{precision}, {name}": lambda rows=rows, precision=precision: arm(rows, precision)
        for precision in ("float32", "bfloat16")
        for name, rows in {"own rows": 0, "shared": "auto"}.items()
    }
    in_turn("Gain of 16 probes of a task (the gain stands under loss)", arms, given.rounds)
