"""The time to read 200,000 rows of each format, against JSON Lines of kpig's own.

    python benchmarks/formats.py

Seconds of this process for one reading. Above twice the time of JSON Lines a line ends in "too slow", and
the exit code is 1. Takes two minutes.
"""

import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kpig.tasks import readers
from kpig.tasks.problems import Problems

NUM_ROWS = 200_000
LARGEST_RATIO = 2.0


def question(number: int) -> str:
    return f"What is the {number}th number after {number * 7}?"


def answer(number: int) -> str:
    return f"It is {number * 8}."


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "plain": lambda n: {"instruction": question(n), "input": f"text {n}", "output": answer(n)},
    "chat": lambda n: {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": question(n)},
            {"role": "assistant", "content": answer(n)},
        ]
    },
    "sharegpt": lambda n: {
        "conversations": [{"from": "human", "value": question(n)}, {"from": "gpt", "value": answer(n)}]
    },
    "completion": lambda n: {"prompt": question(n), "completion": answer(n)},
    "dolly": lambda n: {"instruction": question(n), "context": f"text {n}", "response": answer(n)},
}


def written(folder: Path) -> Iterator[Path]:
    """A file of each format, JSON Lines of kpig's own first."""
    for name, row in ROWS.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row(n)) + "\n" for n in range(NUM_ROWS)), encoding="utf-8")
        yield path
    plain = [ROWS["plain"](n) for n in range(NUM_ROWS)]
    (folder / "list.json").write_text(json.dumps(plain), encoding="utf-8")
    yield folder / "list.json"
    for ending, delimiter in ((".csv", ","), (".tsv", "\t")):
        with (folder / f"table{ending}").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(plain[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(plain)
        yield folder / f"table{ending}"
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_list(plain).to_parquet(str(folder / "table.parquet"))
    yield folder / "table.parquet"


def seconds(path: Path) -> float:
    """Of this process for one reading. Raises AssertionError where rows are missing."""
    problems, start = Problems(), time.process_time()
    drafts = readers.read(path, "auto", problems)
    taken = time.process_time() - start
    assert not problems.found and sum(len(draft.rows) for draft in drafts) == NUM_ROWS
    return taken


def main() -> int:
    """Print a line for each format; 1 where one is too slow."""
    base, too_slow = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        for path in written(Path(folder)):
            taken = seconds(path)
            base = base or taken
            is_slow = taken > LARGEST_RATIO * base
            too_slow += is_slow
            print(f"{path.name:18} {taken:6.2f} s {taken / base:5.2f}{'  too slow' if is_slow else ''}")
    return int(too_slow > 0)


if __name__ == "__main__":
    sys.exit(main())
