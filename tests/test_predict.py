"""Answers to a file of prompts: those of the run, in order, for rows that only ask too, whole or none."""

import json
from pathlib import Path

import pytest

from kpig.errors import DataError
from kpig.scoring import predictions
from kpig.tasks import stream
from kpig.tasks.readers.prompts import STAND_IN
from test_cli import kpig, refused
from test_served import run  # noqa: F401

ASKED = "Name the capital."
ROWS = {
    "own": {"instruction": ASKED, "input": "Peru"},
    "null": {"instruction": ASKED, "input": "Peru", "output": None},
    "empty": {"instruction": ASKED, "input": "Peru", "output": ""},
    "prompt": {"prompt": f"{ASKED} Peru"},
    "chat": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}]},
    "sharegpt": {"conversations": [{"from": "human", "value": ASKED}]},
    "trl": {"prompt": [{"role": "user", "content": ASKED}]},
}


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_every_format_may_only_ask(kind, tmp_path):
    path = write(tmp_path / "asked.jsonl", ROWS[kind], ROWS[kind])
    (task,) = stream.load_tasks(path, unanswered=True)
    assert len(task.test) == 2 and task.instruction.text.startswith(ASKED)
    assert {example.references for example in task.test} == {(STAND_IN,)}
    if kind != "null":
        with pytest.raises(DataError):
            stream.load_tasks(path)


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": ASKED, "output": "Lima"},
        {"prompt": ASKED, "completion": "Lima"},
        {"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "Lima"}]},
    ],
)
def test_rows_that_answer_are_read_as_ever(row, tmp_path):
    path = write(tmp_path / "asked.jsonl", row)
    assert stream.load_tasks(path, unanswered=True) == stream.load_tasks(path)


def test_a_run_answers_a_file_as_it_answered_its_own_tests(run, tmp_path):  # noqa: F811
    own = [
        row
        for path in sorted((run / "steps/02/predictions").glob("*.jsonl"))
        for row in predictions.read(path)
    ]
    bodies = [row.prompt.removesuffix("\nOutput:").partition("\n\nInput: ") for row in own]
    asked = write(
        tmp_path / "asked.jsonl",
        *(
            {"instruction": a, "input": b, "id": f"{row.task}-{n}", "task": row.task}
            for n, ((a, _, b), row) in enumerate(zip(bodies, own, strict=True))
        ),
    )
    done = kpig("predict", run, asked, "--out", tmp_path / "answers.jsonl")
    assert done.returncode == 0, done.stderr
    found = lines(tmp_path / "answers.jsonl")
    assert [one["response"] for one in found] == [row.response for row in own]
    assert [one["prompt"] for one in found] == [row.prompt for row in own]
    assert [one["finished"] for one in found] == [row.finished for row in own]
    assert found[3].keys() == {"task", "example", "prompt", "response", "finished"}
    assert f"{len(own)} answers" in done.stdout


def test_answers_can_be_scored_where_the_file_has_references(run, tmp_path):  # noqa: F811
    done = kpig("predict", run / "steps/01", run, "--out", tmp_path / "answers.jsonl", "--max-new-tokens", 3)
    assert done.returncode == 0 and "cut off after 3 tokens" in done.stdout, done.stderr
    assert kpig("score", tmp_path / "answers.jsonl", "--tasks", run).returncode == 0


def test_a_file_that_is_there_is_kept_and_a_failure_leaves_none(tmp_path):
    asked = write(tmp_path / "asked.jsonl", ROWS["own"] | {"id": 7})
    out = tmp_path / "answers.jsonl"
    out.write_text("mine")
    assert "--overwrite" in refused("predict", "tiny", asked, "--out", out) and out.read_text() == "mine"
    assert "is a folder" in refused("predict", "tiny", asked, "--out", tmp_path)
    assert kpig("predict", "tiny", asked, "--out", out, "--overwrite").returncode == 0
    assert [one["example"] for one in lines(out)] == ["7"]
    write(asked, ROWS["own"], {"instruction": "x " * 5000})
    assert "max_length" in refused("predict", "tiny", asked, "--out", tmp_path / "new.jsonl")
    assert not (tmp_path / "new.jsonl").exists() and not list(tmp_path.glob(".*"))
