"""A run told to trackers: each point once, from the run's own record; nothing of the run depends on it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from accelerate import tracking as of_accelerate
from typer.testing import CliRunner

from kpig import config
from kpig.cli.app import Tracker
from kpig.config.sections import TrackerName
from kpig.errors import ConfigError, RunError
from kpig.progress import Watcher
from kpig.runs import evaluation, further, job, points, trackers, tracking
from kpig.runs.folder import RunDir
from test_continue import assert_same, configured, contents, scored, updates, write_months
from test_job import without_seconds
from told import NAMES, state, told

ROOT = Path(__file__).parents[1]
INSTALLED = [name for name in NAMES if find_spec(name)]
"""wandb and mlflow are no part of the test extra; where they are installed they are held to the same."""


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory):
    """Places for what trackers keep outside of a run; trackio reads its own once, when it is imported."""
    before = dict(os.environ)
    os.environ |= {
        "TRACKIO_DIR": str(tmp_path_factory.mktemp("trackio")),
        "WANDB_CACHE_DIR": str(tmp_path_factory.mktemp("wandb")),
        "OMP_NUM_THREADS": "1",
    }
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def own_service(monkeypatch):
    """Processes that a test starts have a service of wandb's of their own, as those of a user have."""
    monkeypatch.delenv("WANDB_SERVICE", raising=False)


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    return write_months(tmp_path_factory.mktemp("months"))


@pytest.fixture(scope="module")
def plain(months, tmp_path_factory):
    """A run that no tracker is told of, its scores without seconds."""
    run = tmp_path_factory.mktemp("plain") / "run"
    return run, without_seconds(job.run(configured(months, "old"), run))


class Ears(Watcher):
    """Keeps what a run says."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    @property
    def warnings(self):
        return [line for line in self.lines if line.startswith("warning: tracker")]


def expected(run):
    """What trackers should hold, by a loop over the files of a finished run."""
    found, done = {}, 0
    for event in [None, *RunDir(run).updates()]:
        if event is not None:
            done += 1
            for name, value in event.items():
                inner = value.items() if isinstance(value, dict) else [("", value)]
                for task, one in inner if name != "t" else ():
                    found.setdefault(f"train/{name}/{task}".rstrip("/"), []).append((done, one))
        number = 0 if event is None else event["step"]
        path = run / f"steps/{number:02d}/scores.json"
        last = event is None or (number, event["update"] + 1) not in {
            (one["step"], one["update"]) for one in RunDir(run).updates()
        }
        for name, value in flat(json.loads(path.read_text())) if last else ():
            found.setdefault(name, []).append((done, value))
    return found


def flat(value):
    """The numbers of a step's scores.json under the names that trackers get."""
    for key, one in value.items():
        if key == "tasks":
            yield from ((f"task/{name}", score) for name, score in inner(one))
        elif isinstance(one, dict):
            yield from ((f"{key}/{name}", score) for name, score in inner(one))


def inner(value):
    for key, one in value.items():
        if isinstance(one, dict):
            yield from ((f"{key}/{name}", score) for name, score in inner(one))
        elif type(one) in (int, float):
            yield key, one


def assert_told(name, run):
    """Every figure of the run once, in order, to the 32 bits of TensorBoard."""
    found, wanted = told(name, run), expected(run)
    assert set(found) == set(wanted)
    for tag, points_wanted in wanted.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in points_wanted], tag
        assert [value for _, value in found[tag]] == pytest.approx([v for _, v in points_wanted], rel=1e-6), (
            tag
        )


def test_every_figure_is_told_once_and_the_run_is_the_same_to_the_bit(months, plain, tmp_path):
    ears, run, (untold, its_scores) = Ears(), tmp_path / "told", plain
    chance = random.getstate()
    tracked = job.run(configured(months, "old"), run, watch=ears, track=INSTALLED)
    assert random.getstate() == chance
    assert without_seconds(tracked) == its_scores
    assert updates(run) == updates(untold)
    assert_same(run, untold, 3)
    assert [scored(run, step) for step in range(4)] == [scored(untold, step) for step in range(4)]
    assert not ears.warnings and not (untold / "trackers").exists()
    for name in INSTALLED:
        assert_told(name, run)
        found = told(name, run)
        assert len(found["train/loss"]) == 9 and len(found["held_out/p_score"]) == 4
        assert {"train/learning_rate", "train/cross_entropy", "train/divergence"} <= set(found)
        assert {"train/gain/first", "task/first/p_score", "seen/v_score", "cost/train_tokens"} <= set(found)


def test_a_run_that_goes_on_stays_in_its_trackers_and_they_are_told_what_changed(months, tmp_path):
    run = tmp_path / "run"
    job.run(configured(months, "old"), run, track=INSTALLED)
    first = {name: state(name, run) for name in INSTALLED}
    job.extend(run, str(months["new"]), ["train.learning_rate=1e-4"])
    for name in INSTALLED:
        assert_told(name, run)
        later = state(name, run)
        assert (later["run"], later["sent"]) == (first[name]["run"], 13)
        assert later["config"]["train.learning_rate"] == 2e-4
        assert later["config"]["from_step_4.train.learning_rate"] == 1e-4
        assert later["config"]["stream.path"] == str(months["old"])


def ended_by(number, command, run, count):
    """The command in a new process, which gets a signal once so many updates are logged."""
    events = run / "events.jsonl"
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True) as process:
        while not events.exists() or events.read_text().count("\n") < count:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, *said)


def test_killed_and_resumed_every_point_is_told_once(months, tmp_path):
    """Without --track the second time. After SIGKILL a point may lack where nothing can be taken back."""
    (tmp_path / "my.toml").write_text(config.dump(configured(months, "old")))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "kpig", "run", str(tmp_path / "my.toml"), "--out", str(run)]
    asked = [part for name in INSTALLED for part in ("--track", name)]
    for count, more in ((2, asked), (5, ["--resume"])):
        ended_by(signal.SIGKILL, [*command, *more], run, count)
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    wanted = {tag: [step for step, _ in values] for tag, values in expected(run).items()}
    for name in INSTALLED:
        found = {tag: [step for step, _ in values] for tag, values in told(name, run).items()}
        assert all(steps == sorted(set(steps)) for steps in found.values())
        lacking = {step for tag, steps in wanted.items() for step in set(steps) - set(found.get(tag, ()))}
        assert len(lacking) <= (2 if name == "mlflow" else 0), (name, lacking)
        assert state(name, run)["sent"] == 10


def test_stopped_by_a_signal_nothing_is_lacking_in_the_end(months, tmp_path):
    (tmp_path / "my.toml").write_text(config.dump(configured(months, "old")))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "kpig", "run", str(tmp_path / "my.toml"), "--out", str(run)]
    command += ["--track", "tensorboard", "--track", "trackio"]
    process = ended_by(signal.SIGTERM, command, run, 4)
    assert process.returncode == 75 and "--track trackio --resume" in process.stderr
    assert "rackio" not in process.stdout
    assert state("tensorboard", run)["is_sure"]
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert "rackio" not in done.stdout
    for name in ("tensorboard", "trackio"):
        assert_told(name, run)


class Broken:
    """Makes the calls of a method of Accelerate's fail whose numbers, from 0, are among `calls`."""

    def __init__(self, monkeypatch, method, calls, error=OSError(28, "No space left on device")):
        self.count, true = 0, getattr(of_accelerate.TensorBoardTracker, method)

        def failing(tracker, *arguments, **options):
            self.count += 1
            if self.count - 1 in calls:
                raise error
            return true(tracker, *arguments, **options)

        monkeypatch.setattr(of_accelerate.TensorBoardTracker, method, failing)


@pytest.mark.parametrize(
    ("method", "calls", "failures"),
    [
        ("log", {4}, 1),
        ("log", {0, 1, 5}, 3),
        ("start", {0}, 1),
        ("start", {0, 1, 2}, 3),
        ("store_init_configuration", {0}, 1),
    ],
)
def test_a_tracker_that_fails_for_a_while_is_told_everything_later(
    method,
    calls,
    failures,
    months,
    plain,
    tmp_path,
    monkeypatch,
):
    ears = Ears()
    Broken(monkeypatch, method, calls)
    tracked = job.run(configured(months, "old"), tmp_path / "told", watch=ears, track=["tensorboard"])
    assert without_seconds(tracked) == plain[1]
    assert_told("tensorboard", tmp_path / "told")
    assert state("tensorboard", tmp_path / "told")["failures"] == failures
    begun, ended = ears.warnings
    assert "No space left on device" in begun and "the run goes on" in begun
    assert f"failed {failures} times; it lacks 0 of 10 points" in ended


@pytest.mark.parametrize("method", ["start", "log", "finish"])
def test_a_tracker_that_always_fails_changes_nothing_is_told_twice_and_filled_by_resume(
    method,
    months,
    plain,
    tmp_path,
    monkeypatch,
):
    ears, run = Ears(), tmp_path / "run"
    with monkeypatch.context() as patched:
        Broken(patched, method, range(1000), RuntimeError("the server\nis gone."))
        tracked = job.run(configured(months, "old"), run, watch=ears, track=["tensorboard", "trackio"])
    assert without_seconds(tracked) == plain[1]
    assert_same(run, plain[0], 3)
    assert len(ears.warnings) == 2 and "RuntimeError: the server)" in ears.warnings[0]
    assert 1 <= state("tensorboard", run)["failures"] <= 8
    assert_told("trackio", run)
    ears = Ears()
    assert job.run(configured(months, "old"), run, resume=True, watch=ears) == tracked
    assert ears.lines == [f"{run}: already finished"]
    assert_told("tensorboard", run)
    assert_told("trackio", run)


def test_a_tracker_that_is_named_later_is_told_the_whole_run(months, tmp_path):
    run = tmp_path / "run"
    job.run(configured(months, "old"), run)
    scores_before = (run / "scores.json").read_bytes()
    job.extend(run, str(months["new"]), track=["trackio"])
    assert_told("trackio", run)
    assert job.run(config.load(run / "config.toml"), run, resume=True, track=["tensorboard"])
    assert_told("tensorboard", run)
    assert scores_before == (run / "starts/scores.01.json").read_bytes()


def test_a_step_that_is_begun_anew_has_points_of_its_own(months, tmp_path, monkeypatch):
    run, settings = tmp_path / "run", configured(months, "old")
    true = evaluation.after_step

    def stopped(folder, number, *arguments):
        if number == 2:
            raise KeyboardInterrupt
        true(folder, number, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "after_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            job.run(settings, run, track=["tensorboard"])
    train = settings.train.model_copy(update={"learning_rate": 1e-5})
    job.run(settings.model_copy(update={"train": train}), run, resume=True)
    found = told("tensorboard", run)
    assert [step for step, _ in found["train/loss"]] == list(range(1, 13))
    assert [value for _, value in found["train/step"]] == [1] * 3 + [2] * 6 + [3] * 3
    assert [step for step, _ in found["seen/p_score"]] == [3, 9, 12]
    assert state("tensorboard", run)["config"]["from_step_2.train.learning_rate"] == 1e-5


def test_whether_a_run_is_tracked_is_no_difference_between_configs(months, tmp_path):
    plain = configured(months, "old")
    tracked = tracking.asked(plain, ["tensorboard", "wandb"])
    assert tracked.run.track == ("tensorboard", "wandb") and plain.run.track == ()
    assert config.differing_keys(plain, tracked) == []
    assert "run.track" not in config.settings_of(tracked)
    assert config.load_resolved(written(tmp_path / "my.toml", tracked)) == tracked
    run = job.run(tracking.asked(plain, ["tensorboard"]), tmp_path / "run")
    assert job.run(plain, tmp_path / "run", resume=True) == run and not any(
        "track" in note for note in run.notes
    )


def written(path, settings):
    path.write_text(config.dump(settings))
    return path


def test_names_that_are_no_tracker_are_refused_and_the_command_line_knows_all():
    assert get_args(TrackerName) == tuple(Tracker) == NAMES == tuple(sorted(trackers.KINDS, key=NAMES.index))
    with pytest.raises(ConfigError, match=r"run.*track.*'tensorbord'"):
        config.build({"run": {"track": ["tensorbord"]}})
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(trackers.KINDS) <= set(extras)
    assert tracking.overrides(()) == [] and tracking.overrides(["wandb"]) == ['run.track=["wandb"]']


def test_a_missing_package_is_told_once_with_its_extra_before_a_model_loads(
    months,
    tmp_path,
    monkeypatch,
):
    job.run(configured(months, "old"), tmp_path / "old", track=["tensorboard"])
    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    monkeypatch.setattr(job.loading, "load", None)
    with pytest.raises(RunError) as error:
        job.run(configured(months, "old"), tmp_path / "run", track=["wandb", "trackio"])
    assert "pip install 'kpig[wandb,trackio]'" in str(error.value) and not (tmp_path / "run").exists()
    before = contents(tmp_path / "old")
    with pytest.raises(RunError, match=r"kpig\[tensorboard\].*delete .*trackers/tensorboard\.json"):
        job.extend(tmp_path / "old", str(months["new"]))
    assert contents(tmp_path / "old") == before
    job.run(configured(months, "old"), tmp_path / "old", resume=True)
    path = written(tmp_path / "my.toml", tracking.asked(configured(months, "old"), ["mlflow"]))
    with pytest.raises(ConfigError, match=r"\[run\].*kpig\[mlflow\]"):
        job.check.check(path)


def test_a_folder_of_the_name_is_no_package(tmp_path, monkeypatch):
    """wandb's own runs lie in ./wandb."""
    (tmp_path / "nottracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_spec("nottracker") is not None and not trackers._is_installed("nottracker")


WITHOUT_NETWORK = """
import socket
from kpig.cli import main

OURS = (None, "127.0.0.1", "localhost", "::1")
connected, looked_up = socket.socket.connect, socket.getaddrinfo

def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in OURS:
        print("NETWORK", address)
    return connected(self, address)

def look_up(host, *more, **options):
    if host not in OURS:
        print("NETWORK", host)
    return looked_up(host, *more, **options)

socket.socket.connect, socket.getaddrinfo = connect, look_up
main()
"""


def test_no_network_is_used_and_no_key_is_written(months, tmp_path):
    """In a process of its own: what a library reads of the environment it reads once."""
    keys = {"HF_TOKEN": "hf_" + "5ecre7" * 6, "WANDB_API_KEY": ("5ecre7" * 7)[:40]}
    keys |= {"MLFLOW_TRACKING_TOKEN": "5ecre7"}
    homes = {name: str(tmp_path / name) for name in ("HOME", "HF_HOME", "TRACKIO_DIR", "WANDB_CACHE_DIR")}
    path = written(tmp_path / "my.toml", configured(months, "old"))
    command = ["run", str(path), "--out", str(tmp_path / "run")]
    command += [part for name in INSTALLED for part in ("--track", name)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK, *command],
        env=os.environ | keys | homes,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "NETWORK" not in done.stdout and "warning" not in done.stderr
    assert (tmp_path / "TRACKIO_DIR/kpig.db").is_file()
    for file in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert b"5ecre7" not in file.read_bytes(), file


def test_the_command_continue_asks_for_trackers_too(months, tmp_path, monkeypatch):
    from kpig.cli import commands  # noqa: F401
    from kpig.cli.app import app

    asked = []
    monkeypatch.setattr(further, "learn", lambda *arguments: asked.append(arguments[2]) or sys.exit(9))
    command = [
        "continue",
        str(tmp_path),
        "--tasks",
        "x",
        "--track",
        "wandb",
        "--track",
        "trackio",
        "--set",
        "a.b=1",
    ]
    assert CliRunner().invoke(app, command).exit_code == 9
    assert asked == [["a.b=1", 'run.track=["wandb", "trackio"]']]
    wrong = CliRunner().invoke(app, ["run", "my.toml", "--track", "wanddb"])
    assert wrong.exit_code == 2 and "'tensorboard', 'trackio', 'wandb', 'mlflow'" in wrong.output


def test_names_that_trackers_would_change_or_refuse_stay_apart():
    for text in ("first", "task001_sort.v2-b", "größe", "a" * 200):
        assert points.safe(text) == text
    odd = (
        "a b",
        "a_b",
        "a/b",
        "a:b",
        "..",
        "",
        "a" * 201,
        "a" * 200 + "b",
        "ä" * 101,
        "*",
        "-x",
        "\ud800",
        "a\n",
    )
    found = [points.safe(text) for text in odd]
    assert len(set(found)) == len(odd)
    assert all(points.NAME.fullmatch(one) and len(one.encode()) <= 200 for one in found)


def test_of_a_record_finite_numbers_are_figures():
    found = dict(
        points.numbers({"a": 1, "b": True, "c": "x", "d": None, "e": {"f g": 0.5, "h": [1]}}, "train")
    )
    assert found == {"train/a": 1, f"train/e/{points.safe('f g')}": 0.5}
    wild = {"a": float("nan"), "b": float("inf"), "c": 10**400, "d": -(10**300)}
    assert dict(points.numbers(wild, "t")) == {"t/d": -(10**300)}


def test_points_are_numbered_alike_however_often_updates_are_done_again():
    def update(step, number):
        return {"step": step, "update": number, "loss": float(number)}

    curve, again = points.Curve(), points.Curve()
    once = [update(1, 1), update(1, 2), update(2, 1), {"step": 2, "anew": True}, update(2, 1), update(2, 2)]
    twice = [*once[:2], once[1], once[0], *once[2:4], {"step": 2, "warning": "x"}, *once[4:], once[4]]
    found = [point for event in once for point in curve.logged(event)]
    assert found == [point for event in twice for point in again.logged(event)]
    assert [(one.number, one.update) for one in found] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [one.figures["train/loss"] for one in found] == [1, 2, 1, 1]
