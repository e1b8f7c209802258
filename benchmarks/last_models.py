"""What the last models of a sweep's runs answer on more test examples than the runs asked, as a table.

    python benchmarks/last_models.py runs/short --out runs/short-40 --test-per-task 40 [--workers 2]

A run asks few examples after every step, so that a sweep is done in hours. Here each model that is left at
the end of a run is asked once more, by `kpig eval` with the run's own settings. What is there already is
kept, so the command goes on after a kill. The table has means over seeds and orders with 95 % bootstrap
intervals, and paired differences from `--against` with their p, Holm's over the rows. `--rows` writes the
numbers behind it, one line for each run.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean

from kpig import config
from kpig.compare.comparison import compare
from kpig.compare.lines import Line
from kpig.compare.runs import Run, held_out_tasks
from kpig.compare.statistics import Estimate, contrasts, estimate
from kpig.files import publish
from kpig.scoring.metrics import computing
from kpig.scoring.records import Evaluation, TaskScore
from kpig.scoring.scores import read_evaluation

MEASURES: Mapping[str, Callable[[TaskScore], float | None]] = {
    "P": lambda task: task.p_score,
    "V": lambda task: task.v_score,
    "half-listening %": lambda task: task.half_listening,
    "gain": lambda task: task.gain,
}
GROUPS = ("seen", "held-out")


def main() -> None:
    """Ask what is missing, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--test-per-task", type=int, default=40)
    parser.add_argument("--against", default="kpig")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rows", type=Path)
    given = parser.parse_args()
    lines = compare([given.runs], given.against, anyway=True).lines
    runs = [run for line in lines for run in line.runs.values()]
    with ThreadPoolExecutor(given.workers) as pool:
        answered = list(pool.map(lambda run: asked(run, given.out, given.test_per_task), runs))
    found = {run.path.name: read_evaluation(path) for run, path in zip(runs, answered, strict=True)}
    print(table(lines, found, given.against))
    if given.rows:
        publish(given.rows, "".join(f"{json.dumps(row)}\n" for row in rows(lines, found)))


def asked(run: Run, out: Path, test_per_task: int) -> Path:
    """The scores of the run's last model on so many examples of each of its tasks; made where missing."""
    folder = out / run.path.name
    if not (folder / "scores.json").is_file():
        asks = config.load_resolved(run.path / "config.toml")
        asks = asks.model_copy(
            update={"stream": asks.stream.model_copy(update={"test_per_task": test_per_task})}
        )
        folder.mkdir(parents=True, exist_ok=True)
        publish(folder / "asks.toml", config.dump(asks))
        command = ["eval", str(run.path), "--tasks", str(folder / "asks.toml"), "--out", str(folder)]
        subprocess.run([sys.executable, "-m", "kpig", *command], check=True, stdout=subprocess.DEVNULL)
    return folder / "scores.json"


def mean(run: Run, found: Evaluation, group: str, read: Callable[[TaskScore], float | None]) -> float | None:
    """The mean over the group's tasks that have the measure; None where none has it."""
    held_out = {task["task"] for task in held_out_tasks(run)}
    values = [read(task) for name, task in found.tasks.items() if (name in held_out) == (group == "held-out")]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def rows(lines: list[Line], found: Mapping[str, Evaluation]) -> list[dict[str, object]]:
    """The numbers of each run: its line, seed and order, the measures of both groups, P of each task."""
    return [
        {"line": line.label, "run": run.path.name, "seed": run.cell[0], "order": run.order}
        | {
            f"{name} {group}": mean(run, found[run.path.name], group, read)
            for group in GROUPS
            for name, read in MEASURES.items()
        }
        | {"computing": computing(run.record.scores.cost), "seconds": run.record.scores.cost.train_seconds}
        | {"P of tasks": {name: task.p_score for name, task in found[run.path.name].tasks.items()}}
        for line in lines
        for run in line.runs.values()
    ]


def table(lines: list[Line], found: Mapping[str, Evaluation], against: str) -> str:
    """A row for each line: its means, and below each the paired difference from the reference."""
    columns = [(group, name) for group in GROUPS for name in MEASURES]
    values = {
        (group, name): {
            line.label: {
                cell: value
                for cell, run in line.runs.items()
                if (value := mean(run, found[run.path.name], group, MEASURES[name])) is not None
            }
            for line in lines
        }
        for group, name in columns
    }
    reference = next(line.label for line in lines if line.label.startswith(against))
    tested = {column: contrasts(values[column], reference) for column in columns}
    heads = ["", "runs", "thousand tokens", *(f"{name} {group}" for group, name in columns)]
    written = [heads, ["---"] * len(heads)]
    for line in lines:
        cost = fmean(computing(run.record.scores.cost) for run in line.runs.values()) / 1000
        cells = [told(estimate(list(values[column][line.label].values())), column) for column in columns]
        written.append([line.label, str(len(line.runs)), f"{cost:.0f}", *cells])
        if line.label in tested[columns[0]]:
            pairs = [tested[column][line.label] for column in columns]
            differences = [
                f"{told(pair.difference, column, '+')}, p {pair.adjusted:.3f}"
                for pair, column in zip(pairs, columns, strict=True)
            ]
            written.append([f"minus {reference}", "", "", *differences])
    return "\n".join(f"| {' | '.join(row)} |" for row in written)


def told(found: Estimate | None, column: tuple[str, str], sign: str = "") -> str:
    """A mean and its interval."""
    if found is None:
        return "–"
    digits = 2 if column[1] == "gain" else 1
    ends = (
        ""
        if found.low is None or found.high is None
        else f" [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"
    )
    return f"{found.mean:{sign}.{digits}f}{ends}"


if __name__ == "__main__":
    main()
