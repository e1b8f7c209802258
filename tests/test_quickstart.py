"""The first five minutes: what `kpig quickstart` compares, and that it takes up where it was."""

from pathlib import Path

from kpig import config, report
from kpig.cli import quickstart

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_example_config_of_the_suite_is_the_quickstart():
    assert config.load(EXAMPLES / "suite.toml") == config.build(quickstart.SETTINGS)


def test_both_methods_run_on_equal_terms_and_again_without_work(tmp_path, monkeypatch):
    monkeypatch.setitem(
        quickstart.SETTINGS, "suite", {"num_steps": 2, "num_train": 16, "num_test": 2, "num_held_out": 1}
    )
    monkeypatch.setitem(quickstart.SETTINGS, "train", {"updates_per_step": 2, "batch_size": 4})
    records = quickstart.run(tmp_path)
    assert [record.name for record in records] == ["sequential", "kpig"]
    assert len({record.stream["digest"] for record in records}) == 1
    assert len({record.scores.cost.updates for record in records}) == 1
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert [record.scores for record in quickstart.run(tmp_path)] == [record.scores for record in records]
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert report.write(records, tmp_path).name == "report.html"
