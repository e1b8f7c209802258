"""What those need who cite, contribute or report: true, short, and naming what is there."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = ("CONTRIBUTING.md", "SECURITY.md")


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_names_is_there(name):
    text = page(name)
    links = [one for one in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in one]
    files = re.findall(r"`((?:\.ci|src|tests|docs|scripts)/[\w./-]+|\w+\.md)`", text)
    places = [(one, re.sub("^src/(?!kpig)", "src/kpig/", one)) for one in (*links, *files)]
    assert [one for one, place in places if not (ROOT / place).exists()] == []
    for module in re.findall(r"`(kpig(?:\.\w+)+)`", text):
        parent, _, last = module.rpartition(".")
        assert hasattr(importlib.import_module(parent), last) or importlib.import_module(module)
    targets = re.findall(r"(?m)^(\w+):", page("Makefile"))
    assert set(re.findall(r"`?make (\w+)`? ", text)) <= set(targets)
    assert max(map(len, text.splitlines())) <= 100


def test_the_laws_that_are_stated_are_tested():
    text = page("CONTRIBUTING.md")
    named = re.findall(r"(?:tests/)?(test_\w+\.py)", text)
    assert len(named) > 7 and [one for one in named if not (ROOT / "tests" / one).is_file()] == []


def test_security_is_said_in_ten_lines():
    lines = [line for line in page("SECURITY.md").splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 10 and "**Trusted**" in lines[0] and any("**Not trusted**" in one for one in lines)


def test_what_security_says_of_defaults_and_pickle_is_so():
    from kpig.config import ModelSection

    assert ModelSection().trust_remote_code is False
    between_processes = {ROOT / "src/kpig/ranks/message.py", ROOT / "src/kpig/testing/several.py"}
    others = set((ROOT / "src").rglob("*.py")) - between_processes
    sources = "\n".join(path.read_text(encoding="utf-8") for path in others)
    assert "between the processes of one job" in page("SECURITY.md")
    assert not re.search(r"torch\.load\(|import pickle|pickle\.loads?\(", sources)


def test_the_citation_names_this_version_and_the_paper():
    found = yaml.safe_load(page("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert (found["version"], found["license"]) == (PROJECT["version"], PROJECT["license"])
    (paper,) = found["references"]
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert paper["title"] in " ".join(method.split())
    assert paper["year"] == 2025 and paper["url"] == PROJECT["urls"]["Paper"]
    assert paper["authors"][0] == {"family-names": "He"}
