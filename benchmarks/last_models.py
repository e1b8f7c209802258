"""What the last models of a sweep's runs answer on more test examples than the runs asked, as a table.

    python benchmarks/last_models.py runs/short --out runs/short-40 [--test-per-task 40] [--workers 2]
    python benchmarks/last_models.py runs/short --out runs/short-general --tasks general
    python benchmarks/last_models.py runs/ladder --as-scored --rows ladder.jsonl
    python benchmarks/last_models.py docs/results/short-40.jsonl

A run asks few examples after every step, so that a sweep is done in hours. Here each model that is left at
the end of a run is asked once more, by `kpig eval` with the run's own settings: on more examples of its own
tasks, or on other tasks. What is there already is kept, so the command goes on after a kill. `--rows` writes
the numbers, one line for each run, and a file of them gives the same table without the runs. `--as-scored`
asks nothing: it takes the scores that the runs have themselves. `--kinds` tells V by kind of violation.

The table has means over seeds and orders with 95 % bootstrap intervals. `--against` adds the paired
differences from a line, with their p corrected after Holm for the number of lines. `--rank` adds the average
rank over P seen and P held-out, without the bounds init and mtl, of lines that have all seeds and orders.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import NotRequired, TypeVar

from typing_extensions import TypedDict  # pydantic reads typing's own from Python 3.12 on

from kpig import config
from kpig.compare.comparison import compare
from kpig.compare.lines import BOUNDS, Line, measurements
from kpig.compare.measures import MEASURES as COMPARED
from kpig.compare.runs import Run, held_out_tasks
from kpig.compare.statistics import Estimate, average_ranks, contrasts, estimate
from kpig.errors import KpigError
from kpig.files import publish
from kpig.scoring.metrics import computing, group_scores
from kpig.scoring.records import GroupScore
from kpig.scoring.scores import read_evaluation
from kpig.scoring.typed_json import Misfit, parse

MEASURES = {"P": "p_score", "V": "v_score", "half-listening %": "half_listening", "gain": "gain"}
OWN = {
    f"{measure}_{key}": f"{name} {key.replace('_', '-')}"
    for measure, name in (
        ("half_listening", "half-listening %"),
        ("gain", "gain"),
        ("wording_gap", "wording gap"),
    )
    for key in ("seen", "held_out")
}
"""What a row calls these of a run's own measures."""

Row = TypedDict(
    "Row",
    {
        "line": str,
        "run": str,
        "seed": int,
        "order": str,
        "computing": float,
        "seconds": float,
        "scores": dict[str, float | None],
        "P of tasks": NotRequired[dict[str, float | None]],
        "V by kind": NotRequired[dict[str, float]],
    },
)
"""What is known of a run: a line of the file that --rows writes. `scores` by "P seen" and so on.

"V by kind" has the percentage of responses that break a rule of a kind, by "out of scope seen" and so on.
"""

T = TypeVar("T")


def main() -> None:
    """Read the command line, and tell what cannot be done in a sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="a folder of runs, or a file that --rows has written")
    parser.add_argument("--out", type=Path, help="the folder of what was asked")
    parser.add_argument("--tasks", default="", help="other tasks than the runs' own, as `kpig eval` has them")
    parser.add_argument("--test-per-task", type=int, default=40, help="of the runs' own tasks")
    parser.add_argument("--against", default="", help="a line of the table, or how it begins")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--as-scored", action="store_true", help="ask nothing: what the runs' own last scores say"
    )
    parser.add_argument("--rank", action="store_true", help="add the average rank of each line")
    parser.add_argument("--kinds", action="store_true", help="V by kind of violation in place of the scores")
    parser.add_argument("--rows", type=Path, help="a file for the numbers")
    given = parser.parse_args()
    try:
        tell(given, parser)
    except KpigError as error:
        sys.exit(f"error: {error}")


def tell(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ask what is missing, print the table; KpigError where the runs cannot be read."""
    if given.runs.is_file():
        rows = read_lines(given.runs, Row)
    elif given.as_scored:
        rows = [
            as_scored(line.label, run) for line in lines_of(given.runs) for run in measurements(line.runs)
        ]
    elif given.out is None:
        parser.error("a folder of runs needs --out")
    else:
        rows = asked(given.runs, given.out, given.tasks, given.test_per_task, given.workers)
    if given.rows:
        publish(given.rows, "".join(f"{json.dumps(row)}\n" for row in rows))
    if given.kinds:
        rows = by_kind(rows)
    print(table(rows, given.against, given.rank))


def read_lines(file: Path, kind: type[T]) -> list[T]:
    """The lines of a file that --rows has written; KpigError where one is none."""
    found: list[T] = []
    for line in file.read_bytes().splitlines():
        try:
            found.append(parse(line, kind))
        except Misfit as misfit:
            raise KpigError(
                f"{file}, line {len(found) + 1}: expected what --rows has written; {misfit}"
            ) from None
    if not found:
        raise KpigError(f"{file} is empty: expected what --rows has written")
    return found


def asked(runs: Path, out: Path, tasks: str, test_per_task: int, workers: int) -> list[Row]:
    """The rows of all finished runs, each model asked where it was not yet."""
    found = [(line.label, run) for line in lines_of(runs) for run in line.runs.values()]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda one: row(one[0], one[1], out, tasks, test_per_task), found))


def lines_of(runs: Path) -> Sequence[Line]:
    """The methods and settings of a folder of runs."""
    return compare([runs], anyway=True).lines


def as_scored(label: str, run: Run) -> Row:
    """What is known of a run by its own last scores."""
    found = run.record.scores
    scores = {OWN.get(one.key, one.short): one.read(found) for one in COMPARED if one.main or one.key in OWN}
    rounded = {name: value if value is None else round(value, 4) for name, value in scores.items()}
    kinds = kinds_of({"seen": found.final.seen, "held-out": found.final.held_out})
    return {**known(label, run, rounded), "V by kind": kinds}


def row(label: str, run: Run, out: Path, tasks: str, test_per_task: int) -> Row:
    """What is known of a run, its last model asked where `out` has no scores of it."""
    folder = out / run.path.name
    if not (folder / "scores.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if not tasks:
            publish(folder / "asks.toml", with_more(run, test_per_task))
        command = ["eval", str(run.path), "--tasks", tasks or str(folder / "asks.toml"), "--out", str(folder)]
        subprocess.run([sys.executable, "-m", "kpig", *command], check=True, stdout=subprocess.DEVNULL)
    scored = read_evaluation(folder / "scores.json").tasks
    held_out = {task["task"] for task in held_out_tasks(run)}
    groups = {
        "seen": {name: task for name, task in scored.items() if not tasks and name not in held_out},
        "held-out": {name: task for name, task in scored.items() if name in held_out},
        "asked": scored if tasks else {},
    }
    scores = {
        f"{name} {group}": mean(getattr(task, key) for task in of_group.values())
        for group, of_group in groups.items()
        if of_group
        for name, key in MEASURES.items()
    }
    p_of_tasks = {name: round(task.p_score, 2) for name, task in scored.items()}
    kinds = kinds_of({name: group_scores(of_group) for name, of_group in groups.items() if of_group})
    return {**known(label, run, scores), "P of tasks": p_of_tasks, "V by kind": kinds}


def kinds_of(groups: Mapping[str, GroupScore | None]) -> dict[str, float]:
    """V by kind of violation and group."""
    return {
        f"{kind.replace('_', ' ')} {name}": round(share, 4)
        for name, group in groups.items()
        if group
        for kind, share in group.violations.items()
    }


def by_kind(rows: Sequence[Row]) -> list[Row]:
    """The rows with V by kind in place of their scores; KpigError where one was written without.

    "undecided" is a kind only where it occurs: a row without it has none of it.
    """
    for row in rows:
        if "V by kind" not in row:
            raise KpigError(f"--kinds: {row['run']} has no V by kind; write its row again with --rows")
    kinds = dict.fromkeys(kind for row in rows for kind in row["V by kind"])
    return [{**row, "scores": {kind: row["V by kind"].get(kind, 0.0) for kind in kinds}} for row in rows]


def known(label: str, run: Run, scores: Mapping[str, float | None]) -> Row:
    """Which run it is, what it has cost, and its scores."""
    cost = run.record.scores.cost
    return {
        "line": label,
        "run": run.path.name,
        "seed": run.cell[0],
        "order": run.order,
        "computing": round(computing(cost)),
        "seconds": round(cost.train_seconds),
        "scores": dict(scores),
    }


def with_more(run: Run, test_per_task: int) -> str:
    """The run's config with so many test examples of each task."""
    settings = config.load_resolved(run.path / "config.toml")
    is_suite = settings.stream.path == config.SUITE
    section, key = ("suite", "num_test") if is_suite else ("stream", "test_per_task")
    more = getattr(settings, section).model_copy(update={key: test_per_task})
    return config.dump(settings.model_copy(update={section: more}))


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that were measured; None where none was."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def table(rows: Sequence[Row], against: str, ranked: bool = False) -> str:
    """A line for each method and setting: its means, and below them the differences from `against`."""
    lines = list(dict.fromkeys(row["line"] for row in rows))
    columns = [name for name in rows[0]["scores"] if any(row["scores"][name] is not None for row in rows)]
    values = {column: {line: by_cell(rows, line, column) for line in lines} for column in columns}
    begun = [line for line in lines if against and line.startswith(against)]
    reference = against if against in begun else next(iter(begun), "")
    tested = {column: contrasts(values[column], reference) for column in columns} if reference else {}
    ranks = ranks_of(values) if ranked else {}
    written = [["", *(["rank"] if ranks else []), "runs", "thousand tokens", *columns]]
    written.append(["---"] * len(written[0]))
    for line in lines:
        of_line = [row for row in rows if row["line"] == line]
        cost = f"{fmean(row['computing'] for row in of_line) / 1000:.0f}"
        means = [told(column, estimate(list(values[column][line].values()))) for column in columns]
        rank = [f"{ranks[line]:.1f}" if line in ranks else "–"] if ranks else []
        written.append([line, *rank, str(len(of_line)), cost, *means])
        pairs = [(column, tested[column].get(line)) for column in columns if tested]
        differences = [
            f"{told(column, pair.difference, '+')}, p {p_of(pair.p)}, Holm {p_of(pair.adjusted, 2)}"
            for column, pair in pairs
            if pair is not None
        ]
        if differences:
            written.append([f"minus {reference}", *([""] if ranks else []), "", "", *differences])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in written)


def ranks_of(values: Mapping[str, Mapping[str, Mapping[tuple[int, str], float]]]) -> Mapping[str, float]:
    """The average rank of each line that is no bound and has a run in every cell."""
    if not values.keys() >= {"P seen", "P held-out"}:
        sys.exit("error: --rank needs P seen and P held-out of the runs' own tasks; leave it out")
    cells = {cell for by_cell in values["P seen"].values() for cell in by_cell}
    found = [
        {
            line: by_cell
            for line, by_cell in values[name].items()
            if line.split(" ")[0] not in BOUNDS and by_cell.keys() == cells
        }
        for name in ("P seen", "P held-out")
    ]
    return average_ranks(found)[0]


def by_cell(rows: Sequence[Row], line: str, column: str) -> dict[tuple[int, str], float]:
    """A score of a line's runs by seed and order."""
    found = {(row["seed"], row["order"]): row["scores"][column] for row in rows if row["line"] == line}
    return {cell: value for cell, value in found.items() if value is not None}


def told(column: str, found: Estimate | None, sign: str = "") -> str:
    """A mean and its interval."""
    if found is None:
        return "–"
    digits = 2 if column.startswith("gain") else 1
    told = f"{found.mean:{sign}.{digits}f}"
    if found.low is None or found.high is None:
        return told
    return f"{told} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"


def p_of(value: float, digits: int = 3) -> str:
    """A p of a table; one that would be rounded to 0 is told as less than the last digit."""
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if value < least / 2 else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
