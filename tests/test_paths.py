"""Paths as users give them: links in circles and homes of nobody are words, never tracebacks."""

import re
from pathlib import Path

import pytest

import kpig
from forked import kpig as command
from kpig.files import true_path

RAISING = re.compile(r"\.(?:resolve|expanduser)\(\)")
"""Of pathlib: RuntimeError for a link in a circle, and for the home of a user that nobody is."""


@pytest.fixture
def circle(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path / "circle"


def test_a_true_path_follows_links_and_never_raises(tmp_path, circle, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    assert true_path(tmp_path / "b" / "c") == (tmp_path / "a" / "c").resolve()
    assert true_path("~/a") == (tmp_path / "a").resolve()
    assert true_path(circle).name == "circle"
    assert true_path("~nobody-of-this-name/a").name == "a"


def test_the_package_has_one_way_to_follow_a_path():
    found = [
        f"{path.name}: {line.strip()}"
        for path in Path(kpig.__file__).parent.rglob("*.py")
        for line in path.read_text().splitlines()
        if RAISING.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    "words",
    [
        ("check", "{}"),
        ("show", "{}"),
        ("report", "{}"),
        ("compare", "{}"),
        ("annotate", "{}"),
        ("run", "--tasks", "suite", "--out", "{}"),
        ("pretrain", "--tasks", "nothing.jsonl", "--out", "{}"),
        ("eval", "tiny", "--tasks", "{}"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("kind", ["circle", "nobody"])
def test_a_path_that_leads_nowhere_is_a_message(words, kind, circle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(circle) if kind == "circle" else "~nobody-of-this-name/place"
    done = command(*(word.format(path) for word in words))
    assert "Traceback" not in done.stderr + done.stdout
    if kind == "circle":
        assert done.returncode in (1, 2), done.stdout + done.stderr
