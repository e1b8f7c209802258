"""The docs site: its reference is made from the code, it needs no network, and make builds it strictly."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from kpig.cli.commands import COMMANDS
from kpig.config import RunConfig, settings_of
from kpig.scoring.meanings import MEANINGS
from kpig.sweep.spec import Setting, Spec

ROOT = Path(__file__).parents[1]
MADE = ("commands", "config", "scores", "api")
pytest.importorskip("mkdocs", reason="the site is built by make docs, which installs mkdocs")


def hook():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "scripts" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = hook()


def test_every_command_and_option_is_on_the_page_of_commands():
    page = site.commands_page()
    assert all(f"## `kpig {name}`" in page for name in COMMANDS)
    assert "[bold]" not in page and "`--max-drop <float range>`" in page


def test_every_key_is_on_the_page_of_the_configuration():
    page = site.config_page()
    for name in settings_of(RunConfig()):
        table, _, key = name.rpartition(".")
        part = page.split(f"## `[{table}]`\n" if table else "## Above all tables\n")[1].split("\n## ")[0]
        assert f"| `{key}` |" in part, name
    assert "doubles the generation time" in page and "`[method.ewc]`" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"\|", row)) for row in rows} == {6, 4}
    spec = page.split("## The spec of a sweep")[1]
    assert all(f"| `{name}` |" in spec for name in (*Spec.model_fields, *Setting.model_fields))


def test_every_score_is_on_the_page_of_scores():
    page = site.scores_page()
    assert all(f"{{ #{key} }}" in page and one.formula in page for key, one in MEANINGS.items())


def test_every_name_of_the_package_is_on_the_page_for_python():
    import kpig

    page = site.api_page()
    assert all(f"## `kpig.{name}`" in page for name in kpig.__all__ if not name.startswith("_"))
    assert f"::: {kpig.run.__module__}.run\n" in page and "::: kpig.testing" in page


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="https://cdn.example/x.js"></script>', 1),
        ("<script async src=//cdn.example/x.js></script>", 1),
        ('<link rel="stylesheet" href="https://fonts.example/a.css">', 1),
        ('<link href="https://fonts.example" rel="preconnect">', 1),
        ("a { background: url(https://x.example/a.png) }", 1),
        ('@import "//x.example/a.css";', 1),
        ('<img alt="a" src="http://x.example/a.png">', 1),
        ('<a href="https://example.org">a link that is followed only when it is clicked</a>', 0),
        ('<script src="assets/a.js"></script><link rel="stylesheet" href="../a.css">', 0),
        ('<link rel="canonical" href="https://example.org/">', 0),
    ],
)
def test_what_a_browser_would_fetch_is_seen(text, found):
    assert len(site.fetched(text)) == found


def test_make_builds_it_with_warnings_as_errors_and_the_gate_makes_it():
    done = subprocess.run(["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "mkdocs build --strict" in done.stdout
    assert "make docs" in (ROOT / ".ci" / "run").read_text()


def test_every_page_is_in_the_navigation_once():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"([\w./-]+\.md)$", text.partition("\nnav:")[2], re.MULTILINE)
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(named) == sorted([*pages, *(f"reference/{name}.md" for name in MADE)])


def test_what_the_site_needs_is_an_extra_with_pins():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = (ROOT / "constraints.txt").read_text().lower()
    assert all(re.split("[<>=]", one)[0].lower() + "==" in pins for one in extras["docs"])
