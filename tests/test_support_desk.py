"""The page of the support desk, followed word for word, only with fewer passes and shorter answers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "support-desk.md").read_text(encoding="utf-8")


def commands():
    """The lines of the page's shell blocks; after so few passes the gate may find that a task was lost."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    return [f"{line} || [ $? = 1 ]" if line.startswith("kpig gate") else line for line in lines]


def test_four_months_from_the_page_alone(tmp_path):
    folder = tmp_path / "examples" / "support-desk"
    shutil.copytree(ROOT / "examples" / "support-desk", folder)
    text = (folder / "desk.toml").read_text(encoding="utf-8")
    for written, less in (("epochs = 8\n", "epochs = 0.2\n"), ("max_new_tokens = 32", "max_new_tokens = 4")):
        assert written in text
        text = text.replace(written, less)
    (folder / "desk.toml").write_text(text, encoding="utf-8")
    meant = {"kpig": "-m kpig", "python": ""}
    shown = [f'{name}() {{ "{sys.executable}" {more} "$@"; }}' for name, more in meant.items()]
    script = "\n".join(["set -e", *shown, *commands()])
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    scores = json.loads((folder / "runs/desk/scores.json").read_text())
    assert len(scores["steps"]) == 5 and (folder / "served/model.safetensors").is_file()
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 40
    assert "constraints of 6 tasks" in done.stdout


def test_the_same_files_every_time(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command = [sys.executable, str(ROOT / "examples/support-desk/make.py"), str(tmp_path / name)]
        subprocess.run(command, check=True)
    first, second = (
        {one.name: one.read_bytes() for one in (tmp_path / name).iterdir()} for name in ("a", "b")
    )
    assert first == second and len(first) == 4
    rows = [json.loads(line) for text in first.values() for line in text.decode().splitlines()]
    assert len(rows) == 800 and len({row["task"] for row in rows}) == 8
