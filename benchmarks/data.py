"""What commands that compute with no model take, and what examples take to be encoded and drawn.

    python benchmarks/data.py [COUNT]

COUNT are the examples that are encoded and drawn, 10,000 unless given. Each line is measured in a process of
its own, three times, and the median is shown: seconds of the processor and the most memory that was resident.
To compare two versions, set PYTHONPATH to the `src` of one and then of the other, on one machine.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPEATS = 3
COMMANDS = ("--help", "config", "check CONFIG", "show CONFIG")
NEVER_FETCHED = '[model]\npath = "someone/model-on-the-hub"\n'


def measured(command: list[str]) -> tuple[float, float]:
    """Median seconds of the processor and MB of a command, which must succeed."""
    found = []
    for _ in range(REPEATS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{' '.join(command)} failed")
        found.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    return statistics.median(one for one, _ in found), statistics.median(one for _, one in found)


def encode(count: int) -> None:
    """Encode as many examples, with inputs and responses of their own, for the shipped model."""
    from kpig.config import ModelSection
    from kpig.model.loading import load_encoder
    from kpig.records import Example, Instruction

    encoder, rng = load_encoder(ModelSection()), random.Random(0)
    words = [f"word{number}" for number in range(2_000)]
    seed = Instruction("Name the colour of the fruit in one word.")
    for number in range(count):
        given, response = (" ".join(rng.choices(words, k=k)) for k in (12, 4))
        encoder.encode(Example(str(number), "fruit", seed, given, (response,)))


def draw(count: int) -> None:
    """Draw the examples of 100 updates of 16, from a step of one task with so many."""
    from kpig.methods.base import Clock, Step
    from kpig.records import Example, Instruction, Task
    from kpig.training.loop import current_examples

    seed = Instruction("Name the colour.")
    examples = tuple(Example(str(number), "fruit", seed, "plum", ("blue",)) for number in range(count))
    step = Step(1, (Task("fruit", (seed,), examples, (), "exact"),), 1_000)
    for update in range(100):
        current_examples(step, Clock(0, 1, update, 1_000, 16))


PARTS = {"encode": encode, "draw": draw}


def main() -> None:
    """Print a line for each command and part."""
    count = sys.argv[1] if len(sys.argv) > 1 else "10000"
    with tempfile.TemporaryDirectory() as folder:
        configs = {"shipped model": "", "model on a hub": NEVER_FETCHED}
        for name, text in configs.items():
            path = Path(folder) / f"{len(name)}.toml"
            path.write_text(f'{text}[stream]\npath = "suite"\n[suite]\nnum_steps = 2\nnum_train = 20\n')
            for command in COMMANDS if not text else ("check CONFIG",):
                words = command.replace("CONFIG", str(path)).split()
                told(f"kpig {command}, {name}", [sys.executable, "-m", "kpig", *words])
        for part in PARTS:
            for number in ("1", count):
                told(f"{part} {number}", [sys.executable, __file__, part, number])


def told(name: str, command: list[str]) -> None:
    """Print what a command takes."""
    seconds, memory = measured(command)
    print(f"{name:40} {seconds:7.2f} s {memory:7.0f} MB", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PARTS:
        PARTS[sys.argv[1]](int(sys.argv[2]))
    else:
        main()
