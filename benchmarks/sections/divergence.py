"""Section `divergence`: memory and time of the Jensen-Shannon divergence, from hidden states."""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from kpig.model.head import Head
from kpig.model.objective import jsd
from kpig.model.projection import Divergence, summed

NUM_TOKENS, WIDTH = 512, 576
WAYS = [(head, logits) for head in ("frozen", "trained") for logits in ("all", "parts")]
"""Whether the output layer learns, and whether all logits are made at once."""


def show(given: argparse.Namespace) -> None:
    """Peak memory of the divergence of 512 tokens, forward and backward, each in a process of its own."""
    print(f"## Jensen-Shannon divergence of {NUM_TOKENS} tokens, from hidden states of width {WIDTH}\n")
    print("| vocabulary | output layer | logits | seconds (least to most) | MiB | of these its gradient |")
    print("|---" * 6 + "|")
    for vocabulary in (49_152, 150_000):
        found: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way in WAYS:
                command = [sys.executable, __file__, str(vocabulary), *way]
                told = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, memory = map(float, told.stdout.split())
                found[way].append((seconds, memory))
        for (head, logits), results in found.items():
            seconds, memory = (sorted(column) for column in zip(*results, strict=True))
            gradient = vocabulary * WIDTH * 4 / 2**20 if head == "trained" else 0
            print(
                f"| {vocabulary:,} | {head} | {logits} | {statistics.median(seconds):.2f} "
                f"({seconds[0]:.2f} to {seconds[-1]:.2f}) | {statistics.median(memory):.0f} "
                f"| {gradient:.0f} |",
                flush=True,
            )
    print()


def one(vocabulary: int, head: str, logits: str) -> None:
    """Print seconds of one divergence, and MiB above the hidden states and weights."""
    torch.set_num_threads(1)
    states, reference, weight, other = (
        torch.empty(count, WIDTH).normal_(0, scale)
        for count, scale in ((NUM_TOKENS, 1), (NUM_TOKENS, 1), (vocabulary, 0.05), (vocabulary, 0.05))
    )
    states.requires_grad_()
    weight.requires_grad_(head == "trained")
    target = torch.arange(NUM_TOKENS)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if logits == "all":
        total = jsd(states @ weight.T, reference @ other.T).sum()
    else:
        held = Divergence(target, reference, Head(other), torch.ones(NUM_TOKENS))
        total = summed(states, Head(weight), [held]).total
    total.backward()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{time.process_time() - start:.3f}", f"{memory / 1024:.0f}")


if __name__ == "__main__":
    one(int(sys.argv[1]), *sys.argv[2:])
