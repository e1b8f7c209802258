"""How many of the constraints that people wrote does `kpig annotate` propose, and how many of its are theirs?

    python benchmarks/proposed_constraints.py FOLDER [FOLDER ...]

Each folder holds tasks and a constraints.json written by hand. All responses of a task count as training
responses, those of test examples too. A proposal and a written constraint count as the same demand where
their verdicts correlate by --correlation or more over the probes: the responses of the task, those of
the others, and all of them damaged. So a regular expression for one sentence may be met by a limit of
sentences. A proposal may also be met by all written constraints of its task together, as JSON with keys is
by "JSON" and "contains these keys".
"""

import argparse
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kpig.annotate import proposals
from kpig.records import Constraint, Example, Task
from kpig.tasks import constraints, stream

LEAST_CORRELATION = 0.7
NUM_PROBES = 60
"""Examples of the task, and as many of other tasks."""


@dataclass
class Tally:
    """Proposals and written constraints of one set, by type."""

    proposed: Counter[str]
    right: Counter[str]
    written: Counter[str]
    found: Counter[str]

    def precision(self) -> float:
        return self.right.total() / max(1, self.proposed.total())

    def recall(self) -> float:
        return self.found.total() / max(1, self.written.total())


def damaged(text: str) -> Iterator[str]:
    """The response, and others that break one demand or another."""
    words = text.split()
    yield from (
        text,
        text.upper(),
        text.lower(),
        text.title(),
        f"{text} {text}",
        f"{text}. {text}.",
        f"{text}\n{text}",
    )
    yield from (
        text[: len(text) // 2],
        " ".join(words[:1]),
        " ".join(words * 4),
        f"The answer is {text}",
        f"{text}?",
    )
    yield from (f"- {text}", f"{text}, {text}", f"{text} 7", f'"{text}"', text.rstrip(".!?;"), "", "xyz")


def verdicts(constraint: Constraint, probes: Sequence[tuple[str, str]]) -> list[bool | None]:
    return [constraints.satisfied(constraint, given, response) for given, response in probes]


def alike(first: Sequence[bool | None], second: Sequence[bool | None], least: float) -> bool:
    """Whether the Matthews correlation of the two is at least `least`."""
    counts = Counter(zip(first, second, strict=True))
    both, one, other, none = (
        counts[pair] for pair in ((True, True), (True, False), (False, True), (False, False))
    )
    scale = math.sqrt((both + one) * (both + other) * (none + one) * (none + other))
    return scale > 0 and (both * none - one * other) / scale >= least


def probes_of(task: Task, others: Sequence[Example]) -> list[tuple[str, str]]:
    draw = random.Random(task.name)
    own = draw.sample(task.train, min(NUM_PROBES, len(task.train)))
    pairs = [(one.input, one.response) for one in own]
    inputs = [one.input for one in own]
    pairs += [
        (draw.choice(inputs), one.response) for one in draw.sample(others, min(NUM_PROBES, len(others)))
    ]
    pairs += [(given, given) for given in inputs]
    return [(given, worse) for given, response in pairs for worse in damaged(response)]


def tally(folder: Path, least: float) -> tuple[Tally, list[str]]:
    """The counts of one folder, and a line for each demand that only one side has."""
    tasks = [replace(one, train=(*one.train, *one.test)) for one in stream.load_tasks(folder)]
    everything = [example for task in tasks for example in task.train]
    result, lines = Tally(Counter(), Counter(), Counter(), Counter()), []
    for task in tasks:
        probes = probes_of(task, everything)
        written = [(one, verdicts(one, probes)) for one in task.constraints]
        together = [all(judged) for judged in zip(*(judged for _, judged in written), strict=True)]
        kept = [constraints.parse(one, task.name) for one in proposals.propose(task).kept]
        proposed = [(one, verdicts(one, probes)) for one in kept]
        for one, judged in proposed:
            result.proposed[one.type] += 1
            theirs = [*(their for _, their in written), *([together] if together else [])]
            hit = any(alike(judged, their, least) for their in theirs)
            result.right[one.type] += hit
            lines += [] if hit else [f"only proposed: {task.name}: {one.type} {dict(one.params)}"]
        for one, judged in written:
            result.written[one.type] += 1
            hit = any(alike(judged, ours, least) for _, ours in proposed)
            result.found[one.type] += hit
            lines += [] if hit else [f"only written: {task.name}: {one.type} {dict(one.params)}"]
    return result, lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--show", action="store_true", help="list what only one side has")
    parser.add_argument("--correlation", type=float, default=LEAST_CORRELATION)
    arguments = parser.parse_args()
    print("| set | proposed | of them written | precision | written | of them proposed | recall |")
    print("|---|---|---|---|---|---|---|")
    details = []
    for folder in arguments.folders:
        result, lines = tally(folder, arguments.correlation)
        print(
            f"| {folder.name} | {result.proposed.total()} | {result.right.total()} "
            f"| {result.precision():.2f} "
            f"| {result.written.total()} | {result.found.total()} | {result.recall():.2f} |"
        )
        details.append((folder.name, result, lines))
    for name, result, lines in details:
        by_type = {one: f"{result.found[one]}/{result.written[one]}" for one in sorted(result.written)}
        print(f"\n{name}: written constraints found, by type: {by_type}")
        if arguments.show:
            print("\n".join(lines))


if __name__ == "__main__":
    main()
