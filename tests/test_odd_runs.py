"""Runs of other versions, half done, damaged or linked: each is shown, compared, or refused in a sentence."""

import json

import pytest

from kpig import config, report
from kpig.compare import answers
from kpig.compare.comparison import compare
from kpig.errors import RunError
from kpig.report import unfinished
from kpig.runs.places import runs_at
from kpig.tasks.constraints import UNDECIDED
from kpig.view.shelf import Shelf
from test_compare import write_run
from test_report import going_on, prediction

LEARNED = (("a",), ("b",), ("c",), ("d",))


def of_version(folder, seed, share, p_seen):
    """A run of kpig at the default of its version."""
    run = write_run(
        folder, seed=seed, p_seen=p_seen, environment={"method_defaults": {"method.kpig.twin_share": share}}
    )
    table = {"seed": seed, "method": {"name": "kpig", "kpig": {"twin_share": share}}}
    (run / "config.toml").write_text(config.dump(config.build(table)))


def test_runs_at_defaults_that_differ_by_version_are_lines_of_their_own(tmp_path):
    for seed in range(3):
        of_version(tmp_path / f"old{seed}", seed, 1.0, 50.0)
        of_version(tmp_path / f"new{seed}", seed, 0.25, 80.0)
    found = compare([tmp_path])
    assert {line.label: len(line.runs) for line in found.lines} == {
        "kpig twin_share=0.25": 3,
        "kpig twin_share=1.0": 3,
    }


@pytest.mark.parametrize("moment", ["1e400", "NaN", "-Infinity", '"now"', "true"])
def test_a_moment_that_is_none_hides_no_run(tmp_path, moment):
    run = going_on(tmp_path / "runs/going", 2, LEARNED)
    other = write_run(tmp_path / "runs/other")
    (run / "events.jsonl").write_text(f'{{"t": {moment}, "step": 3, "update": 1, "loss": 1.0}}\n')
    assert "s ago" not in unfinished.read_unfinished(run).sentence
    shelf = Shelf([tmp_path / "runs"])
    states = [shelf.state(one) for one in shelf.runs()]
    assert len(states) == 2 and all(one.last is None for one in states), other


@pytest.mark.parametrize("text", ['seed = "x"', 'method = "kpig"', "seed = [1]", "seed = true"])
def test_a_config_of_another_shape_is_told_by_its_file(tmp_path, text):
    run = going_on(tmp_path / "run", 2, LEARNED)
    (run / "config.toml").write_text(text + "\n")
    with pytest.raises(RunError, match=r"config.toml: cannot be read: expected a table \[method\]"):
        report.read_begun(run)


def test_a_link_to_a_run_is_compared_once_and_not_followed_to_be_served(tmp_path):
    write_run(tmp_path / "runs/here")
    outside = write_run(tmp_path / "elsewhere", seed=1)
    (tmp_path / "runs/linked").symlink_to(outside)
    (tmp_path / "runs/again").symlink_to(tmp_path / "runs/here")
    names = [one.name for one in runs_at(tmp_path / "runs", links=True)]
    assert names == ["here", "linked"]
    assert [one.name for one in runs_at(tmp_path / "runs")] == ["here"]
    assert sum(len(line.runs) for line in compare([tmp_path / "runs"]).lines) == 2


def test_a_rule_without_a_verdict_is_not_shown_as_broken():
    one = prediction("t", "seen", 0, False, violations=("out_of_scope", UNDECIDED))
    found = answers._answer(one)
    assert found["violations"] == ["out of scope"] and found["undecided"] is True
    assert "undecided" not in answers._answer(prediction("t", "seen", 0, True))
    assert json.dumps(found)
