"""The page docs/ship.md is followed word for word: each of its commands runs, in the order of the page."""

import json
import os
import re
import shlex
from pathlib import Path

from forked import kpig

PAGE = (Path(__file__).parents[1] / "docs" / "ship.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_run_one_after_the_other(tmp_path):
    blocks = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S))
    commands = blocks.replace("\\\n", " ").splitlines()
    (rows,) = re.findall(r"```\n(\{.*?)```", PAGE, re.S)
    assert len(commands) == 10 and all(line.startswith("kpig ") for line in commands)
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "questions.jsonl").write_text(rows)
    for line in commands:
        done = kpig(*shlex.split(line)[1:], first=lambda: os.chdir(tmp_path))
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [one.keys() for one in answers] == [{"task", "example", "prompt", "response", "finished"}] * 2
    assert "Norway" in answers[0]["prompt"] and "Peru" in answers[1]["prompt"]
