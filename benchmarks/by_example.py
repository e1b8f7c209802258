"""How far the last models of runs lie apart, paired by test example, as a table.

    python benchmarks/by_example.py runs/smollm2-all --against kpig [--rows answers.jsonl]
    python benchmarks/by_example.py runs/smollm2-all --against kpig --asked runs/smollm2-all-40
    python benchmarks/by_example.py docs/results/smollm2-all-answers.jsonl --against kpig

Where there is one seed, nothing can be paired over seeds and orders. Answers can: every model is asked the
same questions. So intervals and p are over the answers, and say whether these models differ, not whether
their methods do. Another seed of the same method is another model.

Each line has the mean P-score of its last models and the paired difference from `--against`: mean, 95 %
bootstrap interval, two-sided permutation p, and p corrected after Holm for the number of lines. All tasks
weigh the same. `--asked` takes what `last_models.py --out` has asked them, not what the runs themselves
have. `--rows` writes the score of every answer, a line for each run and task, and a file of them
gives the same table without the runs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import fmean

from last_models import p_of, read_lines, told

from kpig.compare.comparison import compare
from kpig.compare.runs import Run, held_out_tasks, learned_tasks
from kpig.compare.statistics import contrasts
from kpig.errors import KpigError
from kpig.files import publish
from kpig.records import SEED_WORDING, Prediction
from kpig.scoring import metrics, predictions


@dataclass(frozen=True)
class Answers:
    """What a run's last model answered to a task: a line of the file that --rows writes."""

    line: str
    """The method and setting of the run."""
    seed: int
    order: str
    group: str
    """"seen" or "held-out"."""
    task: str
    asked: str
    """A digest of the examples' names."""
    scores: tuple[float, ...]
    """In percent, in order of the examples' names."""


Key = tuple[int, str, str, str, int]
"""An answer: seed, order, task, digest of the examples that were asked, place among them."""

GROUPS = ("seen", "held-out")
TASK = attrgetter("task")


def main() -> None:
    """Read the command line, and tell what cannot be done in a sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="a folder of runs, or a file that --rows has written")
    parser.add_argument("--against", required=True, help="a line of the table")
    parser.add_argument("--asked", type=Path, help="the folder that last_models.py --out has written")
    parser.add_argument("--rows", type=Path, help="a file for the score of every answer")
    given = parser.parse_args()
    if given.asked and given.runs.is_file():
        parser.error(f"--asked is for a folder of runs, not for rows: {given.runs}")
    try:
        rows = read(given.runs, given.asked)
        if given.rows:
            publish(given.rows, "".join(f"{json.dumps(asdict(row))}\n" for row in rows))
        print(table(rows, given.against))
    except KpigError as error:
        sys.exit(f"error: {error}")


def read(runs: Path, asked: Path | None) -> list[Answers]:
    """The answers of all finished runs of a folder, or those of a file; KpigError where it has none."""
    if runs.is_file():
        return read_lines(runs, Answers)
    lines = compare([runs], anyway=True).lines
    found = ((line.label, run) for line in lines for run in line.runs.values())
    return [row for label, run in found for row in answers(label, run, last_predictions(run, asked))]


def last_predictions(run: Run, asked: Path | None) -> list[Prediction]:
    """What a run's last model answered in seed wordings, of the run itself or of `asked`."""
    if asked is None:
        files = sorted((max((run.path / "steps").iterdir()) / "predictions").glob("*.jsonl"))
    else:
        files = [asked / run.path.name / "predictions.jsonl"]
        if not files[0].is_file():
            raise KpigError(f"{files[0]}: not there; benchmarks/last_models.py with --out {asked} asks it")
    return [one for file in files for one in predictions.read(file) if one.wording == SEED_WORDING]


def answers(label: str, run: Run, predicted: Sequence[Prediction]) -> list[Answers]:
    """Those of a run, task by task; KpigError where it was asked another task than its own."""
    tasks = {task["task"]: (GROUPS[0], task["metric"]) for step in learned_tasks(run) for task in step}
    tasks |= {task["task"]: (GROUPS[1], task["metric"]) for task in held_out_tasks(run)}
    found = []
    for task, of_task in groupby(sorted(predicted, key=lambda one: (one.task, one.example)), TASK):
        if task not in tasks:
            raise KpigError(f"{run.path}: asked {task}, which is none of its tasks; leave out --tasks there")
        asked = list(of_task)
        group, metric = tasks[task]
        digest = sha256("\n".join(one.example for one in asked).encode()).hexdigest()[:12]
        scores = tuple(round(100 * score, 2) for score in metrics.example_scores(asked, metric))
        found.append(Answers(label, run.cell[0], run.order, group, task, digest, scores))
    return found


def table(rows: Sequence[Answers], against: str) -> str:
    """A line for each method and setting; KpigError where `against` is none of them."""
    lines = list(dict.fromkeys(row.line for row in rows))
    if against not in lines:
        raise KpigError(f"--against {against}: expected a line of the table; there are {', '.join(lines)}")
    values = {group: {line: weighed(rows, line, group) for line in lines} for group in GROUPS}
    tested = {group: contrasts(of_line, against) for group, of_line in values.items()}
    head = ["", *(f"{kind} {group}" for group in GROUPS for kind in ("P", f"minus {against},"))]
    written = [head, ["---"] * len(head)]
    for line in lines:
        cells = [line]
        for group in GROUPS:
            own, pair = values[group][line], tested[group].get(line)
            cells.append(f"{fmean(own.values()):.1f}" if own else "–")
            cells.append("–")
            if pair is not None:
                found = told("P", pair.difference, "+")
                cells[-1] = f"{found}, p {p_of(pair.p)}, Holm {p_of(pair.adjusted, 2)}"
        written.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in written)


def weighed(rows: Sequence[Answers], line: str, group: str) -> dict[Key, float]:
    """The score of each answer of a line, weighed so that their mean is the mean over tasks."""
    of_line = [row for row in rows if row.line == line and row.group == group]
    total = sum(len(row.scores) for row in of_line)
    return {
        (row.seed, row.order, row.task, row.asked, place): score * total / (len(of_line) * len(row.scores))
        for row in of_line
        for place, score in enumerate(row.scores)
    }


if __name__ == "__main__":
    main()
