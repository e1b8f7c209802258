"""How long an evaluation takes on this machine, and which answers change: a table of docs/performance.md.

    python benchmarks/evaluation.py [--model DIR] [--held-out DIR] [--tasks 8] [--examples 12] [--rounds 5]

CPU seconds of one process on one thread, of what a run does after a step: answers, those to masked twins, and
gain. The arms take turns; figures are medians over --rounds turns, and ratios medians of those turn by turn.
The last columns count answers, masked ones included, that differ from the first arm's, and the largest
difference of an example's gain.
"""

import argparse
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from kpig.config import EvaluateSection, ModelSection
from kpig.model.learner import Learner
from kpig.model.loading import load
from kpig.records import HELD_OUT, Prediction, Task
from kpig.scoring import answers, probing
from kpig.tasks import stream

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
ARMS: Mapping[str, Mapping[str, object]] = {
    "each prompt by itself, float32": {"row_tokens": 0},
    "beginnings read once, float32": {},
    "beginnings read once, bfloat16": {"precision": "bfloat16"},
    "labels chosen, float32": {"answers": "choose"},
}
PARTS: Mapping[str, Mapping[str, object]] = {
    "answers": {"half_listening": False, "gain": False},
    "and masked twins": {"gain": False},
    "and gain": {},
}
"""What is measured, each with what stands before it."""


def main() -> None:
    """Print a table for each part of an evaluation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "smollm2-135m-instruct")
    parser.add_argument("--stream", type=Path, default=DATA / "superni-stream")
    parser.add_argument("--held-out", type=Path, default=DATA / "superni-heldout")
    parser.add_argument("--tasks", type=int, default=8, help="held-out tasks, evenly chosen")
    parser.add_argument("--examples", type=int, default=12, help="test examples of each")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=["and gain"])
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    learner = load(ModelSection(path=str(given.model)))
    tasks = chosen_tasks(given)
    for part in given.parts:
        found = {name: [] for name in given.arms}
        for _ in range(given.rounds):
            for name in given.arms:
                settings = {"max_new_tokens": given.max_new_tokens, **PARTS[part], **ARMS[name]}
                found[name].append(evaluated(learner, tasks, EvaluateSection(**settings)))
        show(part, tasks, found)


def chosen_tasks(given: argparse.Namespace) -> Sequence[Task]:
    """Some of the held-out tasks."""
    found = stream.load(
        given.stream, train_per_task=1, test_per_task=given.examples, held_out=str(given.held_out)
    ).held_out
    return found[:: max(1, len(found) // given.tasks)][: given.tasks]


def evaluated(
    learner: Learner, tasks: Sequence[Task], settings: EvaluateSection
) -> tuple[float, list[Prediction]]:
    """CPU seconds of an evaluation, and its predictions."""
    probes = probing.probes({HELD_OUT: tasks}, settings)
    start = time.process_time()
    found = answers.score(learner, probes, settings)
    return time.process_time() - start, found


Turns = Mapping[str, Sequence[tuple[float, list[Prediction]]]]


def show(part: str, tasks: Sequence[Task], found: Turns) -> None:
    """Seconds of every arm, their share of the first arm's, and how its answers and gains differ."""
    first = next(iter(found.values()))
    expected = first[0][1]
    print(f"## {part}: {len(tasks)} tasks, {len(expected)} test examples\n")
    print("| | seconds (least to most) | / first | other answers | gain off by |\n|---|---|---|---|---|")
    for name, turns in found.items():
        seconds = [one for one, _ in turns]
        ratio = statistics.median(one / base for one, (base, _) in zip(seconds, first, strict=True))
        print(
            f"| {name} | {statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f}) | "
            f"{ratio:.2f} | {differing(expected, turns[0][1])} | {off(expected, turns[0][1])} |"
        )
    print(flush=True)


def differing(expected: Sequence[Prediction], found: Sequence[Prediction]) -> str:
    """How many answers are not the expected ones, of all."""
    pairs = [
        pair
        for one, other in zip(expected, found, strict=True)
        for pair in ((one.response, other.response), (one.masked_response, other.masked_response))
        if pair[0] is not None
    ]
    return f"{sum(one != other for one, other in pairs)} of {len(pairs)}"


def off(expected: Sequence[Prediction], found: Sequence[Prediction]) -> str:
    """The largest difference of an example's gain."""
    pairs = [(one.gain, other.gain) for one, other in zip(expected, found, strict=True)]
    gaps = [abs(one.prob - other.prob) for one, other in pairs if one and other]
    return f"{max(gaps):.1g}" if gaps else "–"


if __name__ == "__main__":
    main()
