"""The README is true: its commands exist, its Python runs, its files are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from forked import kpig

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
