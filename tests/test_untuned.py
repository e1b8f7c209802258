"""The untuned model is asked once by runs that lie side by side, and only where nothing would differ."""

import json
import shutil

import pytest

from kpig import config
from kpig.runs import job, untuned
from kpig.runs.folder import RunDir
from kpig.scoring import answers
from kpig.sweep import plan
from test_job import without_seconds
from test_sweep import write_spec

LEAST = {
    "suite": {"num_steps": 1, "tasks_per_step": 1, "num_held_out": 1, "num_train": 8, "num_test": 2},
    "train": {"updates_per_step": 1, "batch_size": 2, "device": "cpu"},
    "evaluate": {"every": "last", "max_new_tokens": 2},
    "run": {"share_untuned": True},
}


def sharing(method="replay", **sections):
    table = {name: values | sections.pop(name, {}) for name, values in LEAST.items()}
    return config.build(table | sections | {"method": {"name": method}})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("untuned") / "first"
    job.run(sharing("sequential"), path)
    return path


@pytest.fixture
def first(made, tmp_path):
    return RunDir(shutil.copytree(made, tmp_path / "first"))


@pytest.fixture
def asked(monkeypatch):
    """The number of answers of each evaluation from now on."""
    found, inner = [], answers.score
    monkeypatch.setattr(
        answers,
        "score",
        lambda learner, probes, *rest: found.append(len(probes)) or inner(learner, probes, *rest),
    )
    return found


def told(folder):
    return [one["answers_of"] for one in RunDir(folder).events() if "answers_of" in one]


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_answers_that_are_taken_over_have_the_bits_of_those_that_are_asked(adapter, tmp_path, asked):
    given = {"model": {"adapter": adapter}}
    job.run(sharing("sequential", **given), tmp_path / "shared/first")
    whole = len(asked)
    taken = job.run(sharing("kpig", **given), tmp_path / "shared/second")
    assert len(asked) == 2 * whole - 1
    alone = job.run(sharing("kpig", **given), tmp_path / "alone/second")
    assert without_seconds(taken) == without_seconds(alone)
    assert told(tmp_path / "shared/second") == ["first"] and not told(tmp_path / "alone/second")
    files = [tmp_path / f"{where}/second/steps/00/predictions" for where in ("shared", "alone")]
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in files)
    assert one == other and one


def test_a_run_that_is_not_told_to_share_asks_by_itself(first, tmp_path):
    job.run(sharing(run={"share_untuned": False}), tmp_path / "second")
    assert not told(tmp_path / "second")


@pytest.mark.parametrize(
    "sections",
    [
        {"seed": 1},
        {"model": {"max_length": 500}},
        {"evaluate": {"max_new_tokens": 5}},
        {"evaluate": {"gain": False}},
        {"suite": {"num_test": 1}},
        {"suite": {"num_held_out": 2}},
        {"suite": {"num_steps": 2}},
    ],
    ids=str,
)
def test_what_would_change_an_answer_keeps_runs_apart(sections, first, tmp_path):
    given = sharing(**sections)
    assert given != sharing()
    job.run(given, tmp_path / "second")
    assert not told(tmp_path / "second")


@pytest.mark.parametrize(
    "sections", [{"train": {"learning_rate": 1e-5}}, {"replay": {"ratio": 1.0}}], ids=str
)
def test_how_a_run_learns_does_not(sections, first, tmp_path):
    job.run(sharing(**sections), tmp_path / "second")
    assert told(tmp_path / "second") == ["first"]


@pytest.mark.parametrize("name", [*untuned.MACHINE, "starts"])
def test_a_run_on_another_machine_is_not_asked(name, first, tmp_path):
    path = first.path / "environment.json"
    found = json.loads(path.read_text())
    assert name in found
    path.write_text(json.dumps(found | {name: [{"step": 1, "processes": 2}]}))
    job.run(sharing(), tmp_path / "second")
    assert not told(tmp_path / "second")


def damage_predictions(run):
    next((run.step(0) / "predictions").iterdir()).write_text("{}\n")


def shorten_predictions(run):
    path = next((run.step(0) / "predictions").iterdir())
    path.write_text(path.read_text().partition("\n")[0] + "\n")


def ask_otherwise(run):
    path = next((run.step(0) / "predictions").iterdir())
    path.write_text(path.read_text().replace('"prompt": "', '"prompt": "Well: '))


def lose_predictions(run):
    shutil.rmtree(run.step(0) / "predictions")


def lose_environment(run):
    (run.path / "environment.json").write_text("[")


def damage_starts(run):
    found = run.read("environment.json")
    (run.path / "environment.json").write_text(json.dumps(found | {"starts": [1]}))


def change_data(run):
    found = run.read("stream.json")
    (run.path / "stream.json").write_text(json.dumps(found | {"digest": "0"}))


def leave_unfinished(run):
    (run.step(0) / "DONE").unlink()


@pytest.mark.parametrize(
    "harm",
    [
        damage_predictions,
        shorten_predictions,
        ask_otherwise,
        lose_predictions,
        lose_environment,
        damage_starts,
        change_data,
        leave_unfinished,
    ],
)
def test_a_run_that_is_damaged_or_was_asked_otherwise_is_passed_over(harm, first, tmp_path):
    harm(first)
    job.run(sharing(), tmp_path / "second")
    assert not told(tmp_path / "second")


def test_a_link_beside_a_run_is_not_followed(first, tmp_path):
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart/link").symlink_to(first.path, target_is_directory=True)
    job.run(sharing(), tmp_path / "apart/second")
    assert not told(tmp_path / "apart/second")


def test_a_sweep_shares_unless_its_base_says_otherwise(tmp_path):
    assert all(one.config.run.share_untuned for one in plan.load(write_spec(tmp_path)).runs)
    base = {"suite": LEAST["suite"], "run": {"share_untuned": False}}
    assert not any(one.config.run.share_untuned for one in plan.load(write_spec(tmp_path, base=base)).runs)
