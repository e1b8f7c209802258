"""What KPIG's lowest-gain selection picks, and what becomes of the rest, from the scores of finished runs.

    python benchmarks/lowest.py runs/real/kpig-lowest-seed*-ordergiven
        --beside runs/real/replay-seed*-ordergiven

For every step t from --first on: the --num-tasks seen tasks of lowest test gain after step t stand for those
that step t + 1 replays; mean P-score of these and of the other seen tasks when they were learned, after step
t, after step t + 1, and there in the run beside it.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from kpig.scoring.records import TaskScore
from kpig.scoring.scores import read_run


def main() -> None:
    """One row per run and step, then the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--beside", type=Path, nargs="+", required=True)
    parser.add_argument("--first", type=int, default=4)
    parser.add_argument("--num-tasks", type=int, default=8)
    given = parser.parse_args()
    print("| run | after step | tasks | when learned | now | a step later | a step later, beside |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for run, other in zip(given.runs, given.beside, strict=True):
        for step, group, values in table(run, other, given.first, given.num_tasks):
            rows.append((group, values))
            print(
                f"| {run.name} | {step} | {group} | " + " | ".join(f"{value:.1f}" for value in values) + " |"
            )
    for group in ("lowest", "others"):
        mean = [fmean(column) for column in zip(*(v for g, v in rows if g == group), strict=True)]
        print(f"| mean | | {group} | " + " | ".join(f"{value:.1f}" for value in mean) + " |")


def table(run: Path, other: Path, first: int, num_tasks: int) -> list[tuple[int, str, list[float]]]:
    """Step, group of tasks, and its four mean P-scores."""
    learned_at = {
        task["task"]: step["step"]
        for step in json.loads((run / "stream.json").read_text())["steps"]
        for task in step["tasks"]
    }
    scores, beside = steps(run), steps(other)
    rows = []
    for step in range(first, len(scores) - 1):
        seen = [task for task, at in learned_at.items() if at <= step]
        ranked = sorted(seen, key=lambda task: scores[step][task].gain)
        for group, tasks in (("lowest", ranked[:num_tasks]), ("others", ranked[num_tasks:])):
            tables = (scores[step], scores[step + 1], beside[step + 1])
            values = [fmean(scores[learned_at[task]][task].p_score for task in tasks)]
            rows.append((step, group, values + [fmean(t[task].p_score for task in tasks) for t in tables]))
    return rows


def steps(run: Path) -> list[Mapping[str, TaskScore]]:
    """The scores of all tasks after every step."""
    return [step.tasks for step in read_run(run / "scores.json").steps]


if __name__ == "__main__":
    main()
