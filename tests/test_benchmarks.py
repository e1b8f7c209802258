"""Every sweep of benchmarks/ can be planned: its settings are sound, and its runs differ."""

import tomllib
from pathlib import Path

import pytest

from kpig.sweep import plan

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SPECS = [path for path in sorted(BENCHMARKS.glob("*.toml")) if "methods" in tomllib.loads(path.read_text())]
NUM_RUNS = {
    "smollm2": 30,
    "smollm2-wordings": 12,
    "smollm2-parts": 15,
    "smollm2-amounts": 15,
    "smollm2-diverse": 12,
    "smollm2-short": 48,
    "smollm2-search": 8,
    "smollm2-all": 52,
    "smollm2-ablations": 19,
    "smollm2-full": 10,
    "smollm2-whole": 4,
    "smollm2-lighter": 12,
    "smollm2-fresh": 24,
}
"""Those that a spec's first lines state."""


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_spec_can_be_planned(path, monkeypatch):
    """Models and streams are not looked at: they are made by commands that the specs name."""
    monkeypatch.setattr(plan, "source_problems", lambda runs: {})
    runs = plan.load(path).runs
    assert len(runs) == len({run.name for run in runs}) > 0
    if path.stem in NUM_RUNS:
        head = " ".join(line.lstrip("# ") for line in path.read_text().partition("\n\n")[0].splitlines())
        assert len(runs) == NUM_RUNS[path.stem] and f"{len(runs)} runs" in head
