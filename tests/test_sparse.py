"""Runs that score some of their steps: what is there equals a full run, what is not is said to be missing."""

import json
import shutil

import pytest

from kpig import compare, config, report
from kpig.errors import ConfigError, RunError
from kpig.records import HELD_OUT, LATER, NEW_WORDING, SEED_WORDING, SEEN, Task
from kpig.report import grid
from kpig.report.answered import Answered
from kpig.report.record import read_begun, read_run
from kpig.runs import course, forecast, gate, job, schedule
from kpig.runs.folder import RunDir
from kpig.scoring import answers, metrics, probing, scores
from test_continue import MEASURED, write_months

EVERY = ("step", "last", 2, 3)
SCORED = {"step": [0, 1, 2, 3, 4], "last": [0, 4], 2: [0, 2, 4], 3: [0, 3, 4]}


def configured(months, every, which="whole", **evaluate):
    return config.build(
        {
            "seed": 3,
            "stream": {"path": str(months[which]), "held_out": str(months["held"])},
            "train": {"updates_per_step": 2, "batch_size": 2},
            "method": {"name": "sequential"},
            "evaluate": {**MEASURED, "every": every, **evaluate},
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The same run of four steps, scored after all steps and after some."""
    folder = tmp_path_factory.mktemp("sparse")
    months = write_months(folder)
    return (
        months,
        {every: folder / f"run-{every}" for every in EVERY},
        {every: job.run(configured(months, every), folder / f"run-{every}") for every in EVERY},
    )


def test_a_step_is_due_as_the_setting_says_and_the_ends_always():
    for every, due in SCORED.items():
        settings = config.EvaluateSection(every=every)
        assert [number for number in range(5) if settings.is_due(number, 4)] == due
    assert [n for n in range(8) if config.EvaluateSection(every=3).is_due(n, 7)] == [0, 3, 6, 7]
    assert [n for n in range(3) if config.EvaluateSection(every=9).is_due(n, 2)] == [0, 2]


@pytest.mark.parametrize("given", [0, -1, "never", 1.5, True])
def test_other_values_are_refused(given):
    with pytest.raises(ConfigError, match=r"every"):
        config.build({"evaluate": {"every": given}})


@pytest.mark.parametrize("every", EVERY)
def test_what_is_scored_equals_a_full_run_and_nothing_else_is(every, made):
    _, folders, results = made
    full, found = results["step"], results[every]
    for whole, step in zip(full.steps, found.steps, strict=True):
        if step.step in SCORED[every]:
            assert step == whole
        else:
            assert (step.seen, step.later, step.held_out, step.tasks) == (None, None, None, {})
            assert not (RunDir(folders[every]).step(step.step) / "predictions").exists()
    expected = [row if t in SCORED[every] else (None,) * 4 for t, row in enumerate(full.matrix)]
    assert list(found.matrix) == expected
    assert found.final.seen == full.final.seen and found.final.average == full.final.average
    assert (found.cost.updates, found.cost.train_tokens) == (full.cost.updates, full.cost.train_tokens)
    assert scores.read_run(folders[every] / "scores.json") == found


def test_transfer_is_not_made_up_of_what_was_not_scored(made):
    _, _, results = made
    last, second, full = (results[every] for every in ("last", 2, "step"))
    final = last.final
    assert (final.forgetting, final.backward_transfer, final.forward_transfer) == (None, None, None)
    matrix = full.matrix
    assert second.final.backward_transfer == matrix[4][1] - matrix[2][1]
    assert second.final.forgetting == max(matrix[2][1], matrix[4][1]) - matrix[4][1]
    assert second.final.forward_transfer == matrix[2][2] - matrix[0][2]


def test_forgetting_needs_a_score_from_when_a_step_was_learned():
    untold = ((0.0, 0.0, 0.0), (None, None, None), (70.0, 60.0, None), (50.0, 40.0, 30.0))
    assert metrics.forgetting(untold) == 60 - 40
    only_last = ((0.0, 0.0), (None, None), (50.0, 40.0))
    assert metrics.forgetting(only_last) is None
    assert metrics.average(only_last) == 45.0


@pytest.mark.parametrize("every", ["last", 2])
def test_the_report_says_which_steps_have_no_scores_and_knows_when_a_task_was_learned(every, made, tmp_path):
    _, folders, _ = made
    full, found = (grid.grid(read_run(folders[one]), Answered({})) for one in ("step", every))
    assert [(row.name, row.learned) for row in found.tasks] == [(r.name, r.learned) for r in full.tasks]
    report.write([read_run(folders[every])], tmp_path)
    missing = [str(n) for n in range(5) if n not in SCORED[every]]
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert f"no task was scored after {len(missing)} of 4 steps" in text
        assert ", ".join(missing[:2]) in text
    report.write([read_run(folders["step"])], tmp_path / "full")
    assert "no task was scored" not in (tmp_path / "full/report.md").read_text()


def test_a_task_without_a_place_in_the_stream_file_counts_from_where_it_was_scored(made, tmp_path):
    _, folders, _ = made
    shutil.copytree(folders[2], tmp_path / "run")
    (tmp_path / "run/stream.json").write_text(json.dumps({"steps": [{}] * 4}))
    found = {row.name: row.learned for row in grid.grid(read_run(tmp_path / "run"), Answered({})).tasks}
    assert found == {"first": 2, "last": 2, "count": 4, "echo": 4, "held": 0}


@pytest.mark.parametrize(("every", "num_done"), [("last", 1), ("last", 3), (2, 3), (3, 3)])
def test_an_unfinished_run_is_shown_as_far_as_it_was_scored(every, num_done, made, tmp_path):
    _, folders, _ = made
    run = tmp_path / "run"
    shutil.copytree(folders[every], run)
    (run / "scores.json").unlink()
    for number in range(num_done + 1, 5):
        shutil.rmtree(run / f"steps/{number:02d}")
    found = read_begun(run)
    assert [step.step for step in found.scores.steps] == list(range(num_done + 1))
    assert [any(one is not None for one in row) for row in found.scores.matrix] == [
        number in SCORED[every] for number in range(num_done + 1)
    ]
    report.write([found], tmp_path / "page")
    assert "no task was scored" in (tmp_path / "page/report.md").read_text()


def test_a_run_that_was_killed_after_an_unscored_step_goes_on_to_the_same_scores(made, tmp_path):
    months, folders, results = made
    run = tmp_path / "run"
    shutil.copytree(folders[3], run)
    (run / "scores.json").unlink()
    for number in (2, 3, 4):
        shutil.rmtree(run / f"steps/{number:02d}")
    again = job.run(configured(months, 3), run, resume=True)
    assert (again.steps, again.matrix) == (results[3].steps, results[3].matrix)


def test_a_run_that_goes_on_scores_its_new_last_step(made, tmp_path):
    months, _, results = made
    first = job.run(configured(months, "last", "old"), tmp_path / "run")
    assert [bool(step.tasks) for step in first.steps] == [True, False, False, True]
    grown = job.extend(tmp_path / "run", str(months["new"]))
    assert [bool(step.tasks) for step in grown.steps] == [True, False, False, True, True]
    assert grown.final.seen == results["step"].final.seen
    assert course.configuration(tmp_path / "run").evaluate.every == "last"


def test_the_gate_holds_a_step_against_the_one_scored_before_it(made):
    _, folders, _ = made
    assert {one.since for one in gate.judge(folders["step"]).changes} == {0, 3}
    assert {one.since for one in gate.judge(folders[2]).changes} == {0, 2}
    assert {one.since for one in gate.judge(folders["last"]).changes} == {0}
    full, found = (
        {(c.task, c.since): (c.before, c.now, c.error) for c in gate.judge(folders[one]).changes}
        for one in ("step", "last")
    )
    assert found.items() <= full.items()
    with pytest.raises(RunError, match=r"step 3 cannot be judged: no task was scored after it"):
        gate.judge(folders["last"], step=3)


def test_a_comparison_says_what_is_missing_and_refuses_a_mix(made, tmp_path):
    months, folders, _ = made
    other = configured(months, 2).model_copy(update={"method": config.MethodSection(name="replay")})
    job.run(other, tmp_path / "replay")
    found = compare.compare([folders[2], tmp_path / "replay"])
    (told,) = [note for note in found.notes if "no task was scored" in note]
    assert "2 of 4 steps" in told and "1, 3" in told
    page = compare.write(found, tmp_path / "page")
    assert "no task was scored after 2 of 4 steps" in page.read_text()
    with pytest.raises(RunError, match=r"evaluate\.every"):
        compare.compare([folders["step"], tmp_path / "replay"])


def test_what_is_left_to_do_counts_only_steps_that_are_scored(made, tmp_path):
    months, _, _ = made
    chosen = configured(months, 3)
    method = job.chosen.create(chosen)
    tasks = course.read(tmp_path / "new", chosen).tasks
    steps = schedule.steps(chosen, method, tasks)
    left = forecast.of_run(RunDir(tmp_path / "new"), chosen, method, steps, tasks, lambda task: 1)
    assert [(part.kind, part.step) for part in left.parts if part.kind == "evaluate"] == [
        ("evaluate", 0),
        ("evaluate", 3),
        ("evaluate", 4),
    ]


# Half-listening on some examples


def probes_of(make_example, counts):
    """Probes of tasks with so many examples; every third has no key part."""
    found = []
    for name, count in counts.items():
        examples = [
            make_example("Sort {them}." if number % 3 != 1 else "Sort them.", task=name)
            for number in range(count)
        ]
        task = Task(name, (), (), tuple(examples), "exact")
        found += [probing.Probe(task, one, SEEN, SEED_WORDING) for one in examples]
        found += [probing.Probe(task, one, SEEN, NEW_WORDING) for one in examples[:2]]
    return found


@pytest.mark.parametrize(
    ("most", "expected"), [(0, [5, 1, 0]), (1, [1, 1, 0]), (3, [3, 1, 0]), (99, [5, 1, 0])]
)
def test_so_many_masked_twins_of_a_task_are_answered_the_first_ones(
    most, expected, make_example, make_learner
):
    probes = probes_of(make_example, {"long": 7, "short": 1, "none": 0})
    settings = config.EvaluateSection(num_half_listening=most, max_new_tokens=3, gain=False)
    done = []
    found = answers.score(make_learner("llama"), probes, settings, done.append)
    masked = [one for one in found if one.masked_response is not None]
    assert [sum(one.task == name for one in masked) for name in ("long", "short", "none")] == expected
    assert sum(done) == answers.num_answers(probes, settings) == len(probes) + len(masked)
    assert all(one.wording == SEED_WORDING for one in masked)
    everything = answers.score(
        make_learner("llama"), probes, settings.model_copy(update={"num_half_listening": 0})
    )
    for some, whole in zip(found, everything, strict=True):
        assert some.response == whole.response
        assert some.masked_response in (None, whole.masked_response)


def test_a_score_of_nothing_says_so():
    empty = scores.step_scores(3, [], [])
    assert [empty.group(name) for name in (SEEN, LATER, HELD_OUT)] == [None] * 3
