"""A run, and any step of it, stands where a model is asked for, and is asked as the run asks it."""

import json
import shutil
from pathlib import Path

import pytest

from kpig import config
from kpig.cli.app import Dtype, served_model
from kpig.errors import RunError
from kpig.runs import job
from kpig.runs.served import served, step_at, step_of
from kpig.scoring.predictions import read
from kpig.scoring.scores import read_evaluation, read_step
from test_cli import kpig, refused

SETTINGS = {
    "model": {"adapter": "lora", "max_length": 700, "mask_text": "~"},
    "suite": {"num_steps": 2, "num_train": 24, "num_test": 5},
    "train": {"updates_per_step": 6, "learning_rate": 3e-3},
    "method": {"name": "sequential"},
    "evaluate": {"max_new_tokens": 17, "num_gain_examples": 3, "new_wordings": False},
}


@pytest.fixture(scope="module", params=["lora", "none"])
def run(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "run"
    settings = SETTINGS | {"model": SETTINGS["model"] | {"adapter": request.param}}
    job.run(config.build(settings), folder)
    return folder


def test_eval_of_a_run_on_its_own_tasks_gives_its_own_scores(run, tmp_path):
    done = kpig("eval", run, "--tasks", run, "--out", tmp_path / "scores")
    assert done.returncode == 0, done.stderr
    own, _ = read_step(run / "steps" / "02" / "scores.json")
    found = read_evaluation(tmp_path / "scores" / "scores.json")
    assert found.tasks == own.tasks
    assert (found.seen, found.held_out) == (own.seen, own.held_out)
    assert found.all.num_tasks == own.seen.num_tasks + own.held_out.num_tasks
    assert "mean over held-out tasks" in done.stdout
    answers = {(one.task, one.example): one.response for one in read(tmp_path / "scores/predictions.jsonl")}
    for path in (run / "steps" / "02" / "predictions").glob("*.jsonl"):
        assert all(answers[one.task, one.example] == one.response for one in read(path))


def test_a_step_of_a_run_is_a_model_too_and_step_0_is_the_untuned_one(run):
    kind = "adapter" if (run / "steps/01/adapter").is_dir() else "model"
    assert served(str(run)).section.path == str(run / "steps" / "02" / kind)
    first = served(str(run / "steps" / "01"))
    assert first.section.path == str(run / "steps" / "01" / kind)
    assert (first.section.max_length, first.section.mask_text) == (700, "~")
    assert first.evaluate.max_new_tokens == 17
    assert first.clock == json.loads((run / "environment.json").read_text())["clock"]
    assert served(str(run / "steps" / "00")).section.path == "tiny"
    assert step_at(str(run / "steps" / "01" / kind)) is None


def test_a_step_is_found_from_inside_its_folder(run, monkeypatch):
    monkeypatch.chdir(run / "steps" / "01")
    assert step_at(".").number == 1
    monkeypatch.chdir(run)
    assert step_at(".").number == 2


def test_what_is_given_goes_before_what_the_run_says(run):
    changed = served_model(str(run), "suite", Dtype.BFLOAT16, 321).section
    assert (changed.dtype, changed.max_length, changed.mask_text) == ("bfloat16", 321, "~")
    plain = served_model("tiny", "suite", Dtype.FLOAT16, None).section
    assert (plain.path, plain.dtype, plain.max_length) == ("tiny", "float16", 1024)


def test_a_run_is_prompted_as_it_was_trained_and_another_model_as_the_tasks_say(run, tmp_path):
    (tmp_path / "my.toml").write_text('[model]\nmask_text = "#"\nmax_length = 99\n')
    assert served_model(str(run), str(tmp_path / "my.toml"), None, None).section.mask_text == "~"
    plain = served_model("tiny", str(tmp_path / "my.toml"), None, 77).section
    assert (plain.mask_text, plain.max_length) == ("#", 77)
    assert served_model("tiny", str(run), None, None).section.mask_text == "~"


@pytest.mark.parametrize("path", ["an/owner", "x" * 5000, "a\0b", "~nobody/x", "tiny"])
def test_what_is_no_folder_is_left_to_the_loader(path):
    assert step_at(path) is None


def test_gain_takes_a_run_and_its_mask_text(run, tmp_path):
    done = kpig("gain", run, "--tasks", run, "--probes", 2, "--json", tmp_path / "gain.json")
    assert done.returncode == 0, done.stderr
    other = tmp_path / "other.json"
    done = kpig("gain", run / "steps/01", "--tasks", run, "--probes", 2, "--mask-text", "?", "--json", other)
    assert done.returncode == 0, done.stderr
    assert json.loads(other.read_text())["tasks"] != json.loads((tmp_path / "gain.json").read_text())["tasks"]


def test_annotate_takes_a_run(run, tmp_path):
    out = tmp_path / "keyparts.json"
    given = ("suite", "--by", "gain", "--model", run, "--examples", 2, "--no-constraints", "--out", out)
    done = kpig("annotate", *given, "--dtype", "float32", "--max-length", 512)
    assert done.returncode == 0, done.stderr
    assert out.is_file()


def test_what_a_run_cannot_give_is_said(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    with pytest.raises(RunError, match="no finished step 7; finished are steps 0 to 2"):
        step_of(copy, 7)
    kind = step_of(copy).folder.name
    shutil.rmtree(copy / "steps" / "02" / kind)
    assert "steps of" in refused("eval", copy, "--tasks", "suite") and step_of(copy, 1).folder.is_dir()
    for number in (1, 2):
        (copy / "steps" / f"{number:02d}" / "DONE").unlink()
    with pytest.raises(RunError, match="no step of the run is finished yet"):
        served(str(copy))
    with pytest.raises(RunError, match="holds no run"):
        step_of(tmp_path)
