"""Section `check`: what commands take that compute with no model, in processes of their own."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = ("--help", "methods", "config", "check CONFIG", "report RUN", "compare RUN")
SUITE = """[stream]
path = "suite"
[suite]
num_steps = 1
tasks_per_step = 2
num_held_out = 1
num_train = 8
"""
RUN = "[train]\nupdates_per_step = 2\n[evaluate]\nmax_new_tokens = 4\n"


def show(given: argparse.Namespace) -> None:
    """The table, made in a process without torch: a child counts as large as what it was forked from."""
    subprocess.run([sys.executable, __file__, str(given.rounds)], check=True)


def measure(rounds: int) -> None:
    """Print seconds of the processor, and the most memory that was resident, of each command."""
    print("## Commands that compute with no model\n")
    print("| | CPU seconds (least to most) | MB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        config, run = Path(folder) / "suite.toml", Path(folder) / "run"
        config.write_text(SUITE + RUN)
        _run(["run", str(config), "--out", str(run)])
        for command in COMMANDS:
            words = command.replace("CONFIG", str(config)).replace("RUN", str(run)).split()
            print(f"| `kpig {command}` | {_figures(words, rounds)} |", flush=True)
    print()


def _figures(words: list[str], rounds: int) -> str:
    found = [_run(words) for _ in range(rounds + 1)][1:]
    seconds, memory = zip(*found, strict=True)
    middle = statistics.median(seconds)
    return f"{middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | {statistics.median(memory):.0f}"


def _run(words: list[str]) -> tuple[float, float]:
    """Seconds of the processor and MB of a command, which must succeed."""
    command = [sys.executable, "-m", "kpig", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    measure(int(sys.argv[1]))
