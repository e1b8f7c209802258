"""The README is true: its commands exist, its Python runs, its files are there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import prose
from forked import kpig
from test_doc_blocks import LANGUAGES, Reader, found_in, is_own
from test_style import MOST_CHARACTERS, MOST_SEMICOLONS, MOST_WORDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path):
    (code,) = blocks("python")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    p_score, forgetting = map(float, result.stdout.split())
    assert 0 <= p_score <= 100 and -100 <= forgetting <= 100
    assert len(code.strip().splitlines()) <= 12


def test_a_newcomer_who_does_what_the_readme_says_gets_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    followed = [block for block in found_in(ROOT / "README.md") if is_own(block)]
    reader = Reader(tmp_path)
    for block in followed:
        if block.language != "python":
            reader.follow(block)
    assert {block.language for block in followed} - {""} == set(LANGUAGES) - {"json"}
    scores = json.loads((tmp_path / "runs/desk/scores.json").read_text())
    assert len(scores["steps"]) == 3 and (tmp_path / "served/model.safetensors").is_file()


def test_the_readme_takes_thirty_seconds():
    """Sentences as on the pages; no wide table, and no aside inside an aside."""
    text = prose.without_code(README)
    assert prose.mean_length(README) < MOST_WORDS and prose.semicolons(README) <= MOST_SEMICOLONS
    assert prose.long_lines(README, MOST_CHARACTERS) == [] and prose.glued_lists(README) == []
    assert max(line.count("|") for line in text.splitlines()) <= 5
    assert re.findall(r"\([^()]*\([^()]*\)[^()]*\)", re.sub(r"\]\([^)]*\)", "]", text)) == []


def test_the_pictures_of_the_readme_are_there():
    named = re.findall(r'(?:srcset|src)="([^"]+)"', README)
    assert len(named) == 2 and all((ROOT / name).read_bytes().startswith(b"\x89PNG") for name in named)
    assert len(re.findall(r'alt="[^"]{40,}"', README)) == 1


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^kpig (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE)))
)
def test_every_command_of_the_readme_exists(command):
    assert kpig(command, "--help").returncode == 0


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE))
def test_every_make_target_of_the_readme_exists(target):
    result = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_file_the_readme_names_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    tree = README.split("## Where things are")[1].split("```")[1]
    modules = [f"src/kpig/{name}" for name in re.findall(r"(\w+\.py)", tree)]
    lines = re.findall(r"^  ((?:\w+/ ?)+) ", tree, flags=re.MULTILINE)
    folders = [f"src/kpig/{name}" for line in lines for name in re.findall(r"\w+", line)]
    configs = re.findall(r"examples/\w+\.toml", README)
    missing = [name for name in (*links, *modules, *folders, *configs) if not (ROOT / name).exists()]
    assert missing == [] and len(folders) > 15


def test_the_readme_lists_every_room():
    tree = README.split("## Where things are")[1].split("```")[1]
    inside = (ROOT / "src/kpig").iterdir()
    rooms = {path.name + "/" * path.is_dir() for path in inside if not path.name.startswith(("__", "py."))}
    assert rooms <= set(re.findall(r"(\w+\.py|\w+/)", tree))
