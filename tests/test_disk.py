"""What a run keeps of its models, and how much disk it says that it takes."""

import shutil
from collections import namedtuple

import pytest

from kpig.errors import RunError
from kpig.runs import disk, job
from kpig.runs.folder import RunDir
from kpig.tasks import stream
from test_job import small, weights

THREE = {"num_steps": 3, "tasks_per_step": 1, "num_held_out": 0, "num_train": 8, "num_test": 1}
QUICK = {"updates_per_step": 2, "batch_size": 2, "checkpoint_every": 1}


def kept(run):
    return [int(path.parts[-3]) for path in sorted(run.glob("steps/*/*/config.json"))]


def configured(keep, method="replay", **train):
    return small(method, suite=THREE, train=QUICK | {"keep_models": keep} | train)


@pytest.mark.parametrize(
    ("keep", "left"), [("all", [1, 2, 3]), ("last", [3]), (1, [3]), (2, [2, 3]), (7, [1, 2, 3])]
)
def test_as_many_models_stay_as_are_asked_for(keep, left, tmp_path):
    job.run(configured(keep), tmp_path / "run")
    assert kept(tmp_path / "run") == left
    assert all((tmp_path / f"run/steps/0{n}/scores.json").is_file() for n in (1, 2, 3))


def test_what_is_kept_may_change_and_a_resumed_run_drops_the_rest(tmp_path, monkeypatch):
    straight = job.run(configured("all"), tmp_path / "straight")
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(RunDir, "drop_models", stopped)
        with pytest.raises(KeyboardInterrupt):
            job.run(configured("all"), run)
    again = job.run(configured("last"), run, resume=True)
    assert kept(run) == [3] and weights(run, 3) == weights(tmp_path / "straight", 3)
    assert again.matrix == straight.matrix and not any("begun anew" in note for note in again.notes)


def stopped(folder, num_kept):
    raise KeyboardInterrupt


def test_a_step_that_must_be_learned_again_without_the_model_before_it_is_told(tmp_path):
    run = tmp_path / "run"
    job.run(configured("last"), run)
    shutil.rmtree(run / "steps/03")
    (run / "scores.json").unlink()
    with pytest.raises(
        RunError, match=r"(?s)steps/02/model is missing; train\.keep_models.*delete the folder"
    ):
        job.run(configured("last"), run, resume=True)


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_what_a_run_says_that_it_takes_is_what_it_takes(adapter, tmp_path):
    chosen = small("sequential", model={"adapter": adapter}, suite=THREE, train=QUICK)
    job.run(chosen, tmp_path / "run")
    files = list((tmp_path / "run").glob("steps/*/*/*.safetensors"))
    largest = max(path.stat().st_size for path in files)
    each = disk.trained_bytes(chosen.model)
    assert each <= largest <= 1.05 * each + 20_000, "the rest is the file's own head"
    (line,) = disk.sentences(chosen, stream.configured(chosen), tmp_path)
    assert f"3 x {disk.size(each)}" in line and disk.size(3 * each + 6 * each) in line


def test_a_disk_with_too_little_room_is_told_with_what_to_do(tmp_path, monkeypatch):
    usage = namedtuple("Usage", "total used free")(10, 5, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    chosen = configured("all")
    line, warning = disk.sentences(chosen, stream.configured(chosen), tmp_path / "not/there")
    assert "only 5 bytes are free" in warning and "train.keep_models" in warning
    fewer, _ = disk.sentences(configured("last"), stream.configured(chosen), tmp_path)
    assert "3 x" in line and "2 x" in fewer, "one more than is kept, until it is dropped"


@pytest.mark.parametrize(
    ("num", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_345, "12 kB"), (7_400_000_000, "7.4 GB")],
)
def test_sizes_are_told_in_words(num, words):
    assert disk.size(num) == words
