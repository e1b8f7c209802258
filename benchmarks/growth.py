"""How the time of each reader and rule grows: at n, and at ten times n.

    python benchmarks/growth.py [NAME ...]

Each input is drawn from a fixed seed and is ordinary or the worst that is known for its rule. The time is the
least of three, in seconds of this process, without the collector of cyclic garbage, whose passes over what
else is in memory are no part of the rule. A ratio of about 10 is linear. Above LARGEST_RATIO a line ends in
"more than linear", and the exit code is 1. Takes about a minute; names of lines choose some.
"""

import contextlib
import gc
import gzip
import io
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kpig.annotate import by_llm
from kpig.errors import DataError
from kpig.llm import Answer
from kpig.records import Instruction, KeySpan
from kpig.report.record import RunRecord, distinct
from kpig.runs.check import scorer_cautions
from kpig.scoring import predictions_file
from kpig.tasks import matching, stream
from kpig.tasks.drafts import Draft, Row, build
from kpig.tasks.key_parts import locate
from kpig.tasks.problems import Problems
from kpig.tasks.readers import read
from kpig.tasks.readers.variants import Wordings

LARGEST_RATIO = 20.0
"""Chosen: caches that no longer fit make up to twice of ten, a square makes a hundred."""

REPEATS = 3
SEED = Instruction("Name the colour of the fruit in one word.")

Action = Callable[[], object]


def words(count: int, vocabulary: int = 2_000, seed: int = 0) -> str:
    rng = random.Random(seed)
    return " ".join(f"word{rng.randrange(vocabulary)}" for _ in range(count))


def rows(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "instruction": SEED.text,
            "input": words(12, seed=number),
            "output": words(4, seed=-number),
            **fields,
        }
        for number in range(count)
    ]


def lines(path: Path, found: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in found)
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write(text)
    return path


def superni(folder: Path, count: int, **beside: Any) -> Path:
    """A folder of one task with so many instances; `beside` are the files of annotations."""
    instances = [{"id": f"i-{n}", "input": f"plum {n}", "output": "blue"} for n in range(count)]
    (folder / "tasks").mkdir()
    task = {"Definition": [SEED.text], "Instances": instances}
    (folder / "tasks" / "fruit.json").write_text(json.dumps(task))
    ids = [f"i-{n}" for n in range(count)]
    entry = {"task": "fruit", "train_ids": ids[: count // 2], "test_ids": ids[count // 2 :]}
    (folder / "stream.json").write_text(json.dumps({"steps": [{"tasks": [entry]}]}))
    for name, value in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def refused(action: Action) -> Action:
    """The action, which ends in a DataError: what a user waits for until the problems are told."""

    def refuse() -> None:
        with contextlib.suppress(DataError):
            action()
            raise AssertionError("this input is meant to be refused")

    return refuse


def load(path: Path, kind: str = "auto") -> Action:
    return lambda: stream.load(path, kind=kind)


def hf(folder: Path, count: int) -> Path:
    import datasets

    datasets.Dataset.from_list(rows(count)).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def one_draft(count: int, labels: int, metric: str | None = None) -> Draft:
    found = tuple(Row(str(n), f"plum {n}", (f"label {n % labels}",)) for n in range(count))
    return Draft("fruit", "memory", (SEED,), found, metric=metric)


def scored(folder: Path, count: int) -> Action:
    tasks = stream.load_tasks(lines(folder / "t.jsonl", rows(count, task="fruit")))
    answers = [{"id": example.id, "prediction": "blue"} for example in tasks[0].test]
    path = lines(folder / "answers.jsonl.gz", answers)
    return lambda: predictions_file.score(path, tasks)


def unmatched(folder: Path, count: int) -> Action:
    tasks = stream.load_tasks(lines(folder / "t.jsonl", rows(count, task="fruit")))
    path = lines(folder / "answers.jsonl", [{"id": f"fruit_{n}", "prediction": "blue"} for n in range(count)])
    return refused(lambda: predictions_file.score(path, tasks))


def strangers(folder: Path, count: int) -> Action:
    entries = {f"fruit{n:06d}": [] for n in range(count)}
    return refused(load(superni(folder, 10, constraints=entries)))


def many_steps(folder: Path, count: int) -> Action:
    found = [
        row | {"task": f"t{n % (count // 4)}", "step": n % (count // 4)} for n, row in enumerate(rows(count))
    ]
    return load(lines(folder / "steps.jsonl", found))


def reworded(count: int) -> Action:
    entries = {"fruit": [{"instruction": f"Wording {n}.", "key_parts": ["Wording"]} for n in range(count)]}
    draft = Draft("fruit", "memory", (SEED,), (Row("1", "plum", ("blue",)),))
    return lambda: Wordings(Path("variants.json"), entries).add(draft)


def own_instructions(folder: Path, count: int) -> Action:
    found = [row | {"instruction": f"Name it {n}."} | {"task": "t"} for n, row in enumerate(rows(count))]
    tasks = stream.load_tasks(lines(folder / "own.jsonl", found))
    return lambda: [task.wordings(one) for task in tasks for one in (*task.train, *task.test)]


def digest(folder: Path, count: int) -> Action:
    found = stream.load(lines(folder / "t.jsonl", rows(count)))
    return lambda: stream.digest(found)


def cautions(folder: Path, count: int) -> Action:
    tasks = stream.load_tasks(lines(folder / "t.jsonl", rows(count)))
    return lambda: scorer_cautions(tasks)


def answer(count: int) -> Action:
    found = Answer("```json" + "\n" * count, 1, 1)
    return lambda: by_llm.read("Go on.", found)


def duplicates(folder: Path, count: int) -> Action:
    found = [row | {"id": str(min(n, count - 2)), "task": "t"} for n, row in enumerate(rows(count))]
    return refused(load(lines(folder / "ids.jsonl", found)))


def labels_of_runs(count: int) -> Action:
    runs: Any = [RunRecord(Path("."), f"method {n % 3}", None, {}, {}) for n in range(count)]  # type: ignore[arg-type]
    return lambda: distinct(runs)


CASES: Mapping[str, tuple[int, Callable[[Path, int], Action]]] = MappingProxyType(
    {
        "read jsonl": (2_000, lambda folder, n: load(lines(folder / "t.jsonl", rows(n)))),
        "read jsonl.gz": (2_000, lambda folder, n: load(lines(folder / "t.jsonl.gz", rows(n)))),
        "read superni": (2_000, lambda folder, n: load(superni(folder, n))),
        "read hf": (1_000, lambda folder, n: load(hf(folder, n), "hf")),
        "blank lines": (
            50_000,
            lambda folder, n: refused(lambda: read(blank(folder, n), "jsonl", Problems())),
        ),
        "bad lines": (2_000, lambda folder, n: refused(load(lines(folder / "t.jsonl", [{"ouput": 1}] * n)))),
        "one long line": (100_000, lambda folder, n: load(long_line(folder, n))),
        "steps": (1_000, many_steps),
        "duplicate ids": (2_000, duplicates),
        "strangers": (400, strangers),
        "variants": (300, lambda folder, n: reworded(n)),
        "own instructions": (1_000, own_instructions),
        "split and metric": (3_000, lambda folder, n: lambda: build(one_draft(n, labels=n), "rule")),
        "labels": (3_000, lambda folder, n: lambda: build(one_draft(n, labels=4), "rule")),
        "digest": (2_000, digest),
        "cautions": (2_000, cautions),
        "key parts": (1_000, lambda folder, n: lambda: locate("go " * n, ["go"] * n, "f")),
        "fixed key parts": (1_000, lambda folder, n: lambda: locate("go " * n, fixed(n), "f")),
        "masked twin": (1_000, lambda folder, n: Instruction("go " * n, spans(n)).masked),
        "collisions": (2_000, lambda folder, n: lambda: matching.collisions([[f"a {k}" for k in range(n)]])),
        "exact match": (5_000, lambda folder, n: lambda: matching.exact_match(words(n), [words(n)])),
        "rouge-l": (500, lambda folder, n: lambda: matching.rouge_l(words(n), [words(n, seed=1)])),
        "score a file": (500, scored),
        "unmatched answers": (1_000, unmatched),
        "an answer's fence": (20_000, lambda folder, n: answer(n)),
        "labels of runs": (2_000, lambda folder, n: labels_of_runs(n)),
    }
)
"""The lines by name: the smaller size, and what makes the action to time from a folder and a size."""


def blank(folder: Path, count: int) -> Path:
    path = folder / "blank.jsonl"
    path.write_text("\n" * count)
    return path


def long_line(folder: Path, count: int) -> Path:
    found = rows(3)
    return lines(folder / "long.jsonl", [found[0] | {"input": "plum " * count}, *found[1:]])


def fixed(count: int) -> list[dict[str, Any]]:
    return [{"text": "go", "start": 3 * number} for number in range(count)]


def spans(count: int) -> tuple[KeySpan, ...]:
    return tuple(KeySpan(3 * number, 3 * number + 2) for number in range(count))


def seconds(make: Callable[[Path, int], Action], size: int) -> float:
    """The least of some times of the action of a size, without those of making its input."""
    with tempfile.TemporaryDirectory() as folder:
        action = make(Path(folder), size)
        found = []
        for _ in range(REPEATS):
            gc.disable()
            started = time.process_time()
            action()
            found.append(time.process_time() - started)
            gc.enable()
            gc.collect()
    return min(found)


def main() -> int:
    """Measure and print; 1 where a line grows by more than LARGEST_RATIO."""
    logging.disable(logging.WARNING)
    chosen = sys.argv[1:] or list(CASES)
    failed = False
    print(f"{'what':20} {'n':>8} {'seconds':>9} {'at 10 n':>9} {'ratio':>6}")
    for name in chosen:
        size, make = CASES[name]
        with contextlib.redirect_stderr(io.StringIO()):
            small, large = seconds(make, size), seconds(make, 10 * size)
        ratio = large / max(small, 1e-9)
        note = "  more than linear" if ratio > LARGEST_RATIO else ""
        failed |= bool(note)
        print(f"{name:20} {size:8} {small:9.4f} {large:9.4f} {ratio:6.1f}{note}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
