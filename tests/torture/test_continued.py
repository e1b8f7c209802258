"""A continued step that was killed goes on to the bits of a run that had known all steps from the start."""

import random
import shutil
import signal
from pathlib import Path

import pytest

import child
from child import Trouble, killed
from kpig.runs import job
from scale import times
from test_continue import KINDS, assert_same, configured, task_rows, write_rows
from test_trouble import contents

LEARNERS = (
    ("kpig", "none", {"refresh": 2, "num_probes": 2, "num_tasks": 1}),
    ("sequential", "none", {}),
    ("ewc", "none", {"num_examples": 2}),
    ("kpig", "lora", {"num_probes": 2}),
)
"""What learns: a method with memory and gains, none, one with tensors of its own, an adapter."""


class Continued:
    """A finished run of three steps, the same after a fourth that nothing happened to, and four at once."""

    def __init__(self, number: int, folder: Path):
        method, adapter, settings = LEARNERS[number]
        rows = [task_rows(kind, step) for step, kind in enumerate(KINDS[:4], start=1)]
        files = {
            "old": [row for month in rows[:3] for row in month],
            "new": rows[3],
            "whole": [row for month in rows for row in month],
            "held": task_rows("held", None),
        }
        months = {name: write_rows(folder / f"{name}.jsonl", rows) for name, rows in files.items()}
        self.new, self.finished = months["new"], folder / "finished"
        self.grown, self.whole = folder / "grown", folder / "whole"
        job.run(configured(months, "whole", method, adapter, **settings), self.whole)
        job.run(configured(months, "old", method, adapter, **settings), self.finished)
        shutil.copytree(self.finished, self.grown)
        ended = child.run(self.arguments(self.grown), self.grown)
        assert ended.code == 0, ended.said
        self.operations = ended.operations

    def arguments(self, run: Path, *more: str) -> list[str]:
        return ["continue", str(run), "--tasks", str(self.new), *more]


@pytest.fixture(scope="session")
def continued(tmp_path_factory):
    """continued(number): made once for each of LEARNERS."""
    made: dict[int, Continued] = {}

    def make(number: int) -> Continued:
        if number not in made:
            made[number] = Continued(number, tmp_path_factory.mktemp("continued"))
        return made[number]

    return make


@pytest.mark.parametrize("seed", times(2, 100))
def test_killed_in_the_continued_step(seed, continued, tmp_path, tried):
    """Up to three times, each time before a file operation of its choice."""
    chance = random.Random(f"continued {seed}")
    one = continued(seed % len(LEARNERS))
    run, more = tmp_path / "run", []
    shutil.copytree(one.finished, run)
    for _ in range(chance.randint(1, 3)):
        ended = child.run(one.arguments(run, *more), run, Trouble(chance.randint(1, one.operations), killed))
        tried("kills in a continued step", ended.code == -signal.SIGKILL)
        assert ended.code in (-signal.SIGKILL, 0), ended.said
        more = ["--resume"]
    ended = child.run(one.arguments(run, "--resume"), run)
    assert ended.code == 0, ended.said
    assert contents(run) == contents(one.grown)
    assert_same(run, one.whole, 4)
    assert {path.name for path in run.iterdir()} == {path.name for path in one.grown.iterdir()}
    assert not list(run.parent.glob("run.lock"))
