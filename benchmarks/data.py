"""What commands that compute with no model take, and what examples take to be read, encoded and drawn.

    python benchmarks/data.py [COUNT] [--only NAME ...]

COUNT are the examples that are read, encoded and drawn, 10,000 unless given. Each line is measured in a
process of its own, three times, and the median is shown: seconds of the processor, those of the process that
renders chat templates included, and the most memory that was resident. `lengths` reads JSON Lines and counts
what is cut with every example encoded, as a run does before it begins; `lengths chat` does so for a model
with a chat template. To compare two versions, set PYTHONPATH to the `src` of one and then of the other, on
one machine.
"""

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPEATS = 3
NUM_TASKS = 4
COMMANDS = ("--help", "config", "check CONFIG", "show CONFIG")
SUITE = '[stream]\npath = "suite"\n[suite]\nnum_steps = 2\nnum_train = 20\n'
NEVER_FETCHED = '[model]\npath = "someone/model-on-the-hub"\n'
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


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


def rows(count: int) -> Iterator[dict[str, str]]:
    """Rows of a few tasks, with inputs and outputs of their own."""
    rng = random.Random(0)
    words = [f"word{number}" for number in range(2_000)]
    for number in range(count):
        task = f"task{number % NUM_TASKS}"
        instruction = f"Name the colour of the fruit in one word, as in {task}."
        texts = (" ".join(rng.choices(words, k=k)) for k in (12, 4))
        yield {"task": task, "instruction": instruction, **dict(zip(("input", "output"), texts, strict=True))}


def write_rows(folder: Path, count: int) -> None:
    """The rows as JSON Lines and as CSV, each with a config."""
    with (folder / "rows.jsonl").open("w") as lines, (folder / "rows.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ("task", "instruction", "input", "output"))
        table.writeheader()
        for row in rows(count):
            lines.write(json.dumps(row) + "\n")
            table.writerow(row)
    for ending in ("jsonl", "csv"):
        (folder / f"{ending}.toml").write_text(f'[stream]\npath = "{folder / f"rows.{ending}"}"\n')


def read(path: str) -> None:
    """Read a file of rows."""
    from kpig.tasks import stream

    stream.load(path)


def lengths(path: str, template: str = "") -> None:
    """Read a file of rows, and count what is cut of all examples for the shipped model."""
    from kpig import config
    from kpig.config import ModelSection
    from kpig.model.folder import resolve
    from kpig.model.loading import load_encoder
    from kpig.runs import unseen
    from kpig.tasks import stream

    section = ModelSection()
    if template:
        folder = Path(path).parent / "chat"
        shutil.copytree(resolve(ModelSection().path), folder, dirs_exist_ok=True)
        (folder / "chat_template.jinja").write_text(template)
        section = ModelSection(path=str(folder))
    unseen.cut(load_encoder(section), stream.load(path), config.build({}))


def draw(count: str) -> None:
    """Draw the examples of 100 updates of 16, from a step of one task with so many."""
    from kpig.methods.base import Clock, Step
    from kpig.records import Example, Instruction, Task
    from kpig.training.loop import current_examples

    seed = Instruction("Name the colour.")
    examples = tuple(Example(str(number), "fruit", seed, "plum", ("blue",)) for number in range(int(count)))
    step = Step(1, (Task("fruit", (seed,), examples, (), "exact"),), 1_000)
    for update in range(100):
        current_examples(step, Clock(0, 1, update, 1_000, 16))


PARTS = {"read": read, "lengths": lengths, "draw": draw}


def lines(folder: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    """What is measured: its name and its command."""
    program = [sys.executable, "-m", "kpig"]
    configs = {"shipped model": "", "model on a hub": NEVER_FETCHED}
    for name, text in configs.items():
        path = folder / f"{len(name)}.toml"
        path.write_text(text + SUITE)
        for command in COMMANDS if not text else ("check CONFIG",):
            yield f"kpig {command}, {name}", [*program, *command.replace("CONFIG", str(path)).split()]
    table = {ending: str(folder / f"rows.{ending}") for ending in ("jsonl", "csv")}
    part = [sys.executable, __file__, "--part"]
    for ending, path in table.items():
        yield f"read {ending} {count}", [*part, "read", path]
    yield f"kpig check {count}", [*program, "check", str(folder / "jsonl.toml")]
    yield f"lengths {count}", [*part, "lengths", table["jsonl"]]
    yield f"lengths chat {count}", [*part, "lengths", table["jsonl"], CHATML]
    for number in ("1", str(count)):
        yield f"draw {number}", [*part, "draw", number]


def main() -> None:
    """Print a line for each command and part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", default=[""], help="lines whose name begins so")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, given.count)
        for title, command in lines(folder, given.count):
            if title.startswith(tuple(given.only)):
                seconds, memory = measured(command)
                print(f"{title:40} {seconds:7.2f} s {memory:7.0f} MB", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        PARTS[sys.argv[2]](*sys.argv[3:])
    else:
        main()
