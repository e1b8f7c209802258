"""Section `divergence`: memory and time of the Jensen-Shannon divergence."""

import argparse
import resource
import subprocess
import sys
import time

import torch

from kpig.model.objective import jsd


def show(given: argparse.Namespace) -> None:
    """Peak memory of the divergence of 512 tokens, forward and backward, each in a process of its own."""
    print("## Jensen-Shannon divergence of 512 tokens, forward and backward\n")
    print("| vocabulary | seconds | MiB above both logits |\n|---|---|---|")
    for vocabulary in (49_152, 150_000):
        told = subprocess.run(
            [sys.executable, __file__, str(vocabulary)],
            check=True,
            capture_output=True,
            text=True,
        )
        print(f"| {vocabulary:,} | {' | '.join(told.stdout.split())} |", flush=True)
    print()


def one(vocabulary: int) -> None:
    """Print seconds and memory of one divergence."""
    torch.set_num_threads(1)
    logits, reference = (torch.randn(512, vocabulary) for _ in range(2))
    logits.requires_grad_()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    jsd(logits, reference).sum().backward()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{time.process_time() - start:.2f}", f"{memory / 1024:.0f}")


if __name__ == "__main__":
    one(int(sys.argv[1]))
