"""Does diversity of instructions help held-out tasks, and close the gap to wordings never seen?

    python benchmarks/diversity.py --seeds 0 1 2 --out runs/diversity

The suite's stream, written as task files with one wording per task, learned by uniform replay for as long
as examples/suite.toml in three ways: that one wording; with up to 20 variants made offline (breadth: general
description changes, key parts stay); with the suite's four own wordings, in which key parts change too.
All are scored under the seed wording and under the suite's evaluation wording, in which all parts differ.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from ablation import MEASURES, SUITE_SIZE, with_interval

from kpig import config, diversify
from kpig.records import Constraint, Instruction, KeySpan, Task
from kpig.runs import job
from kpig.scoring.records import RunScores
from kpig.scoring.significance import paired_permutation_test
from kpig.tasks import stream, suite

ARMS = ("one wording", "breadth", "own wordings")
SHOWN = {
    **{name: MEASURES[name] for name in ("P seen", "P held-out", "V seen", "V held-out", "forgetting")},
    "P seen, new wording": lambda scores: scores.final.seen.new_wording.p_score,
    "P held-out, new wording": lambda scores: scores.final.held_out.new_wording.p_score,
    "wording gap seen": lambda scores: scores.final.seen.new_wording.wording_gap,
    "wording gap held-out": lambda scores: scores.final.held_out.new_wording.wording_gap,
}


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/diversity"))
    arguments = parser.parse_args()
    found: dict[str, list[RunScores]] = {arm: [] for arm in ARMS}
    for seed in arguments.seeds:
        for arm in ARMS:
            found[arm].append(one_run(arm, seed, arguments.out))
            print(
                f"seed {seed} {arm}: " + ", ".join(f"{n} {m(found[arm][-1]):.4g}" for n, m in SHOWN.items()),
                flush=True,
            )
    print("\n| wordings | " + " | ".join(SHOWN) + " |\n|---|" + "---|" * len(SHOWN))
    for arm, runs in found.items():
        print(
            f"| {arm} | " + " | ".join(with_interval([m(run) for run in runs]) for m in SHOWN.values()) + " |"
        )
    for name in ("P held-out", "wording gap held-out", "wording gap seen"):
        pair = ([SHOWN[name](run) for run in found[arm]] for arm in ("breadth", "one wording"))
        print(f"{name}, breadth against one wording: p = {paired_permutation_test(*pair, seed=0):.2f}")


def one_run(arm: str, seed: int, out: Path) -> RunScores:
    """Scores of one way on the stream of one seed; its task files lie beside the run."""
    folder = out / f"{arm.replace(' ', '-')}-{seed}"
    data = folder.with_name(folder.name + "-tasks")
    if not data.exists():
        write_tasks(arm, seed, data)
    settings = SUITE_SIZE | {
        "seed": seed,
        "method": {"name": "replay"},
        "stream": {"path": str(data / "stream"), "held_out": str(data / "held_out")},
    }
    return job.run(config.build(settings), folder, resume=folder.exists())


def write_tasks(arm: str, seed: int, data: Path) -> None:
    """The suite's stream as JSONL with one wording per task, and the arm's variants beside it."""
    built = suite.stream(seed=seed)
    steps = [(task, number) for number, step in enumerate(built.steps, 1) for task in step]
    for name, members in (("stream", steps), ("held_out", [(task, None) for task in built.held_out])):
        folder = data / name
        folder.mkdir(parents=True)
        for task, step in members:
            lines = (json.dumps(row) + "\n" for row in rows(task, step))
            (folder / f"{task.name}.jsonl").write_text("".join(lines), encoding="utf-8")
        entries = {
            task.name: [variant(one, True) for one in task.evaluation_instructions] for task, _ in members
        }
        if name == "stream":
            add_training_wordings(entries, arm, [task for task, _ in members], folder, seed)
        (folder / "variants.json").write_text(json.dumps(entries, indent=1), encoding="utf-8")


def add_training_wordings(
    entries: dict[str, list], arm: str, tasks: list[Task], folder: Path, seed: int
) -> None:
    """What the arm may train on besides the seed wording."""
    if arm == "own wordings":
        for task in tasks:
            entries[task.name] += [variant(one, False) for one in task.instructions[1:]]
    if arm == "breadth":
        report = diversify.diversify(
            stream.load_tasks(folder), 20, ("breadth",), seed=seed, evaluation_share=0.0
        )
        for one in report.tasks:
            entries[one.task] += [found.as_entry() for found in one.variants]


def rows(task: Task, step: int | None) -> Iterable[dict]:
    """The examples of a task as JSONL records."""
    shared = {
        "task": task.name,
        "instruction": task.instruction.text,
        "key_parts": [key_part(task.instruction, span) for span in task.instruction.key_parts],
        "constraints": [constraint(one) for one in task.constraints],
        "metric": task.metric,
    } | ({"step": step} if step else {})
    for split, examples in (("train", task.train), ("test", task.test)):
        for example in examples:
            yield shared | {
                "id": example.id,
                "input": example.input,
                "output": list(example.references),
                "split": split,
            }


def variant(instruction: Instruction, evaluation: bool) -> dict:
    """A wording as variants.json has it."""
    parts = [key_part(instruction, span) for span in instruction.key_parts]
    return {"instruction": instruction.text, "key_parts": parts, "evaluation": evaluation}


def key_part(instruction: Instruction, span: KeySpan) -> dict:
    """A key part as keyparts.json has it."""
    text = instruction.text[span.start : span.end]
    return {"text": text, "kind": span.kind, "start": span.start, "end": span.end}


def constraint(one: Constraint) -> dict:
    """A constraint as constraints.json has it."""
    return {"type": one.type, **dict(one.params)} | ({"kind": one.kind} if one.kind else {})


if __name__ == "__main__":
    main()
