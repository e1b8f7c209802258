"""The documents are true: what they cite, name and link is there, and settings have the stated defaults."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kpig.config import RunConfig, Section
from kpig.methods import METHODS, chosen

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"(?m)^ {4}.*$", "", METHOD))
"""Everything in code quotes, equations left out."""

CITATION = re.compile(r"docs/method\.md(?:,\s+sections?\s+(\d+)(?:\s+(?:to|and)\s+(\d+))?)?")
SETTING = re.compile(r"((?:[a-z_]+\.)*[a-z_0-9]+) = (.+)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]*))?\)")


def sources() -> Iterator[tuple[Path, str]]:
    """Every text file of the code, its tests, scripts and benchmarks, this file aside."""
    for folder in ("src/kpig", "tests", "scripts", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml", ".j2", ".txt") and path != Path(__file__):
                yield path, path.read_text(encoding="utf-8")


def method_settings(method: str) -> type[Section]:
    """The class of the settings below [method.NAME]."""
    return chosen.load(method).Settings


def default(key: str) -> Any:
    """The default of a dotted config key; KeyError where there is no such key."""
    parts = key.split(".")
    if parts[0] == "method" and len(parts) == 3:
        return method_settings(parts[1]).model_fields[parts[2]].default
    section: Any = RunConfig()
    for part in parts:
        section = {name: getattr(section, name) for name in type(section).model_fields}[part]
    return section


def resolved(name: str) -> Any:
    """What a dotted name stands for: the longest module in it, then attributes."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def test_every_citation_of_the_method_names_a_section_that_is_there() -> None:
    sections = set(re.findall(r"(?m)^## (\d+)\. ", METHOD))
    found = [(path, match) for path, text in sources() for match in CITATION.finditer(text)]
    wrong = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path, match in found
        if not {*match.groups()} - {None}
    ]
    cited = {number for _, match in found for number in match.groups() if number}
    assert wrong == [] and len(found) > 25
    assert cited <= sections and sections == {str(number) for number in range(1, 9)}


def test_nothing_cites_a_document_that_does_not_ship() -> None:
    unshipped = re.compile(r"METHOD\.md|ARCHITECTURE\.md|STYLE\.md|docs/paper\.md")
    documents = [(path, path.read_text(encoding="utf-8")) for path in PAGES]
    assert [path.name for path, text in (*sources(), *documents) if unshipped.search(text)] == []


@pytest.mark.parametrize("name", sorted({span for span in SPANS if re.fullmatch(r"kpig(\.\w+)+", span)}))
def test_every_function_that_the_method_names_exists(name: str) -> None:
    assert callable(resolved(name))


@pytest.mark.parametrize("span", sorted({span for span in SPANS if SETTING.fullmatch(span)}))
def test_every_setting_that_the_method_names_has_the_default_it_states(span: str) -> None:
    key, value = span.split(" = ")
    assert default(key) == tomllib.loads(f"value = {value}")["value"]


def test_the_method_states_the_default_of_every_setting_of_kpig() -> None:
    stated = {span.split(" = ")[0] for span in SPANS if SETTING.fullmatch(span)}
    assert {f"method.kpig.{name}" for name in method_settings("kpig").model_fields} <= stated


@pytest.mark.parametrize(
    "span", sorted({s for s in SPANS if re.fullmatch(r"(method|train|evaluate)(\.\w+)+", s)})
)
def test_every_setting_that_the_method_names_without_a_default_exists(span: str) -> None:
    default(span)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT / "docs")))
def test_every_link_and_every_test_or_script_that_a_document_names_is_there(page: Path) -> None:
    """Files that a reader is told to make are not looked for: the page on adding a method has such.

    Pages that are made when the site is built (reference/) are looked for by its own strict build.
    """
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"`tests/test_recall\.py`", "", text) if page.name == "add-a-method.md" else text
    targets = [target for target, _ in LINK.findall(text) if "://" not in target]
    links = [page.parent / target for target in targets if "reference/" not in target]
    files = [
        ROOT / name for name in re.findall(r"`?\b((?:tests|scripts|benchmarks|examples)/[\w-]+\.\w+)", text)
    ]
    assert [str(path) for path in (*links, *files) if not path.exists()] == []


def test_every_entry_of_the_log_that_a_docstring_names_is_there() -> None:
    entries = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "log").glob("*.md"))]
    titles = [line for text in entries for line in text.splitlines() if line.startswith("## ")]
    named = {name for _, text in sources() for name in re.findall(r'docs/LOG\.md,\s+"([^"]+)"', text)}
    assert named and all(any(name in title for title in titles) for name in named)


def test_the_index_of_the_log_names_every_entry_once() -> None:
    index = " ".join((ROOT / "docs" / "LOG.md").read_text(encoding="utf-8").split())
    for path in sorted((ROOT / "docs" / "log").glob("*.md")):
        assert index.count(f"](log/{path.name})") == 1
        for title in re.findall(r"(?m)^## (.*)$", path.read_text(encoding="utf-8")):
            assert index.count(f"- {title}") == 1, title


def test_every_method_has_its_row_on_the_page_of_methods_and_what_it_was_verified_against() -> None:
    page = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| \[(\w+)\]\(#(\w+)\) \|", page)
    headings = set(re.findall(r"(?m)^##+ (\w+)$", page))
    assert sorted(name for name, _ in rows) == sorted(METHODS)
    assert {place.capitalize() if place == "bounds" else place for _, place in rows} <= headings
    assert page.count("**Verified**") >= len(METHODS) - 4


def test_every_page_that_the_code_names_is_there() -> None:
    named = {name for _, text in sources() for name in re.findall(r"\bdocs/[\w/-]+\.md\b", text)}
    assert len(named) > 8 and sorted(name for name in named if not (ROOT / name).exists()) == []


def ladder_tokens() -> dict[str, float]:
    """Tokens of every method on the ladder's pages, a forward one counted a third, in thousands."""
    lora, ladder = (
        (ROOT / "docs/results" / name).read_text(encoding="utf-8") for name in ("ladder-lora.md", "ladder.md")
    )
    apart = re.findall(r"(?m)^\| (\w+)(?: \([^|]*\))? \|.*\| (\d+) \+ (\d+) k \|$", lora)
    both = re.findall(r"(?m)^\| (\w+)(?: \([^|]*\))? \|.*\| (\d+) \|$", ladder)
    found = {name: int(trained) + int(read) / 3 for name, trained, read in apart}
    return found | {name: float(tokens) for name, tokens in both}


def test_the_costs_on_the_page_of_choosing_are_those_of_the_ladder() -> None:
    page = (ROOT / "docs" / "choose.md").read_text(encoding="utf-8")
    tokens = ladder_tokens()
    rows = re.findall(r"(?m)^\|[^|]*\| (`[^|]*`) \| ([\d., ]+) \|", page)
    stated = {
        name: float(cost)
        for names, costs in rows
        for name, cost in zip(re.findall(r"`(\w+)`", names), costs.split(", "), strict=True)
    }
    assert len(stated) > 7
    assert stated == {name: round(tokens[name] / tokens["sequential"], 1) for name in stated}


def test_the_overview_of_results_has_no_number_that_its_pages_have_not() -> None:
    def numbers(path: Path) -> set[str]:
        table = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        text = "\n".join(table) if path.name == "results.md" else path.read_text(encoding="utf-8")
        return set(re.findall(r"\d+(?:\.\d+)?", text))

    pages = (ROOT / "docs" / "results").glob("*.md")
    assert numbers(ROOT / "docs" / "results.md") <= set().union(*map(numbers, pages))


def test_every_extra_is_on_the_page_of_installing() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = " ".join(re.findall(r"(?m)^\| (`[^|]*) \|", page))
    assert [name for name in extras if f"`{name}`" not in rows] == []
