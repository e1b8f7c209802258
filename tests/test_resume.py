"""A run has one process at a time, and goes on after a stop, a kill or damage, or says which file and why."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kpig import config
from kpig.errors import RunError
from kpig.progress import Watcher
from kpig.runs import job, lock
from test_job import kill_after, read_scores, small, start, weights, without_seconds


def left_by_a_dead_process(path: Path) -> None:
    """A lock whose process was killed."""
    code = f"from kpig.runs import lock; from pathlib import Path; lock.claim(Path({str(path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.exists()


def test_a_lock_that_was_left_beside_a_finished_run_goes(tmp_path):
    """The last thing that a run does is to give it back: a kill may come before that."""
    config_of_it = small("init")
    scores = job.run(config_of_it, tmp_path / "run")
    left_by_a_dead_process(lock.path_of(tmp_path / "run"))
    assert job.run(config_of_it, tmp_path / "run", resume=True) == scores
    assert not lock.path_of(tmp_path / "run").exists()


def test_the_lock_of_a_process_that_lives_stays_beside_a_finished_run(tmp_path):
    (tmp_path / "run").mkdir()
    with lock.held(tmp_path / "run"):
        lock.drop_left(tmp_path / "run")
        assert lock.path_of(tmp_path / "run").exists()


def test_a_run_that_another_process_does_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "my.toml").write_text(config.dump(small("init")))
    with lock.held(tmp_path / "run"):
        for more in ([], ["--resume"]):
            found = start(tmp_path, tmp_path / "run", *more).ended()
            assert found.returncode == lock.BUSY
            assert f"process {os.getpid()} on" in found.stderr and "--out another folder" in found.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"my.toml", "run.lock"}
    assert not (tmp_path / "run.lock").exists()


def test_of_two_that_begin_at_once_the_later_one_is_refused(tmp_path, monkeypatch):
    """It looked when the folder was free, and finds it taken when it is about to write."""
    monkeypatch.setattr(lock, "check_idle", lambda folder: None)
    with lock.held(tmp_path / "run"), pytest.raises(lock.BusyError, match="is doing this run"):
        job.run(small("init"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_names_of_one_folder_have_one_lock(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path / "run")
    paths = {lock.path_of(Path(one)) for one in (".", "../run", "../link", str(tmp_path / "run"))}
    assert paths == {tmp_path / "run.lock"}


def test_where_the_folder_around_cannot_be_written_the_lock_is_inside(tmp_path, monkeypatch):
    monkeypatch.setattr(lock.os, "access", lambda path, mode: Path(path) != tmp_path)
    for name in ("run", "again"):
        (tmp_path / name).mkdir()
    straight = job.run(small("init"), tmp_path / "run")
    assert straight.method == "init" and not list(tmp_path.rglob("*.lock"))
    left_by_a_dead_process(lock.path_of(tmp_path / "again"))
    job.run(small("init"), tmp_path / "again")


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path):
    left_by_a_dead_process(tmp_path / "run.lock")
    job.run(small("init"), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Thief(Watcher):
    """Another process that takes the lock over at the third update."""

    def __init__(self, path: Path):
        self.path, self.updates = path, 0

    def advance(self, count: int = 1, note: str = "") -> None:
        self.updates += note.startswith("loss")
        if self.updates == 3 and "thief" not in self.path.read_text():
            self.path.write_text(json.dumps({"token": "thief"}))
            time.sleep(0.3)


def test_a_run_whose_lock_was_taken_over_writes_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    with pytest.raises(lock.BusyError, match="took the run over"):
        job.run(small(), tmp_path / "run", watch=Thief(tmp_path / "run.lock"))
    assert (tmp_path / "run/events.jsonl").read_text().count("\n") == 3
    assert "thief" in (tmp_path / "run.lock").read_text()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)]
)
def test_a_run_that_is_asked_to_stop_gives_its_lock_back_and_goes_on_to_the_same_bits(number, code, tmp_path):
    (tmp_path / "my.toml").write_text(config.dump(small()))
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert start(tmp_path, straight).ended().returncode == 0
    process = start(tmp_path, stopped)
    assert kill_after(process, stopped / "events.jsonl", 3, number=number) == code
    assert not (tmp_path / "stopped.lock").exists()
    assert start(tmp_path, stopped, "--resume").ended().returncode == 0
    assert weights(stopped, 2) == weights(straight, 2) and read_scores(stopped) == read_scores(straight)


def until(path: Path, update: int, chosen: config.RunConfig) -> None:
    """A run that ends as by a kill when step 1 is done, or at an update of step 2."""

    class Killer(Watcher):
        count = 0

        def advance(self, count: int = 1, note: str = "") -> None:
            self.count += note.startswith("loss")
            if self.count == 5 + update:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(chosen, path, watch=Killer())


class Listener(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A run that goes on straight, and one that was killed at the fifth update of step 2."""
    folder = tmp_path_factory.mktemp("cut")
    straight = job.run(small(), folder / "straight")
    until(folder / "cut", 5, small())
    return straight, folder / "cut"


@pytest.mark.parametrize("file", ["weights.safetensors", "state.json", "method.safetensors"])
def test_a_damaged_new_checkpoint_falls_back_on_the_whole_one(file, cut, tmp_path):
    straight, run = cut[0], Path(shutil.copytree(cut[1], tmp_path / "run"))
    step = run / "steps/02"
    shutil.copytree(step / "checkpoint", step / "checkpoint.new")
    (step / "checkpoint.new" / file).write_bytes((step / "checkpoint" / file).read_bytes()[:5])
    shutil.copytree(step / "checkpoint", run / "steps/01/checkpoint.old")
    listener = Listener()
    assert without_seconds(job.run(small(), run, resume=True, watch=listener)) == without_seconds(straight)
    assert [line for line in listener.lines if "damaged" in line and "checkpoint, which is whole" in line]
    assert not list(run.glob("steps/*/checkpoint*"))


def with_layers(path: Path, count: int) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": count}))


def with_width(path: Path, width: int) -> None:
    table = json.loads(path.read_text()) | {"hidden_size": width, "intermediate_size": 4 * width}
    path.write_text(json.dumps(table))


def without_key(path: Path, key: str) -> None:
    kept = json.loads(path.read_text())
    kept["method"].pop(key)
    path.write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("file", "damage", "word"),
    [
        ("state/state.json", lambda path: path.write_bytes(path.read_bytes()[:20]), "state.json"),
        ("state/state.json", lambda path: path.write_text("[1]"), "state"),
        ("state/state.json", lambda path: path.write_text("{}"), "method"),
        ("state/state.json", lambda path: without_key(path, "memory"), "memory"),
        ("state/state.json", lambda path: path.write_bytes(b"\xff\xfe"), "state.json"),
        ("state/method.safetensors", lambda path: path.write_bytes(b"bad"), "method.safetensors"),
        ("state/method.safetensors", Path.unlink, "method.safetensors"),
        ("scores.json", Path.unlink, "scores.json"),
        ("scores.json", lambda path: path.write_text("{}"), "scores.json"),
        ("model/model.safetensors", lambda path: path.write_bytes(b"bad"), "model"),
        ("model/config.json", Path.unlink, "config.json"),
        ("model/config.json", lambda path: path.write_text("{}"), "config.json"),
        ("model/config.json", lambda path: with_layers(path, 90), "config.json asks for 90 layers"),
        ("model/config.json", lambda path: with_width(path, 2**14), "config.json describes a model of"),
    ],
)
def test_a_damaged_step_is_named_and_learned_again_when_it_is_deleted(file, damage, word, cut, tmp_path):
    run = Path(shutil.copytree(cut[1], tmp_path / "run"))
    damage(run / "steps/01" / file)
    with pytest.raises(RunError, match=r"(?s)steps/01 cannot be gone on from.*delete the folder") as raised:
        job.run(small(), run, resume=True)
    assert word in str(raised.value)


def test_a_deleted_step_is_learned_again_to_the_same_numbers(cut, tmp_path):
    run = Path(shutil.copytree(cut[1], tmp_path / "run"))
    shutil.rmtree(run / "steps/01")
    assert without_seconds(job.run(small(), run, resume=True)) == without_seconds(cut[0])
