"""A peer's table, redone: what learning task B does to the loss on task A, with and without replay.

    python benchmarks/two_tasks.py --out runs/two-tasks [--seeds 0 1 2] [--rows two-tasks.json]
    python benchmarks/two_tasks.py --read docs/results/smollm2-two-tasks.json

Soup showed its replay on SmolLM2-135M-Instruct: two tasks of 60 rows, LoRA of rank 16, 25 epochs, 0.3
replayed examples for each new one. The loss on A rose by 4 % without replay and fell by 3 % with it, and that
on B was 5 % worse. Its tasks are not at hand. Here A turns a negative review into a positive one (task927),
and B asks a question that a statement answers (task1580): the shortest texts of superni-stream that answer
in more than a label, and differ in what is done.

The loss is the mean cross-entropy per response token on 40 test examples of the task, in nats. Finished runs
are kept; a killed one goes on where it was. `--rows` writes what was measured, and `--read` prints its table.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

from typing_extensions import TypedDict  # pydantic reads typing's own from Python 3.12 on

from kpig import config
from kpig.files import publish_json
from kpig.model import loading
from kpig.progress import Watcher
from kpig.records import Task
from kpig.runs import job
from kpig.runs.folder import begun_at
from kpig.runs.served import step_of
from kpig.scoring.typed_json import Misfit, parse
from kpig.tasks import stream
from kpig.training.loop import held_out_loss

TASKS = ("task927_yelp_negative_to_positive_style_transfer", "task1580_eqasc-perturbed_question_generation")
METHODS = ("sequential", "replay", "kpig")
SETTINGS = {
    "model": {"adapter": "lora", "lora_rank": 16, "lora_alpha": 32, "dtype": "bfloat16", "max_length": 512},
    "stream": {"train_per_task": 60, "test_per_task": 40},
    "train": {"epochs": 25, "batch_size": 8, "precision": "bfloat16", "checkpoint_every": 0},
    "replay": {"memory_per_task": 60, "ratio": 0.3},
    "evaluate": {"every": "last", "max_new_tokens": 24, "gain": False, "new_wordings": False},
}


class Measured(TypedDict):
    loss: list[list[float]]
    p: list[float]
    half: float | None
    train: float
    forward: float
    seconds: float


"""What a run has come to: losses on A and B after every step, P on both, half-listening, tokens, seconds."""


def main() -> None:
    """Run what is missing, measure the losses that are missing, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/two-tasks"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/superni-stream"))
    parser.add_argument("--model", default="models/smollm2-135m-instruct")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--rows", type=Path, help="a file for what was measured")
    parser.add_argument("--read", type=Path, help="a file that --rows has written; nothing is run")
    given = parser.parse_args()
    if given.read:
        try:
            print(table(parse(given.read.read_bytes(), dict[str, list[Measured]])))
        except (OSError, Misfit) as error:
            sys.exit(f"error: {given.read}: expected what --rows has written; {error}")
        return
    if not (given.out / "tasks").exists():
        write_tasks(given.data, given.out / "tasks")
    measured = {
        method: [
            one_run(method, seed, given.model, given.out, given.overrides) for seed in sorted(given.seeds)
        ]
        for method in given.methods
    }
    if given.rows:
        publish_json(given.rows, measured)
    print(table(measured))


def write_tasks(data: Path, folder: Path) -> None:
    """The two tasks as a stream of their own, with the splits, key parts and constraints that they have."""
    steps = json.loads((data / "stream.json").read_text())["steps"]
    entries = {one["task"]: one for step in steps for one in step["tasks"]}
    for name in ("keyparts.json", "constraints.json"):
        stated = json.loads((data / name).read_text())
        publish_json(folder / name, {task: stated[task] for task in TASKS if task in stated})
    for task in TASKS:
        publish_json(
            folder / "tasks" / f"{task}.json", json.loads((data / entries[task]["file"]).read_text())
        )
    publish_json(
        folder / "stream.json",
        {"steps": [{"tasks": [{**entries[task], "file": f"tasks/{task}.json"}]} for task in TASKS]},
    )


def one_run(method: str, seed: int, model: str, out: Path, overrides: list[str]) -> Measured:
    """What a run of a method says: the losses on A and B after every step, its scores and its tokens."""
    folder = out / f"{method}-{seed}"
    table = {section: dict(values) for section, values in SETTINGS.items()}
    table["model"]["path"] = str(Path(model).resolve())
    table["stream"]["path"] = str((out / "tasks").resolve())
    settings = config.build(table | {"seed": seed, "method": {"name": method}}, overrides)
    scores = job.run(settings, folder, resume=folder.exists(), watch=Watcher())
    kept = folder / "losses.json"
    if not kept.exists():
        tasks = stream.configured(settings).tasks
        publish_json(kept, [losses(folder, number, tasks) for number in range(3)])
    return {
        "loss": json.loads(kept.read_text()),
        "p": [scores.matrix[2][0], scores.matrix[2][1]],
        "half": scores.final.seen.half_listening,
        "train": scores.cost.train_tokens,
        "forward": scores.cost.forward_tokens,
        "seconds": scores.cost.train_seconds,
    }


def losses(folder: Path, number: int, tasks: tuple[Task, ...]) -> list[float]:
    """The losses on A and B after a step of the run; step 0 is the untuned model."""
    step = step_of(folder, number)
    learner = loading.load(step.section, clock=begun_at(folder))
    return [held_out_loss(learner, [task], step.config.train) for task in tasks]


def table(measured: dict[str, list[Measured]]) -> str:
    """The losses of every method, mean over seeds, and their changes."""
    rows = [
        "| method | A untuned | A learned | A after B | change of A | B untuned | B after A | B learned | "
        "P on A, B | half-listening % | thousand tokens | seconds |",
        "|" + "---|" * 12,
    ]
    for method, runs in measured.items():
        a, b = ([fmean(run["loss"][step][task] for run in runs) for step in range(3)] for task in (0, 1))
        half = [run["half"] for run in runs if run["half"] is not None]
        cells = [
            method,
            *(f"{loss:.3f}" for loss in a),
            f"{a[2] / a[1] - 1:+.1%}",
            *(f"{loss:.3f}" for loss in b),
            ", ".join(f"{fmean(run['p'][one] for run in runs):.1f}" for one in (0, 1)),
            f"{fmean(half):.1f}" if half else "–",
            f"{fmean(run['train'] + run['forward'] / 3 for run in runs) / 1000:.0f}",
            f"{fmean(run['seconds'] for run in runs):.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
