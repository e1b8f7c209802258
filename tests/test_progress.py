"""What a run says while it learns: lines in a log, bars on a terminal, scores after a step, the time left."""

import io
import re
from functools import partial

import pytest

from kpig import config, progress
from kpig.progress import Bars, Screen, Watcher, duration
from kpig.runs import evaluation, forecast, job, schedule
from kpig.runs.folder import RunDir
from kpig.runs.forecast import Forecast, Part
from kpig.runs.voice import step_table
from kpig.scoring import scores
from test_cli import kpig
from test_job import small

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
CLOCK = r"\d+:\d\d:\d\d"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(forecast.time, "monotonic", found)
    return found


def done(clock, chosen, kind, step, count, seconds):
    """Do a part at an even speed."""
    chosen.begin(kind, step)
    for number in range(1, count + 1):
        clock.now += seconds
        yield chosen.left(number)
    chosen.end()


def test_at_an_even_speed_the_time_left_is_that_of_a_clock(clock):
    parts = [Part("evaluate", 0, 7, 14)]
    for step in (1, 2, 3):
        parts += [Part("train", step, 10, 100 * step), Part("evaluate", step, 7, 14 + 2 * step)]
    chosen = Forecast(parts)
    assert set(done(clock, chosen, "evaluate", 0, 7, 2.0)) == {None}, "no update was measured yet"
    total = 14.0 + 600 * 0.3 + (14 * 3 + 12) * 1.0
    spent = 14.0
    for step in (1, 2, 3):
        found = list(done(clock, chosen, "train", step, 10, 0.3 * step * 10))
        assert found[:2] == [None, None] or step > 1
        for number, left in enumerate(found, 1):
            if left is not None:
                assert left == pytest.approx(total - spent - number * 3.0 * step)
        spent += 30 * step
        found = list(done(clock, chosen, "evaluate", step, 7, (14 + 2 * step) / 7))
        assert found[-1] == pytest.approx(total - spent - (14 + 2 * step))
        spent += 14 + 2 * step
    assert spent == pytest.approx(total)


def test_a_part_that_is_gone_on_with_counts_what_was_done_of_it_here(clock):
    chosen = Forecast([Part("train", 2, 10, 50), Part("evaluate", 2, 4, 8), Part("train", 3, 10, 50)], (4, 2))
    chosen.begin("train", 2, done=6)
    left = []
    for update in (7, 8, 9, 10):
        clock.now += 3.0
        left.append(chosen.left(update))
    assert left[:2] == [None, None] and left[2:] == pytest.approx([3 + 4 + 30, 4 + 30])
    chosen.end()
    assert chosen._taken["train"][0].work == pytest.approx(20)


def test_the_first_slow_update_of_a_step_does_not_frighten(clock):
    chosen = Forecast([Part("train", 1, 100, 1), Part("evaluate", 1, 4, 0)])
    chosen.begin("train", 1)
    clock.now += 60
    assert chosen.left(1) is None
    for number in (2, 3):
        clock.now += 1
        left = chosen.left(number)
    assert left == pytest.approx(97)


def test_replay_makes_later_steps_longer_and_a_resumed_run_knows_its_last_evaluation(tmp_path):
    chosen = small("replay", suite={"num_steps": 3}, train={"updates_per_step": 4})
    job.run(chosen, tmp_path / "run")
    method, tasks = job.chosen.create(chosen), job.course.read(tmp_path / "run", chosen).tasks
    steps = schedule.steps(chosen, method, tasks)
    num_answers = partial(evaluation.num_answers, chosen.evaluate)
    whole = forecast.of_run(RunDir(tmp_path / "new"), chosen, method, steps, tasks, num_answers)
    kinds = [(part.kind, part.step) for part in whole.parts]
    assert kinds == [("evaluate", 0), *((kind, n) for n in (1, 2, 3) for kind in ("train", "evaluate"))]
    sizes = [forecast._sizes(step) for step in steps]
    size = {n: forecast._mean(sizes[n - 1 : n]) for n in (1, 2, 3)}
    work = {part.step: part.work for part in whole.parts if part.kind == "train"}
    assert work[1] == pytest.approx(4 * 4 * size[1])
    assert work[3] == pytest.approx(4 * (4 * size[3] + 2 * forecast._mean(sizes[:2])))
    plain = small("sequential", suite={"num_steps": 3}, train={"updates_per_step": 4})
    alone = forecast.of_run(
        RunDir(tmp_path / "new"), plain, job.chosen.create(plain), steps, tasks, num_answers
    )
    assert [part.work for part in alone.parts if part.step == 2 and part.kind == "train"] == [16 * size[2]]
    (tmp_path / "run/steps/03/DONE").unlink()
    again = forecast.of_run(RunDir(tmp_path / "run"), chosen, method, steps, tasks, num_answers)
    assert [(part.kind, part.step) for part in again.parts] == [("train", 3), ("evaluate", 3)]
    before, (last, cost) = (scores.read_step(tmp_path / f"run/steps/0{n}/scores.json") for n in (1, 2))
    (taken,) = again._taken["evaluate"]
    assert taken.work == sum(task.n for task in last.tasks.values())
    assert taken.seconds == pytest.approx(cost.eval_seconds - before[1].eval_seconds)


# Lines


def test_without_a_terminal_lines_tell_all_and_a_table_follows_each_step(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(config.dump(small(train={"progress_seconds": 0, "updates_per_step": 7})))
    found = kpig("run", path, "--out", tmp_path / "run")
    assert found.returncode == 0, found.stderr
    lines = found.stderr.splitlines()
    numbers = r"loss \d+\.\d{3}, learning rate [\d.e-]+, [\d,]+ tokens/s"
    updates = [
        re.fullmatch(
            rf"{STAMP} step (\d)/2 kpig: train (\d)/7, {CLOCK} left, {numbers}(, whole run {CLOCK} left)?",
            line,
        )
        for line in lines
    ]
    told = [(int(one[1]), int(one[2])) for one in updates if one]
    assert told == [(step, update) for step in (1, 2) for update in range(1, 8)]
    assert all(one[3] for one in updates if one and (one[1], one[2]) > ("1", "2"))
    assert (
        sum(bool(re.fullmatch(rf"{STAMP} step \d/2 kpig: train 7/7: done in {CLOCK}, .*", x)) for x in lines)
        == 2
    )
    (time,) = [line for line in lines if line.startswith("time: about")]
    assert re.search(CLOCK, time)
    assert [line.strip() for line in lines if "scores after" in line] == [
        "scores after step 1 of 2",
        "scores after step 2 of 2",
    ]
    assert "whole run" not in found.stdout, "results to standard output, progress to standard error"
    for name in scores.read_run(tmp_path / "run/scores.json").steps[2].tasks:
        assert any(line.startswith(f"│ {name} ") for line in lines), name


def test_lines_come_no_oftener_than_is_asked_for(capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    bars = Bars()
    bars.pace(10)
    with bars.phase("work", 100):
        for _ in range(100):
            clock.now += 1
            bars.advance(note="well\x1b[2J")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and all("\x1b" not in line for line in lines)
    assert lines[0].endswith("work 1/100, 0:01:39 left, well�[2J")
    assert lines[-1].endswith("work 100/100: done in 0:01:40, well�[2J")


def test_a_phase_that_fails_is_not_done(capsys):
    with pytest.raises(ValueError), Bars().phase("work", 3):
        raise ValueError
    assert "done" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (360_000, "100:00:00")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_on_a_terminal_the_same_stands_beside_the_bars(tmp_path):
    bars, written = Bars(), io.StringIO()
    bars.console = Screen(file=written, force_terminal=True, width=110, highlight=False)
    job.run(small(train={"updates_per_step": 7}), tmp_path / "run", watch=bars)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.getvalue())
    assert re.search(
        rf"loss \d\.\d{{3}}, learning rate [\d.e-]+, [\d,]+ tokens/s, whole run {CLOCK} left", text
    )
    assert "step 2/2 kpig: train" in text and "7/7" in text and "scores after step 2 of 2" in text
    assert not re.search(STAMP, text)


def test_who_watches_changes_no_bit(tmp_path):
    chosen = small(train={"progress_seconds": 0})
    job.run(chosen, tmp_path / "watched", watch=Bars())
    job.run(chosen, tmp_path / "alone", watch=Watcher())
    one, other = (
        [{key: value for key, value in event.items() if key != "t"} for event in RunDir(path).events()]
        for path in (tmp_path / "watched", tmp_path / "alone")
    )
    assert one == other


def test_how_often_a_run_speaks_may_change_without_learning_anything_anew(tmp_path):
    assert "train.progress_seconds" in config.PORTIONS
    assert {"train.progress_seconds"} == set(
        config.differing_keys(small(train={"progress_seconds": 5}), small(train={"progress_seconds": 7}))
    )


# The table


def cells(table):
    return list(zip(*(list(column.cells) for column in table.columns), strict=True))


def test_the_table_holds_every_task_and_its_change_since_it_was_learned(tmp_path):
    found = job.run(small("sequential", suite={"num_steps": 3}), tmp_path / "run")
    learned = [[name for name in step.tasks if step.tasks[name].group == "seen"] for step in found.steps[1:]]
    new = [
        [name for name in names if all(name not in one for one in learned[:n])]
        for n, names in enumerate(learned)
    ]
    rows = {str(row[0]): row[1:] for row in cells(step_table(found.steps, new))}
    last = found.steps[-1]
    for name, task in last.tasks.items():
        since = next((n for n, names in enumerate(new, 1) if name in names), 0)
        change = task.p_score - found.steps[since].tasks[name].p_score
        told = "" if since == 3 else f"{change:+z.1f}"
        assert rows[name] == (
            f"{task.p_score:.1f}",
            f"step {since}" if since else "untuned",
            told,
            f"{task.v_score:.1f}",
        )
    assert rows["all seen"][0] == f"{last.seen.p_score:.1f}"
    assert rows["all held-out"][0] == f"{last.held_out.p_score:.1f}"
    assert len(rows) == len(last.tasks) + 2
