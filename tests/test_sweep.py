"""Sweeps: the spec, the lock, the shards, and a queue that is killed, shared, or holds a run that fails."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tomli_w

import forked
from kpig import config, processes, sweep
from kpig.errors import ConfigError, RunError
from kpig.methods import chosen
from kpig.runs import job, lock
from kpig.scoring.records import RunScores
from kpig.scoring.scores import read_run
from kpig.sweep import queue
from test_job import without_seconds
from test_resume import Listener

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {
    "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 1, "num_train": 16, "num_test": 2},
    "train": {"updates_per_step": 4, "batch_size": 4, "checkpoint_every": 2, "tokens_per_micro_batch": 512},
    "method": {"kpig": {"refresh": 2, "num_probes": 2}},
    "evaluate": {"max_new_tokens": 3},
}
SPEC = {"base": SMALL, "methods": ["kpig", "replay"], "seeds": [0]}


def write_spec(folder: Path, **changes: object) -> Path:
    path = folder / "spec.toml"
    path.write_text(tomli_w.dumps(SPEC | changes))
    return path


def problems(folder: Path, **changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        sweep.load(write_spec(folder, **changes))
    return str(caught.value)


def names(runs: object) -> list[str]:
    return [run.name for run in runs]


# The spec.


def test_the_runs_are_every_method_seed_order_and_setting_with_seeds_outermost(tmp_path):
    settings = [{"name": "five", "method": "kpig", "set": {"method": {"kpig": {"twin_weight": 5.0}}}}]
    base = SMALL | {"suite": SMALL["suite"] | {"num_steps": 3}}
    spec = write_spec(tmp_path, base=base, seeds=[3, 1], orders=["given", 2, [2, 1, 3]], settings=settings)
    runs = sweep.load(spec).runs
    assert len(runs) == 2 * 3 * 3 == len({run.name for run in runs})
    assert names(runs[:4]) == [
        "kpig-seed3-ordergiven",
        "kpig-five-seed3-ordergiven",
        "replay-seed3-ordergiven",
        "kpig-seed3-order2",
    ]
    assert runs[6].name == "kpig-seed3-ordersteps-2-1-3"
    assert {run.seed for run in runs[:9]} == {3}
    assert [run.config.method.given["twin_weight"] for run in runs[:2]] == [1.0, 5.0]
    sections = [run.config.stream for run in runs[:9:3]]
    assert [(one.order, one.order_seed) for one in sections] == [
        ("given", 0),
        ("shuffled", 2),
        ((2, 1, 3), 0),
    ]


def test_every_run_has_the_config_that_kpig_run_would_give_it(tmp_path):
    settings = [{"name": "hot", "set": {"train.learning_rate": 1e-3, "model.adapter": "lora"}}]
    (tmp_path / "base.toml").write_text(tomli_w.dumps(SMALL | {"seed": 9}))
    runs = sweep.load(write_spec(tmp_path, base="base.toml", orders=[4], settings=settings)).runs
    last = ["method.name=replay", "seed=0", "stream.order=shuffled", "stream.order_seed=4"]
    more = ["train.learning_rate=1e-3", "model.adapter=lora", "run.share_untuned=true"]
    assert names(runs)[-1] == "replay-hot-seed0-order4"
    assert runs[-1].config == chosen.complete(config.load(tmp_path / "base.toml", [*last, *more]))


def test_without_the_default_a_method_with_settings_runs_with_these_only(tmp_path):
    settings = [{"name": "five", "method": "kpig", "set": {"method.kpig.twin_weight": 5.0}}]
    runs = sweep.load(write_spec(tmp_path, settings=settings, include_default=False)).runs
    assert names(runs) == ["kpig-five-seed0-ordergiven", "replay-seed0-ordergiven"]


def test_what_a_spec_names_by_a_relative_path_is_found_beside_it(tmp_path):
    rows = [{"instruction": "Say it.", "input": f"word {n}", "output": f"w{n}"} for n in range(8)]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/say.jsonl").write_text("\n".join(map(json.dumps, rows)))
    base = {"stream": {"path": "tasks"}}
    (tmp_path / "base.toml").write_text(tomli_w.dumps(base))
    inline, beside = (sweep.load(write_spec(tmp_path, base=one)).runs for one in (base, "base.toml"))
    assert inline == beside and inline[0].config.stream.path == str(tmp_path / "tasks")


def test_a_suite_for_each_seed_is_that_seed_and_nothing_else_may_set_it(tmp_path):
    runs = sweep.load(write_spec(tmp_path, seeds=[3, 1], suite_per_seed=True)).runs
    assert {(run.seed, run.config.suite.seed) for run in runs} == {(3, 3), (1, 1)}
    assert {run.config.suite.seed for run in sweep.load(write_spec(tmp_path, seeds=[3, 1])).runs} == {0}
    setting = {"name": "other", "set": {"suite.seed": 5}}
    assert "'suite.seed' is decided by the sweep" in problems(
        tmp_path, suite_per_seed=True, settings=[setting]
    )
    (tmp_path / "tasks.jsonl").write_text("")
    base = SMALL | {"stream": {"path": "tasks.jsonl"}}
    assert "suite_per_seed needs the built-in suite" in problems(tmp_path, suite_per_seed=True, base=base)


def test_the_spec_that_a_sweep_keeps_stands_for_the_same_runs(tmp_path):
    settings = [{"name": "hot", "method": "kpig", "set": {"train.learning_rate": 1e-3}}]
    base = SMALL | {"suite": SMALL["suite"] | {"num_steps": 3}}
    planned = sweep.load(write_spec(tmp_path, base=base, settings=settings, orders=["given", 1, [2, 1, 3]]))
    sweep.keep_spec(planned, tmp_path / "out")
    assert sweep.load(tmp_path / "out/sweep.toml") == planned


def test_the_shipped_spec_is_sound():
    assert len(sweep.load(EXAMPLES / "sweep.toml").runs) == 12


def test_every_problem_of_a_spec_is_listed_at_once(tmp_path):
    message = problems(
        tmp_path,
        seeds=[0, -1, True],
        orders=["givn"],
        sedes=[1],
        settings=[{"nmae": "a", "set": {"seed": 1}}],
    )
    assert "has no key 'sedes'; did you mean 'seeds'?" in message
    assert "seeds number 2 = -1" in message and "seeds number 3 = True" in message
    assert "orders number 1 = 'givn': expected 'given'" in message
    assert "settings 1: has no key 'nmae'; did you mean 'name'?" in message
    assert "settings 1: name is missing" in message


def test_every_problem_of_every_run_is_listed_once(tmp_path):
    message = problems(
        tmp_path,
        methods=["kpgi", "replay"],
        seeds=[0, 1, 2, 3, 4],
        base=SMALL | {"train": {"batch_sise": 4}},
        settings=[{"name": "a", "method": "replay", "set": {"train.learning_rate": -1}}],
    )
    assert message.count("[train] has no key 'batch_sise'; did you mean 'batch_size'?") == 1
    assert "[train] learning_rate = -1" in message
    assert (
        "(replay-a-seed0-ordergiven, replay-a-seed1-ordergiven, replay-a-seed2-ordergiven and 2 more)"
        in message
    )
    assert "'kpgi' is not a method; did you mean 'kpig'?" in problems(tmp_path, methods=["kpgi", "replay"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ["kpig", "kpig"]}, "methods has 'kpig' twice"),
        ({"seeds": []}, "seeds = []: expected at least one"),
        ({"settings": [{"name": "../x", "set": {"seed": 1}}]}, "part of a folder's name"),
        ({"methods": ["../x:y"]}, "part of a folder's name"),
        ({"settings": [{"name": "a", "method": "kpgi", "set": {"train.epochs": 2}}]}, "did you mean 'kpig'"),
        ({"settings": [{"name": "a", "set": {"method.name": "kpig"}}]}, "decided by the sweep"),
        ({"settings": [{"name": "a", "set": {}}]}, "set is empty"),
        ({"settings": [{"name": "a", "set": {"seed.x": 1}}]}, "decided by the sweep"),
        ({"settings": [{"name": "a", "set": {"train.batch_size.x": 1}}]}, "'batch_size' is no table"),
        ({"settings": [{"name": "a", "set": {"train.epochs": 2}}] * 2}, "another one has the same folders"),
        (
            {"settings": [{"name": n, "set": {"train.epochs": e}} for n, e in (("a", 2), ("A", 3))]},
            "a and A count as one",
        ),
        ({"settings": [{"name": n, "set": {"train.epochs": 2}} for n in "ab"]}, "differs from settings 'a'"),
        ({"settings": [{"name": "a", "set": {"seed.x": 1}}], "methods": "kpig"}, "expected a list"),
        (
            {"settings": [{"name": "a", "method": "kpig", "set": {"method.kpig.num_tasks": 8}}]},
            "from the base config",
        ),
        (
            {"settings": [{"name": "a", "set": "train.epochs"}]},
            "settings 1: set = 'train.epochs': expected a table",
        ),
        (
            {"settings": [{"name": "a", "set": {"method.inscl.cost": "cosine"}}]},
            "matters to any of methods (kpig, replay)",
        ),
        ({"orders": ["given", [1, 2]]}, "orders given and steps-1-2 are the same order of these 2 steps"),
        ({"methods": ["nowhere:Mine", "kpig"]}, "there is no module 'nowhere' on the Python path"),
        (
            {"train": {"epochs": 2}},
            "has no key 'train': what all runs share stands below base, as [base.train]",
        ),
        (
            {"base": {"train": {"updates_per_step": True}}},
            "updates_per_step = True: input should be a valid integer",
        ),
        (
            {"base": {"train": {"updates_per_step": "7"}}},
            "updates_per_step = '7': input should be a valid integer",
        ),
        ({"suite_per_seed": "yes"}, "suite_per_seed = 'yes': expected true or false"),
        ({"base": {"seed": 1, "stream": {"order": "shuffled"}}}, "state orders"),
        ({"base": {"stream": {"path": "nowhere.jsonl"}}}, "nowhere.jsonl"),
        ({"base": {"model": {"path": "./nowhere"}}}, "does not exist"),
        ({"base": "nowhere.toml"}, "no such file"),
        ({"base": 3}, "expected the path of a config"),
        ({"orders": [[1, 1]]}, "order"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spec_that_cannot_be_is_refused_with_the_reason(changes, words, tmp_path):
    assert words in problems(tmp_path, **changes)


def test_a_setting_for_all_is_for_those_methods_that_it_matters_to(tmp_path):
    settings = [{"name": "one", "set": {"method.kpig.num_tasks": 1}}]
    runs = sweep.load(write_spec(tmp_path, settings=settings)).runs
    assert names(runs) == ["kpig-seed0-ordergiven", "kpig-one-seed0-ordergiven", "replay-seed0-ordergiven"]


def test_a_problem_of_one_item_does_not_make_a_list_empty(tmp_path):
    assert "at least one" not in problems(tmp_path, seeds=[-1])


# The shards.


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_the_shards_cover_every_run_exactly_once(count, tmp_path):
    runs = sweep.load(write_spec(tmp_path, seeds=[0, 1, 2, 3], orders=["given", 1])).runs
    parts = [sweep.shard(runs, index, count) for index in range(1, count + 1)]
    assert sorted(run.name for part in parts for run in part) == sorted(names(runs))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_no_shard_is_left_with_one_method_only(tmp_path):
    runs = sweep.load(write_spec(tmp_path, seeds=[0, 1])).runs
    assert [{run.method for run in sweep.shard(runs, index, 2)} for index in (1, 2)] == [
        {"kpig", "replay"}
    ] * 2


# The lock.


def as_left_by(pid: int, path: Path, **changes: object) -> None:
    """A lock as another process of this machine would have written it."""
    held = lock.claim(path)
    owner = json.loads(path.read_text()) | {"pid": pid, "token": "another"} | changes
    held.release()
    path.write_text(json.dumps(owner))


def test_a_lock_has_one_holder_until_it_is_released(tmp_path):
    path = tmp_path / "a.lock"
    with ThreadPoolExecutor(8) as threads:
        claims = [one for one in threads.map(lambda _: lock.claim(path), range(40)) if one]
    assert len(claims) == 1 and claims[0].beat()
    assert f"process {os.getpid()}" in lock.holder(path, time.time())
    claims[0].release()
    assert not path.exists() and lock.claim(path) is not None


def test_the_lock_of_a_process_that_is_gone_is_taken_over_by_one_other(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = tmp_path / "a.lock"
    as_left_by(gone.pid, path)
    assert lock.holder(path, time.time()) is None
    with ThreadPoolExecutor(8) as threads:
        claims = [one for one in threads.map(lambda _: lock.claim(path), range(40)) if one]
    assert len(claims) == 1 and claims[0].beat()
    assert [one.name for one in tmp_path.iterdir()] == ["a.lock"]


def test_the_lock_of_another_machine_is_taken_over_only_when_nothing_touches_it(tmp_path):
    path = tmp_path / "a.lock"
    as_left_by(1, path, machine="elsewhere", host="elsewhere")
    assert lock.claim(path) is None
    assert lock.holder(path, time.time()) == "process 1 on elsewhere"
    long_ago = time.time() - lock.STALE_SECONDS - 5
    os.utime(path, (long_ago, long_ago))
    assert lock.claim(path) is not None


def test_a_process_that_was_given_an_old_number_does_not_hold_the_lock(tmp_path):
    as_left_by(os.getpid(), tmp_path / "a.lock", born=-1.0)
    assert lock.claim(tmp_path / "a.lock") is not None


def test_a_living_process_that_an_earlier_version_wrote_down_holds_its_lock(tmp_path):
    as_left_by(os.getpid(), tmp_path / "a.lock", born="8126")
    assert lock.claim(tmp_path / "a.lock") is None


def test_a_process_that_has_ended_is_gone_before_its_parent_looks_and_one_that_goes_on_is_not():
    tell = "import json; from kpig.processes import here; print(json.dumps(here()), flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", tell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told = json.loads(other.stdout.readline())
    assert told["pid"] == other.pid and not processes.is_gone(told)
    other.stdin.close()
    other.stdout.read()
    wait_for(lambda: processes.is_gone(told), 10)
    assert other.wait() != 0 and processes.is_gone(told)
    assert not processes.is_gone(told | {"machine": "elsewhere"})


def test_a_holder_notices_that_its_lock_was_taken_and_leaves_the_new_one_alone(tmp_path):
    path = tmp_path / "a.lock"
    slept = lock.claim(path)
    as_left_by_text = json.loads(path.read_text()) | {"token": "another"}
    path.write_text(json.dumps(as_left_by_text))
    assert not slept.beat()
    slept.release()
    assert path.exists()


def test_a_process_killed_while_taking_over_does_not_block_the_run_for_good(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    as_left_by(gone.pid, tmp_path / "a.lock")
    as_left_by(gone.pid, tmp_path / "a.lock.takeover")
    assert lock.claim(tmp_path / "a.lock") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]


def test_a_lock_is_never_seen_without_its_owner(tmp_path, monkeypatch):
    """A kill in the middle of its writing leaves no lock; what it leaves is removed by the next process."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    as_left_by(gone.pid, tmp_path / ".a.lock.0123")

    def cut(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(lock.json, "dump", cut)
        lock.claim(tmp_path / "a.lock")
    assert not (tmp_path / "a.lock").exists()
    assert lock.claim(tmp_path / "a.lock") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]


def test_where_there_are_no_links_a_lock_is_made_all_the_same(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(lock.os, "link", refused)
    assert lock.claim(tmp_path / "a.lock") is not None and lock.claim(tmp_path / "a.lock") is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]


@pytest.mark.parametrize("days", [1, 400])
def test_a_lock_from_the_future_grows_stale_unless_its_process_lives(days, tmp_path, monkeypatch):
    """Its machine is gone, and its clock was ahead; the lock of a living one is touched on."""
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.3)
    run = tmp_path / "run"
    path, ahead = lock.path_of(run), time.time() + days * 86400
    path.write_text(json.dumps({"token": "x", "host": "elsewhere", "pid": 10**30, "machine": "m"}))
    os.utime(path, (ahead, ahead))
    for _ in range(3):
        with pytest.raises(lock.BusyError):
            lock.check_idle(run)
        os.utime(path, (ahead, ahead))
    with pytest.raises(lock.BusyError):
        lock.check_idle(run)
    wait_for(lambda: lock.holder(path, time.time()) is None, 5)
    with lock.held(run):
        assert path.exists()
    assert [one.name for one in tmp_path.iterdir()] == []


# The folder.


def test_a_changed_config_of_a_run_that_was_begun_is_refused_by_run_and_key(tmp_path):
    planned = sweep.load(write_spec(tmp_path))
    sweep.keep_spec(planned, tmp_path / "out")
    run = planned.runs[0]
    (tmp_path / "out" / run.name).mkdir()
    (tmp_path / "out" / run.name / "config.toml").write_text(config.dump(run.config))
    (tmp_path / "out" / run.name / "stream.json").write_text("{}")
    sweep.check_folder(sweep.load(write_spec(tmp_path, seeds=[0, 1])), tmp_path / "out")
    base = SMALL | {"evaluate": {"max_new_tokens": 4}}
    with pytest.raises(RunError, match=r"kpig-seed0-ordergiven: evaluate\.max_new_tokens was 3, is now 4"):
        sweep.check_folder(sweep.load(write_spec(tmp_path, base=base)), tmp_path / "out")


@pytest.mark.parametrize("include_default", [True, False])
def test_a_setting_for_all_runs_with_the_methods_whose_runs_it_changes(include_default, tmp_path):
    """The base config stands in for it with the others, so that every method runs."""
    settings = [{"name": "five", "set": {"method.kpig.twin_weight": 5.0, "train.row_tokens": 64}}]
    spec = write_spec(tmp_path, orders=["given"], settings=settings, include_default=include_default)
    found = names(sweep.load(spec).runs)
    default = ["kpig-seed0-ordergiven"] if include_default else []
    assert found == [*default, "kpig-five-seed0-ordergiven", "replay-seed0-ordergiven"]


@pytest.mark.parametrize("idle", ["method.inscl.cost", "train.row_tokens"])
def test_a_setting_that_changes_no_run_is_refused(idle, tmp_path):
    value = {"method.inscl.cost": "euclidean", "train.row_tokens": 64}[idle]
    spec = write_spec(tmp_path, settings=[{"name": "idle", "set": {idle: value}}])
    with pytest.raises(ConfigError, match="'idle': nothing in it matters to any of methods"):
        sweep.load(spec)


def test_a_finished_run_may_have_been_computed_in_other_portions(tmp_path):
    begun = sweep.load(write_spec(tmp_path))
    sweep.keep_spec(begun, tmp_path / "out")
    for run in begun.runs:
        (tmp_path / "out" / run.name).mkdir()
        (tmp_path / "out" / run.name / "config.toml").write_text(config.dump(run.config))
        (tmp_path / "out" / run.name / "stream.json").write_text("{}")
    base = SMALL | {"train": SMALL["train"] | {"tokens_per_micro_batch": 64}}
    changed = sweep.load(write_spec(tmp_path, base=base))
    with pytest.raises(RunError, match=r"train\.tokens_per_micro_batch was 512, is now 64"):
        sweep.check_folder(changed, tmp_path / "out")
    for run in begun.runs:
        (tmp_path / "out" / run.name / "scores.json").write_text("{}")
    sweep.check_folder(changed, tmp_path / "out")
    base["train"] = base["train"] | {"learning_rate": 0.5}
    with pytest.raises(RunError, match=r"train\.learning_rate was"):
        sweep.check_folder(sweep.load(write_spec(tmp_path, base=base)), tmp_path / "out")


def test_a_folder_that_holds_no_sweep_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/mine.txt").write_text("dear")
    with pytest.raises(RunError, match="holds no sweep"):
        sweep.check_folder(sweep.load(write_spec(tmp_path)), tmp_path / "letters")


# The whole.


def command(folder: Path, *more: object) -> tuple[object, ...]:
    return ("sweep", folder / "spec.toml", "--out", folder / "out", *more)


def start(folder: Path, *more: object) -> forked.Child:
    """A sweep that heads a group of processes, whose methods of one's own lie in the folder."""

    def first() -> None:
        os.setsid()
        sys.path.insert(0, str(folder))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])

    return forked.start(*command(folder, *more), first=first)


def finished(process: forked.Child, code: int = 0) -> tuple[str, str]:
    done = process.ended()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def scores_of(folder: Path) -> RunScores:
    return without_seconds(read_run(folder / "scores.json"))


def processes_on(folder: Path) -> list[int]:
    """Living processes with the folder in their command line, zombies aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def num_updates(run: Path) -> int:
    path = run / "events.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def num_train_events(run: Path) -> int:
    """The updates in a run's log, where also stands whose answers of the untuned model it took."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return sum("loss" in event for event in events)


def test_a_sweep_killed_at_any_moment_continues_to_the_same_scores_and_redoes_nothing(tmp_path):
    planned = sweep.load(write_spec(tmp_path))
    moments, out = random.Random("kills of a sweep"), tmp_path / "out"
    for run in planned.runs:
        process, enough = start(tmp_path), moments.randint(1, 4)
        wait_for(lambda folder=out / run.name, enough=enough: num_updates(folder) >= enough)
        time.sleep(moments.random() * 0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.ended()
        if sys.platform == "linux":
            wait_for(lambda: not processes_on(out), 10)
    done = {path: path.stat().st_mtime_ns for path in (out / planned.runs[0].name).rglob("*")}
    assert (out / planned.runs[0].name / "scores.json").exists()
    listed, _ = finished(start(tmp_path, "--dry-run"))
    assert "1 done, 1 begun" in " ".join(listed.split()), "the title may be broken into lines"
    finished(start(tmp_path))
    for run in planned.runs:
        assert scores_of(out / run.name) == without_seconds(job.run(run.config, tmp_path / run.name))
    assert done == {path: path.stat().st_mtime_ns for path in (out / planned.runs[0].name).rglob("*")}
    assert not list(out.glob("*.lock")) and not list(out.glob("*.failed"))


def test_a_run_that_fails_is_listed_while_the_others_finish_and_is_tried_again(tmp_path):
    broken = "from kpig.methods.sequential import Sequential\nclass Mine(Sequential):\n"
    (tmp_path / "mine.py").write_text(
        broken + "    def begin_step(self, *_): raise ValueError('no such luck')\n"
    )
    write_spec(tmp_path, methods=["mine:Mine", "init"])
    _, errors = finished(start(tmp_path, "--workers", 2), code=1)
    assert "1 of 2 runs failed" in errors
    assert "mine-Mine-seed0-ordergiven: ValueError: no such luck" in errors
    assert (tmp_path / "out/init-seed0-ordergiven/scores.json").exists()
    assert "ValueError: no such luck" in (tmp_path / "out/mine-Mine-seed0-ordergiven.log").read_text()
    listed, _ = finished(start(tmp_path, "--dry-run"))
    assert "1 failed, 1 done" in listed
    before = (tmp_path / "out/init-seed0-ordergiven/scores.json").stat().st_mtime_ns
    (tmp_path / "mine.py").write_text(broken + "    pass\n")
    listed, _ = finished(start(tmp_path))
    assert "2 done" in listed and not list((tmp_path / "out").glob("*.failed"))
    assert before == (tmp_path / "out/init-seed0-ordergiven/scores.json").stat().st_mtime_ns


WRONG = ("[]", '{"version": 1}', "[[[[" * 5000, "\xff", '{"version": "1"}', '{"version": 1, "steps": 3}')


def test_damaged_scores_of_one_run_are_listed_with_why_beside_the_others(tmp_path):
    """So is a failure of old beside a run that is done by now, by hand: the sweep forgets it."""
    planned = sweep.load(write_spec(tmp_path, methods=["init", "sequential"], seeds=[0, 1, 2, 3]))
    out = tmp_path / "out"
    sweep.keep_spec(planned, out)
    whole = job.run(planned.runs[0].config, out / planned.runs[0].name)
    queue.state.record_failure(out / planned.runs[0].name, "once")
    for run, text in zip(planned.runs[1:], WRONG, strict=False):
        (out / run.name).mkdir()
        (out / run.name / "scores.json").write_text(text, encoding="latin-1")
    text = json.loads((out / planned.runs[0].name / "scores.json").read_text())
    odd = out / planned.runs[len(WRONG) + 1].name
    odd.mkdir()
    for key in ("steps", "final", "cost", "seed", "notes"):
        (odd / "scores.json").write_text(json.dumps(text | {key: {"a": ["b"]}}))
        assert sweep.look(planned.runs[len(WRONG) + 1], out).word == sweep.FAILED
    states = sweep.work(planned.runs, out, 1, Listener())
    assert [one.word for one in states] == ["done", *["failed"] * 7]
    assert states[0].p_seen == whole.final.seen.p_score
    assert all(len(one.error.split("(")[1]) > 10 for one in states[1:])
    assert not list(out.glob("*.failed"))


def test_a_run_folder_that_is_deleted_while_it_runs_can_be_run_again(tmp_path):
    """What the process would still write is no half of a run; what was left of one begins anew."""
    planned = sweep.load(write_spec(tmp_path)).runs[1]
    run = tmp_path / planned.name
    whole = without_seconds(job.run(planned.config, tmp_path / "whole"))

    class Deleter(Listener):
        def advance(self, count: int = 1, note: str = "") -> None:
            if note and run.exists():
                shutil.rmtree(run)

    with pytest.raises(RunError, match="deleted or moved while it ran"):
        job.run(planned.config, run, watch=Deleter())
    assert not run.exists()
    for left in ("steps/01/checkpoint.new/READY", "events.jsonl", "config.toml", "starts/config.01.toml"):
        (run / left).parent.mkdir(parents=True, exist_ok=True)
        (run / left).write_text("left")
    with pytest.raises(RunError, match="not empty"):
        job.run(planned.config, run)
    found = job.run(planned.config, run, resume=True)
    assert without_seconds(found) == whole
    for name in ("stream.json", "scores.json"):
        (run / name).unlink()
    with pytest.raises(RunError, match=r"holds finished steps but no stream\.json"):
        job.run(planned.config, run, resume=True)
    assert (run / "steps/01/DONE").exists()


def test_two_sweeps_of_one_folder_do_every_run_once(tmp_path):
    write_spec(tmp_path, methods=["sequential", "replay", "init"])
    both = [start(tmp_path), start(tmp_path)]
    for process in both:
        listed, _ = finished(process)
        assert "3 runs, 3 done" in listed
    for path in (tmp_path / "out").glob("*.log"):
        assert len(re.findall(r"step (\d)/\1 .*evaluate .*\bdone\b", path.read_text())) == 1, path
        assert num_train_events(path.with_suffix("")) == (0 if path.name.startswith("init") else 8), path


def test_an_interrupted_sweep_stops_its_processes_and_says_how_to_go_on(tmp_path):
    write_spec(tmp_path)
    process = start(tmp_path)
    wait_for(lambda: num_updates(tmp_path / "out/kpig-seed0-ordergiven") >= 1)
    os.kill(process.pid, signal.SIGINT)
    _, errors = finished(process, code=130)
    assert "continue with the same command" in errors
    assert processes_on(tmp_path / "out") == []
    assert not [*(tmp_path / "out").glob("*.failed"), *(tmp_path / "out").glob("*.lock")]


def test_a_run_that_is_killed_takes_no_other_along_and_one_killed_while_beginning_can_begin_again(tmp_path):
    planned = sweep.load(write_spec(tmp_path, methods=["init", "sequential"]))
    out = tmp_path / "out"
    sweep.keep_spec(planned, out)
    (out / planned.runs[0].name).mkdir()
    (out / planned.runs[0].name / "config.toml").write_text(config.dump(planned.runs[0].config))
    process = start(tmp_path)
    folder = out / planned.runs[1].name
    wait_for(lambda: (folder / "events.jsonl").exists())
    os.kill(json.loads(lock.path_of(folder).read_text())["pid"], signal.SIGKILL)
    _, errors = finished(process, code=1)
    assert "killed by SIGKILL" in errors and "1 of 2 runs failed" in errors


def test_a_finished_run_with_damaged_scores_is_listed_and_not_called_done(tmp_path):
    planned = sweep.load(write_spec(tmp_path, methods=["init", "sequential"]))
    sweep.keep_spec(planned, tmp_path / "out")
    folder = tmp_path / "out" / planned.runs[0].name
    job.run(planned.runs[0].config, folder)
    (folder / "scores.json").write_text("")
    _, errors = finished(start(tmp_path), code=1)
    assert "1 of 2 runs failed" in errors
    assert "init-seed0-ordergiven: scores.json is damaged (" in errors
    assert "restore it, or delete the folder" in errors


def test_why_a_run_failed_keeps_the_type_and_all_lines_of_the_exception():
    frames = [
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in f',
        "    raise ValueError(text)",
    ]
    assert (
        queue._last_error([*frames, "ValueError: boom", "second line | pipe"])
        == "ValueError: boom second line | pipe"
    )
    assert queue._last_error(["step 1", "error: no such", "       file"]) == "no such file"
    assert queue._last_error([*frames, "KeyError: 1", "error: later"]) == "later"
    assert queue._last_error(["Killed"]) == "Killed"


def test_a_run_does_not_import_from_the_folder_that_the_sweep_was_started_in(tmp_path):
    write_spec(tmp_path, methods=["init"])
    here = tmp_path / "here"
    here.mkdir()
    (here / "six.py").write_text("raise SystemExit('imported from the working directory')\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "kpig", *command(tmp_path)],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0"])
def test_a_shard_that_is_no_part_is_misuse(text, tmp_path):
    write_spec(tmp_path)
    _, errors = finished(start(tmp_path, "--shard", text), code=2)
    assert "I/N" in errors


def test_a_part_without_runs_is_misuse_too(tmp_path):
    write_spec(tmp_path)
    _, errors = finished(start(tmp_path, "--shard", "20/40"), code=2)
    assert "the spec has 2 runs, so that part is empty" in errors
