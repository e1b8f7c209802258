"""A scheduler's notice: the update at work is ended, its checkpoint written, and the exit code says so."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import forked
import launched
from kpig import config
from kpig.testing.several import environment, free_port
from kpig.training import loop, notice
from kpig.training.notice import UNFINISHED, Stopped
from test_job import read_scores, small, start, weights

NOTICES = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1")]


def during(step: int, update: int, *numbers: int) -> Callable[[], None]:
    """Signals that a run gets in the middle of an update, which counts from 0."""

    def first() -> None:
        true = loop.current_examples

        def sending(plan, clock, *rest):
            if (clock.step, clock.update) == (step, update):
                for number in numbers:
                    os.kill(os.getpid(), number)
            return true(plan, clock, *rest)

        loop.current_examples = sending

    return first


def updates(run: Path) -> list[tuple[int, int]]:
    events = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return [(one["step"], one["update"]) for one in events if "update" in one]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """straight(method, **sections): the folder of a config, and the run that nobody asked to end."""
    made = {}

    def make(method="kpig", **sections):
        key = json.dumps([method, sections])
        if key not in made:
            folder = tmp_path_factory.mktemp("straight")
            (folder / "my.toml").write_text(config.dump(small(method, **sections)))
            assert start(folder, folder / "run").ended().returncode == 0
            made[key] = folder
        return made[key]

    return make


def noticed(folder: Path, out: Path, first: Callable[[], None], *more: str) -> forked.Child:
    return forked.start("run", folder / "my.toml", "--out", out, *more, first=first)


def assert_goes_on(folder: Path, out: Path) -> None:
    """Resumed, it ends with the same bits, and has done every update once."""
    assert start(folder, out, "--resume").ended().returncode == 0
    assert weights(out, 2) == weights(folder / "run", 2)
    assert read_scores(out) == read_scores(folder / "run")
    assert updates(out) == updates(folder / "run")


TERM, USR1 = NOTICES


@pytest.mark.parametrize(
    ("number", "method", "every", "step", "update"),
    [
        (TERM, "kpig", 0, 1, 0),
        (USR1, "kpig", 2, 2, 2),
        (TERM, "kpig", 0, 2, 4),
        (USR1, "ewc", 0, 2, 1),
    ],
)
def test_the_update_at_work_is_the_last_and_no_update_is_lost(
    number, method, every, step, update, straight, tmp_path
):
    folder, out = straight(method, train={"checkpoint_every": every}), tmp_path / "out"
    ended = noticed(folder, out, during(step, update, number)).ended()
    assert ended.returncode == UNFINISHED, ended.stderr
    assert ended.stderr.count("stopped; ") == 1 and "--resume" in ended.stderr
    assert "Traceback" not in ended.stderr and not (tmp_path / "out.lock").exists()
    assert updates(out)[-1] == (step, update + 1)
    state = json.loads((out / f"steps/{step:02d}/checkpoint/state.json").read_text())
    assert state["update"] == update + 1
    assert_goes_on(folder, out)


def test_a_notice_that_is_repeated_changes_nothing(straight, tmp_path):
    """Schedulers send several, and to every process of a job."""
    folder, out = straight(train={"checkpoint_every": 0}), tmp_path / "out"
    ended = noticed(folder, out, during(2, 1, *NOTICES, *NOTICES)).ended()
    assert ended.returncode == UNFINISHED and updates(out)[-1] == (2, 2)
    assert_goes_on(folder, out)


def test_ctrl_c_does_not_wait_for_the_update_that_a_notice_waits_for(straight, tmp_path):
    folder, out = straight(train={"checkpoint_every": 2}), tmp_path / "out"
    ended = noticed(folder, out, during(2, 3, TERM, signal.SIGINT)).ended()
    assert ended.returncode == 130 and updates(out)[-1] == (2, 3)
    assert start(folder, out, "--resume").ended().returncode == 0
    assert weights(out, 2) == weights(folder / "run", 2)


def test_where_no_update_is_at_work_a_notice_ends_the_run_at_once(straight, tmp_path):
    folder, out = straight(train={"checkpoint_every": 2}), tmp_path / "out"

    def first() -> None:
        from kpig.scoring import answers

        true = answers.score

        def sending(learner, probes, *rest):
            if (out / "steps/01/checkpoint").exists():
                os.kill(os.getpid(), USR1)
            return true(learner, probes, *rest)

        answers.score = sending

    ended = noticed(folder, out, first).ended()
    assert ended.returncode == UNFINISHED and not (out / "steps/01/DONE").exists()
    assert_goes_on(folder, out)


def test_the_steps_that_a_run_continues_with_heed_it_too(straight, tmp_path):
    rows = [{"instruction": "Say it.", "input": f"word {n}", "output": f"w{n}"} for n in range(8)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = straight("replay", train={"checkpoint_every": 0})
    ends = {}
    for name, numbers in (("quiet", ()), ("noticed", (signal.SIGUSR1,))):
        run = tmp_path / name
        assert start(folder, run).ended().returncode == 0
        words = ("continue", run, "--tasks", tmp_path / "new.jsonl")
        ended = forked.kpig(*words, first=during(3, 1, *numbers))
        assert ended.returncode == (UNFINISHED if numbers else 0), ended.stderr
        ends[name] = run
    assert forked.kpig("continue", ends["noticed"], "--resume").returncode == 0
    assert weights(ends["noticed"], 3) == weights(ends["quiet"], 3)
    assert updates(ends["noticed"]) == updates(ends["quiet"])


@pytest.mark.parametrize("noticed", [0, 1])
def test_notice_to_one_of_several_processes_is_notice_to_all(noticed, straight, tmp_path):
    folder, out = straight("replay", train={"checkpoint_every": 0}), tmp_path / "out"
    port = free_port()

    def begin(number: int) -> forked.Child:
        def first() -> None:
            os.environ.update(environment(number, 2, port))
            if number == noticed:
                during(2, 1, signal.SIGTERM)()

        return forked.start("run", folder / "my.toml", "--out", out, first=first)

    ended = launched.ended([begin(number) for number in range(2)], 200.0)
    assert [one.returncode for one in ended] == [UNFINISHED] * 2, ended[0].stderr
    assert "".join(one.stderr for one in ended).count("stopped; ") == 1
    assert updates(out)[-1] == (2, 2)
    assert start(folder, out, "--resume").ended().returncode == 0
    assert updates(out) == updates(folder / "run")


def test_a_notice_waits_only_where_it_is_held_back():
    stop = Stopped(signal.SIGTERM)
    assert stop.is_notice and not Stopped(signal.SIGINT).is_notice
    assert not notice.holds(stop) and not notice.is_given()
    with pytest.raises(Stopped) as caught, notice.held_back():
        assert not notice.holds(Stopped(signal.SIGINT)) and not notice.is_given()
        assert notice.holds(stop) and notice.holds(Stopped(signal.SIGTERM)) and notice.is_given()
    assert caught.value is stop and not notice.is_given()
    with pytest.raises(ValueError, match="another"), notice.held_back():
        notice.holds(stop)
        raise ValueError("another way to end")
    with notice.held_back():
        assert not notice.is_given()
    notice.heed()
