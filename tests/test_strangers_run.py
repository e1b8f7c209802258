"""A run folder of someone else: nothing that it names is imported, whatever shows, judges or compares it."""

import html
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from kpig import report
from kpig.compare import answers, page
from kpig.compare.comparison import compare
from kpig.errors import RunError
from kpig.records import SEED_WORDING, SEEN, Example, Instruction, OwnScore, Task
from kpig.runs import gate, kept
from kpig.scoring import metrics, predictions
from kpig.scoring.judge import judge

OLD_RUN = Path(__file__).parent / "golden" / "old_run"
OWN = "strangers:metric"


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """A module on the path that must not be imported, and a run of which every file names it."""
    (tmp_path / "strangers.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(OLD_RUN, run)
    for path in run.rglob("scores.json"):
        path.write_text(re.sub('"metric": "[^"]*"', f'"metric": "{OWN}"', path.read_text()))
    yield run
    assert "strangers" not in sys.modules


def with_scores(run, value):
    for path in run.rglob("predictions/*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        own = {"own_score": {"metric": OWN, "value": value}}
        path.write_text("".join(json.dumps(one | own) + "\n" for one in rows))


def test_its_report_and_its_comparison_import_nothing(strangers, tmp_path):
    found = html.unescape(Path(report.write([report.read_run(strangers)], tmp_path / "page")).read_text())
    assert f"no page imports {OWN}, a metric of your own, and the predictions keep no score" in found
    found = compare([strangers])
    page.write(found, tmp_path / "compared")
    assert f"no page imports {OWN}" in answers.read(found.lines).notes[0]


def test_the_gate_judges_by_scores_that_were_kept_or_not_at_all(strangers, tmp_path):
    with pytest.raises(RunError, match="keep no score of it"):
        gate.judge(strangers)
    with_scores(strangers, 0.25)
    assert {one.now for one in gate.judge(strangers).changes} == {25.0}
    found = html.unescape(Path(report.write([report.read_run(strangers)], tmp_path / "page")).read_text())
    assert "no page imports" not in found
    with_scores(strangers, 25.0)
    with pytest.raises(RunError, match="keep no score of it"):
        gate.judge(strangers)


def test_a_task_that_it_keeps_is_read_without_its_metric(strangers):
    task = Task("t", (Instruction("Say."),), (), (), OWN)
    kept.write(strangers / "steps/01", [task])
    assert kept.read(strangers / "steps/01", "t") == task
    path = next((strangers / "steps/01/tasks").iterdir())
    path.write_text(path.read_text().replace(OWN, "strangers"))
    with pytest.raises(RunError, match="there is no metric 'strangers'"):
        kept.read(strangers / "steps/01", "t")


def test_a_metric_of_ones_own_is_asked_once_and_its_score_kept(tmp_path, monkeypatch):
    (tmp_path / "of_mine.py").write_text(
        "calls = []\ndef length(response, references):\n    calls.append(1)\n    return len(response) / 10\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    seed = Instruction("Say.")
    for metric, expected in (("of_mine:length", OwnScore("of_mine:length", 0.5)), ("exact", None)):
        task = Task("t", (seed,), (), (), metric)
        example = Example("t-1", "t", seed, "a", ("b",))
        found = judge(task, example, "12345", group=SEEN, wording=SEED_WORDING, prompt="p")
        assert found.own_score == expected
        predictions.write(tmp_path / "p.jsonl", [found])
        assert list(predictions.read(tmp_path / "p.jsonl")) == [found]
        assert ("own_score" in (tmp_path / "p.jsonl").read_text()) == (expected is not None)
        assert metrics.task_scores([found], {"t": metric})["t"].p_score == (50 if expected else 0)
        assert metrics.shown_scores([found], metric) == [0.5 if expected else 0]
    assert sys.modules["of_mine"].calls == [1]
