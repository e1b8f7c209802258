"""What a run records of where it ran: the commit of a checkout, and nothing where there is none."""

import subprocess
from pathlib import Path

import pytest

import kpig
from kpig import config
from kpig.runs import environment

ROOT = Path(__file__).parents[1]


def recorded():
    return environment.of_run(config.build({}), {}, "2026-11-26T00:00:00", "float32")


def test_the_commit_of_a_checkout_is_recorded():
    if not (ROOT / ".git").exists() or not Path(kpig.__file__).is_relative_to(ROOT):
        pytest.skip("kpig is no checkout here")
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert recorded()["commit"] == head.stdout.strip()


def test_a_package_without_a_checkout_has_no_commit_even_inside_another_repository(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    package = tmp_path / "venv" / "lib" / "site-packages" / "kpig" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.touch()
    monkeypatch.setattr(kpig, "__file__", str(package))
    assert recorded()["commit"] is None
