"""Who does the runs of a sweep: GPUs shared out, Slurm, Ray, printed commands; the same bits for all."""

import importlib.util
import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from kpig import sweep
from kpig.errors import UsageError
from kpig.progress import Watcher
from kpig.runs import lock
from kpig.sweep import local, queue, slurm, state
from kpig.sweep.work import Ended
from kpig.training.notice import UNFINISHED
from test_sweep import SMALL, finished, names, processes_on, scores_of, start, write_spec
from test_sweep import wait_for as waited

SLOW = """
import os, time
from kpig.methods.sequential import Sequential

class Slow(Sequential):
    def begin_step(self, step, learner):
        with open(os.environ["SEEN"], "a") as file:
            file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none") + "\\n")
        return super().begin_step(step, learner)

    def replay(self, clock, learner):
        time.sleep(0.2)
        return super().replay(clock, learner)
"""
"""A method whose updates take a while, and which tells the GPUs that it may use."""

NUM_UPDATES = 12
LONG = SMALL | {
    "suite": {"num_steps": 1, "tasks_per_step": 1, "num_held_out": 1, "num_train": 16, "num_test": 1},
    "train": SMALL["train"] | {"updates_per_step": NUM_UPDATES, "checkpoint_every": 0},
}

needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None,
    reason="submitit is not installed: pip install 'kpig[slurm]'",
)
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'kpig[ray]'"
)


LONGEST = 250.0
"""Seconds that a sweep may take to come to where a test wants it."""


def wait_for(condition, seconds: float = LONGEST) -> None:
    waited(condition, seconds)


def updates(run: Path) -> list[tuple[int, int]]:
    """The updates that were done, in order, those that were done twice too."""
    path = run / "events.jsonl"
    events = map(json.loads, path.read_text().splitlines() if path.exists() else [])
    return [(one["step"], one["update"]) for one in events if "update" in one]


def weights(run: Path) -> bytes:
    return (run / "steps/02/model/model.safetensors").read_bytes()


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A folder with a spec of two slow runs, and the file in which they tell their GPUs."""
    (tmp_path / "mine.py").write_text(SLOW)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    write_spec(tmp_path, methods=["mine:Slow"], seeds=[0, 1], base=LONG)
    return tmp_path


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of a sweep of two runs that this machine did, one after the other."""
    folder = tmp_path_factory.mktemp("straight")
    write_spec(folder)
    finished(start(folder))
    return folder / "out"


def assert_same_bits(out: Path, straight: Path) -> None:
    runs = sorted(path.parent.name for path in straight.glob("*/scores.json"))
    assert runs == sorted(path.parent.name for path in out.glob("*/scores.json")) and len(runs) == 2
    for run in runs:
        assert scores_of(out / run) == scores_of(straight / run)
        assert weights(out / run) == weights(straight / run)
        assert updates(out / run) == updates(straight / run)
    assert not [*out.glob("*.failed"), *out.glob("*.lock")]


# GPUs.


class Process:
    """One that is at work until it is told that it has ended."""

    def __init__(self, environment):
        self.environment, self.code = environment, None

    def poll(self):
        return self.code


@pytest.mark.parametrize("seed", range(6))
def test_at_any_moment_no_gpu_has_two_runs_more_than_another_and_its_own_where_there_are_enough(
    seed, monkeypatch, tmp_path
):
    monkeypatch.setattr(local, "begin", lambda folder, text, environment: Process(environment))
    run = sweep.load(write_spec(tmp_path)).runs[0]
    chance = random.Random(f"gpus {seed}")
    gpus = tuple(map(str, chance.sample(range(16), chance.randint(1, 5))))
    workers = chance.randint(1, 9)
    starter, at_work = local.Local(workers, gpus), []
    for _ in range(60):
        while len(at_work) < workers:
            at_work.append(starter.start(run, tmp_path))
        counts = Counter(one.process.environment["CUDA_VISIBLE_DEVICES"] for one in at_work)
        assert set(counts) <= set(gpus) and max(counts.values()) <= -(-workers // len(gpus))
        for one in chance.sample(at_work, chance.randint(1, workers)):
            one.process.code = 0
            at_work.remove(one)
        assert {one.gpu for one in at_work} <= set(gpus)


def test_without_names_of_gpus_a_run_sees_what_the_sweep_sees(monkeypatch, tmp_path):
    monkeypatch.setattr(local, "begin", lambda folder, text, environment: Process(environment))
    started = local.Local(2).start(sweep.load(write_spec(tmp_path)).runs[0], tmp_path)
    assert set(started.process.environment) == {"OMP_NUM_THREADS"}


def test_runs_side_by_side_get_a_gpu_each_and_workers_are_as_many_as_gpus(slow):
    _, errors = finished(start(slow, "--gpus", "5, 2"))
    assert sorted((slow / "seen").read_text().split()) == ["2", "5"]
    assert "share" not in errors and "idle" not in errors


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (3, "3 runs at a time share 2 GPUs and their memory: 2 on 0, 1 on 7"),
        (1, "1 runs at a time leave GPUs idle: 7"),
    ],
)
def test_how_workers_share_gpus_is_told(workers, words, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    write_spec(tmp_path, methods=["init"])
    _, errors = finished(start(tmp_path, "--gpus", "0,7", "--workers", workers))
    assert words in " ".join(errors.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no GPU"),
        ("0,,1", "is no GPU"),
        ("-1", "is no GPU"),
        ("0,1,0", "0 is named twice"),
        ("gpu0", "'gpu0' is no GPU"),
        ("0;1", "is no GPU"),
        ("3", "CUDA_VISIBLE_DEVICES=0,1 hides 3"),
    ],
)
def test_what_is_no_gpu_or_not_for_this_process_is_misuse(text, words, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UsageError) as caught:
        sweep.visible_gpus(text)
    assert words in str(caught.value)


def test_gpus_are_named_by_number_or_name(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    named = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,MIG-1c9a4f2b"
    assert sweep.visible_gpus(named) == tuple(named.split(","))
    assert sweep.visible_gpus("3, 0") == ("3", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match="hides 0"):
        sweep.visible_gpus("0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gpus", "0", "--launcher", "slurm"), "hands out its own"),
        (("--ask", "gpus_per_node=1"), "--ask is for --launcher slurm or ray"),
        (("--launcher", "slurm", "--ask", "gpus"), "expected KEY=VALUE"),
        (("--print-commands", "--workers", "2"), "leave out --launcher, --workers"),
        (("--print-commands", "--launcher", "ray"), "leave out --launcher, --workers"),
        (("--run", "kpig-seed0-ordergivn"), "did you mean 'kpig-seed0-ordergiven'?"),
        (("--gpus", "a"), "is no GPU"),
    ],
)
def test_options_that_say_nothing_beside_each_other_are_misuse_and_make_no_folder(options, words, tmp_path):
    write_spec(tmp_path)
    _, errors = finished(start(tmp_path, *options), code=2)
    assert words in " ".join(errors.split()) and not (tmp_path / "out").exists()


# The queue, whoever starts the runs.


class Fate:
    """A launcher whose jobs end as they are told, and who counts how many it has at a time."""

    def __init__(self, out: Path, endings: dict[str, list[Ended]]):
        self.out, self.endings = out, endings
        self.started: list[str] = []

    def start(self, run, folder):
        assert folder == self.out / run.name
        self.started.append(run.name)
        ending = self.endings[run.name].pop(0)
        if ending.code == 0:
            folder.mkdir(exist_ok=True)
            (folder / "scores.json").write_text("")
        return Settled(ending)


class Settled:
    def __init__(self, ending):
        self.ending = ending

    def ended(self):
        return self.ending

    def give_notice(self): ...

    def kill(self): ...


def test_a_run_that_had_notice_is_started_again_and_one_that_fails_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "POLL_SECONDS", 0.001)
    runs = sweep.load(write_spec(tmp_path, methods=["kpig", "replay", "init"])).runs
    kpig, replay, init = names(runs)
    noticed = [Ended(UNFINISHED), Ended(-signal.SIGTERM), Ended(UNFINISHED), Ended(0)]
    starter = Fate(tmp_path, {kpig: noticed, replay: [Ended(1, "job 7: NODE_FAIL")], init: [Ended(-9)]})
    states = sweep.work(runs, tmp_path, 2, Watcher(), starter)
    assert Counter(starter.started) == {kpig: 4, replay: 1, init: 1}
    assert [one.error for one in states[1:]] == ["job 7: NODE_FAIL", "killed by SIGKILL; is memory short?"]
    assert not state.failure_path(tmp_path / kpig).exists()


def test_a_sweep_that_is_given_notice_hands_it_on_and_goes_on_without_doing_an_update_twice(slow):
    process, run = start(slow), slow / "out/mine-Slow-seed0-ordergiven"
    wait_for(lambda: len(updates(run)) >= 2)
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
        os.kill(process.pid, number)
    _, errors = finished(process, code=UNFINISHED)
    assert "continue with the same command" in errors
    done = updates(run)
    assert 2 <= len(done) < NUM_UPDATES and processes_on(slow / "out") == []
    assert json.loads((run / "steps/01/checkpoint/state.json").read_text())["update"] == len(done)
    assert not [*(slow / "out").glob("*.failed"), *(slow / "out").glob("*.lock")]
    finished(start(slow))
    every = [(1, update) for update in range(1, NUM_UPDATES + 1)]
    assert updates(run) == every == updates(slow / "out/mine-Slow-seed1-ordergiven")


def test_a_run_that_is_given_notice_alone_goes_on_in_the_same_sweep(slow):
    process, run = start(slow), slow / "out/mine-Slow-seed0-ordergiven"
    wait_for(lambda: len(updates(run)) >= 2)
    os.kill(json.loads(lock.path_of(run).read_text())["pid"], signal.SIGUSR1)
    listed, errors = finished(process)
    assert "2 done" in listed and "another sweep" not in errors
    assert (
        len(updates(run)) == NUM_UPDATES
        and run.with_name(run.name + ".log").read_text().count("asked to end") == 1
    )


# Commands for others.


def printed(folder: Path, *more: object) -> list[str]:
    lines, _ = finished(start(folder, "--print-commands", *more))
    return lines.splitlines()


def test_a_printed_command_does_its_run_from_any_folder_to_the_same_bits(straight, tmp_path):
    folder = tmp_path / "it's $HOME (a) & b"
    folder.mkdir()
    write_spec(folder)
    commands = printed(folder)
    assert len(commands) == 2 and [path.name for path in (folder / "out").iterdir()] == ["sweep.toml"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for left, line in zip((1, 0), commands, strict=True):
        done = subprocess.run(line, shell=True, cwd=elsewhere, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(printed(folder)) == left
    assert_same_bits(folder / "out", straight)
    assert list(elsewhere.iterdir()) == []


def test_printed_commands_are_those_of_a_part_or_of_the_runs_that_are_named(tmp_path):
    write_spec(tmp_path, methods=["kpig", "replay", "init"], seeds=[0, 1])
    every = [shlex.split(line)[-1] for line in printed(tmp_path)]
    assert every == names(sweep.load(tmp_path / "spec.toml").runs)
    parts = [shlex.split(line)[-1] for n in (1, 2) for line in printed(tmp_path, "--shard", f"{n}/2")]
    assert sorted(parts) == sorted(every)
    named = printed(tmp_path, "--run", every[4], "--run", every[1])
    assert [shlex.split(line)[-1] for line in named] == [every[1], every[4]]


def test_a_path_that_is_no_line_is_refused_before_it_is_printed(tmp_path):
    folder = tmp_path / "two\nlines"
    folder.mkdir()
    write_spec(folder)
    _, errors = finished(start(folder, "--print-commands"), code=2)
    assert "control characters" in errors and not (folder / "out").exists()


def test_two_printed_commands_of_one_run_do_it_once(tmp_path):
    write_spec(tmp_path, methods=["sequential"])
    (line,) = printed(tmp_path)
    both = [subprocess.Popen(line, shell=True, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(200) for one in both] == [0, 0]
    assert len(updates(tmp_path / "out/sequential-seed0-ordergiven")) == 8


# Slurm and Ray.


def tasks_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes in which submitit does what was submitted."""
    found = process.children(recursive=True)
    return [one for one in found if "submitit.core._submit" in one.cmdline()]


@needs_submitit
def test_jobs_of_submitit_do_the_same_runs_to_the_same_bits(straight, tmp_path):
    write_spec(tmp_path)
    listed, _ = finished(start(tmp_path, "--launcher", "slurm", "--ask", "cluster=local"))
    assert "2 done" in listed
    assert_same_bits(tmp_path / "out", straight)


@needs_submitit
def test_a_job_whose_time_is_over_goes_back_into_the_queue_and_goes_on(slow):
    process = start(slow, "--launcher", "slurm", "--ask", "cluster=local", "--workers", 1)
    run = slow / "out/mine-Slow-seed0-ordergiven"
    wait_for(lambda: len(updates(run)) >= 2)
    (task,) = tasks_of(psutil.Process(process.pid))
    task.send_signal(signal.SIGUSR2)
    listed, _ = finished(process)
    assert "2 done" in listed and len(updates(run)) == NUM_UPDATES
    assert run.with_name(run.name + ".log").read_text().count("asked to end") == 1
    assert len(list((slow / "out/slurm").glob("*_submitted.pkl"))) == 2, "it was not submitted once more"


@needs_submitit
def test_a_launcher_that_is_stopped_or_killed_goes_on_with_what_is_not_finished(slow):
    options = ("--launcher", "slurm", "--ask", "cluster=local", "--workers", 1)
    first, second = (slow / f"out/mine-Slow-seed{seed}-ordergiven" for seed in (0, 1))
    process = start(slow, *options)
    wait_for(lambda: len(updates(second)) >= 2)
    before = (first / "scores.json").stat().st_mtime_ns
    os.kill(process.pid, signal.SIGKILL)
    process.ended()
    listed, _ = finished(start(slow, *options))
    assert "2 done" in listed and before == (first / "scores.json").stat().st_mtime_ns
    assert len(updates(first)) == NUM_UPDATES == len(updates(second))


@needs_submitit
def test_a_launcher_that_is_stopped_leaves_no_job_behind(slow):
    process = start(slow, "--launcher", "slurm", "--ask", "cluster=local")
    wait_for(lambda: any((slow / "out").glob("*/events.jsonl")))
    os.kill(process.pid, signal.SIGINT)
    done = process.ended()  # submitit's local jobs say in their own way that they were interrupted
    assert done.returncode == 130 and "continue with the same command" in done.stderr
    wait_for(lambda: processes_on(slow / "out") == [], 30)
    assert not list((slow / "out").glob("*.failed"))


@needs_submitit
def test_what_submitit_does_not_know_or_has_not_is_misuse(tmp_path, monkeypatch):
    for asked, words in (
        ({"cluster": "local", "gpus": 1}, "gpus"),
        ({"cluster": "nowhere"}, "nowhere"),
        ({"cluster": "local", "gpus_per_node": "many"}, "gpus_per_node"),
    ):
        with pytest.raises(UsageError, match=words):
            slurm.Slurm(tmp_path, asked)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="srun"):
        slurm.Slurm(tmp_path, {})


class Lost:
    """A job of Slurm that left no result."""

    job_id = "31"

    def __init__(self, state):
        self.state = state

    def done(self):
        return True

    def result(self):
        raise RuntimeError(
            f"Job 31 (task: 0) with path /o/31.pkl\nhas not produced any output (state: {self.state})"
        )


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "REQUEUED", "BOOT_FAIL"])
def test_a_job_whose_machine_was_lost_is_unfinished_and_not_failed(state):
    assert slurm.SlurmJob(Lost(state)).ended() == Ended(UNFINISHED)


@pytest.mark.parametrize("state", ["OUT_OF_MEMORY", "TIMEOUT", "CANCELLED by 1000", "FAILED", "UNKNOWN"])
def test_a_job_that_ended_otherwise_without_a_result_has_failed_with_slurms_word_for_it(state):
    ended = slurm.SlurmJob(Lost(state)).ended()
    assert ended.code == 1 and ended.trouble.startswith("job 31: ") and f"(state: {state})" in ended.trouble


@needs_submitit
def test_what_a_job_failed_of_is_told_in_a_line(tmp_path):
    def failing():
        raise ZeroDivisionError("no such luck")

    job = slurm.Slurm(tmp_path, {"cluster": "local"}).executor.submit(failing)
    failed = slurm.SlurmJob(job)
    wait_for(lambda: failed.ended() is not None, 60)
    assert failed.ended().trouble == f"job {job.job_id}: ZeroDivisionError: no such luck"


@pytest.mark.parametrize(("name", "extra"), [("slurm", "slurm"), ("ray", "ray")])
def test_a_launcher_whose_package_is_missing_names_its_extra(name, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, {"slurm": "submitit", "ray": "ray"}[name], None)
    with pytest.raises(UsageError, match=rf"pip install 'kpig\[{extra}\]'"):
        sweep.launcher(name, tmp_path, 1, (), {})
    assert set(sweep.LAUNCHERS) == {one.value for one in launcher_names()}


def launcher_names():
    from kpig.cli.sweep import Launcher

    return Launcher


@needs_ray
@pytest.mark.parametrize("asked", [{"gpus": 1}, {"num_gpus": "many"}, {"num_cpus": -1}])
def test_what_ray_does_not_know_is_misuse_and_starts_none(asked):
    with pytest.raises(UsageError, match=next(iter(asked))):
        sweep.launcher("ray", Path(), 1, (), asked)
    assert not sys.modules["ray"].is_initialized()


@needs_ray
def test_tasks_of_ray_do_the_same_runs_to_the_same_bits(straight, tmp_path):
    write_spec(tmp_path)
    listed, _ = finished(start(tmp_path, "--launcher", "ray"))
    assert "2 done" in listed
    assert_same_bits(tmp_path / "out", straight)


@needs_ray
def test_a_sweep_on_ray_that_is_given_notice_goes_on_without_doing_an_update_twice(slow):
    run = slow / "out/mine-Slow-seed0-ordergiven"
    process = start(slow, "--launcher", "ray", "--workers", 1)
    wait_for(lambda: len(updates(run)) >= 2)
    os.kill(process.pid, signal.SIGTERM)
    finished(process, code=UNFINISHED)
    assert processes_on(slow / "out") == []
    assert 2 <= len(updates(run)) < NUM_UPDATES
    finished(start(slow, "--launcher", "ray"))
    assert len(updates(run)) == NUM_UPDATES
