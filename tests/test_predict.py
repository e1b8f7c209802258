"""Answers to a file of prompts: those of the run, in order, for rows that only ask too, whole or none."""

import json
import os
import random
from pathlib import Path

import pytest

import forked
from kpig.config import ModelSection
from kpig.errors import DataError, RunError
from kpig.model.learner import Learner
from kpig.progress import Watcher
from kpig.runs import lock
from kpig.runs.answer_file import AnswerFile
from kpig.runs.predict import predict
from kpig.scoring import predictions
from kpig.tasks import stream
from kpig.tasks.readers.prompts import STAND_IN
from test_cli import kpig, refused
from test_job import kill_after
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


TINY = ModelSection(path="tiny")


def questions(num: int) -> list:
    """Prompts of many lengths, so that batches are not in the order of the prompts."""
    return [{"task": "t", "instruction": "Say " + "so " * (n * 7 % 50), "input": str(n)} for n in range(num)]


def asked(tmp_path: Path, num: int) -> list:
    (task,) = stream.load_tasks(write(tmp_path / "asked.jsonl", *questions(num)), unanswered=True)
    return list(task.test)


class Counting(Watcher):
    """Counts phases and answers, and may stop after so many of these."""

    def __init__(self, most: int | None = None):
        self.begun, self.answered, self.said, self.most = [], 0, [], most

    def phase(self, name, total, done=0):
        self.begun.append((total, done))
        return super().phase(name, total, done)

    def advance(self, count=1, note=""):
        self.answered += count
        if self.most is not None and self.answered >= self.most:
            raise KeyboardInterrupt

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def small_batches(monkeypatch):
    """Few prompts side by side, so that few answers make many batches."""
    cut = Learner.prompt_batches
    monkeypatch.setattr(Learner, "prompt_batches", lambda self, prompts, most: cut(self, prompts, most, 300))


@pytest.mark.parametrize("most", [1, 9, 17, 23])
def test_stopped_answers_go_on_to_the_same_file_and_none_is_asked_for_twice(most, tmp_path, small_batches):
    examples, straight, out = asked(tmp_path, 23), tmp_path / "straight.jsonl", tmp_path / "out.jsonl"
    cut = predict(TINY, examples, straight, 5, "cpu", Watcher())
    stopped = Counting(most)
    with pytest.raises(KeyboardInterrupt):
        predict(TINY, examples, out, 5, "cpu", stopped)
    assert not out.exists() and (tmp_path / "out.jsonl.part").is_file()
    again = Counting()
    assert predict(TINY, examples, out, 5, "cpu", again) == cut
    assert out.read_bytes() == straight.read_bytes()
    assert again.begun == [(23, stopped.answered)] and again.answered == 23 - stopped.answered
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked.jsonl", "out.jsonl", "straight.jsonl"]


@pytest.mark.parametrize("seed", range(5))
def test_a_part_that_was_cut_anywhere_is_gone_on_with(seed, tmp_path, small_batches):
    examples, straight, out = asked(tmp_path, 13), tmp_path / "straight.jsonl", tmp_path / "out.jsonl"
    predict(TINY, examples, straight, 3, "cpu", Watcher())
    with pytest.raises(KeyboardInterrupt):
        predict(TINY, examples, out, 3, "cpu", Counting(12))
    part = tmp_path / "out.jsonl.part"
    head = part.read_bytes().index(b"\n") + 1
    os.truncate(part, random.Random(seed).randrange(head, part.stat().st_size))
    predict(TINY, examples, out, 3, "cpu", Watcher())
    assert out.read_bytes() == straight.read_bytes()


@pytest.mark.parametrize("change", ["prompts", "limit", "length"])
def test_a_part_of_other_answers_is_begun_anew_and_told(change, tmp_path, small_batches):
    examples, out = asked(tmp_path, 9), tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        predict(TINY, examples, out, 3, "cpu", Counting(8))
    again = Counting()
    section = ModelSection(path="tiny", max_length=900) if change == "length" else TINY
    chosen = examples[::-1] if change == "prompts" else examples
    predict(section, chosen, out, 4 if change == "limit" else 3, "cpu", again)
    assert again.begun == [(9, 0)] and any("begun anew" in line for line in again.said)
    assert [one["example"] for one in lines(out)] == [one.id for one in chosen]


def test_a_file_of_the_users_in_the_place_of_the_part_is_kept(tmp_path):
    part = tmp_path / "out.jsonl.part"
    for text in ("", "mine", '{"answers": 3}\n'):
        part.write_text(text)
        with pytest.raises(RunError, match="move it away"):
            predict(TINY, asked(tmp_path, 2), tmp_path / "out.jsonl", 2, "cpu", Watcher())
        assert part.read_text() == text


def test_two_at_once_are_refused(tmp_path):
    with lock.held(tmp_path / "out.jsonl"), pytest.raises(lock.BusyError):
        predict(TINY, asked(tmp_path, 2), tmp_path / "out.jsonl", 2, "cpu", Watcher())


def test_answers_of_any_text_come_back(tmp_path):
    answers = AnswerFile(tmp_path / "a", "digest", print)
    texts = ["a\nb", "\u2028 \ud800", "", "[1", '"', "漢字" * 100]
    answers.add({len(texts) - n: text for n, text in enumerate(texts)})
    numbers = [3, 1, 6, 2, 5, 4]
    for again in (answers, AnswerFile(tmp_path / "a", "digest", print)):
        assert list(again.read(numbers)) == [texts[len(texts) - n] for n in numbers] and len(again) == 6
        assert 7 not in again and 6 in again


def test_a_killed_command_goes_on_when_it_is_given_again(tmp_path):
    questions_path = write(tmp_path / "asked.jsonl", *questions(600))
    command = ["predict", "tiny", str(questions_path), "--max-new-tokens", "40", "--out"]
    assert kpig(*command, tmp_path / "straight.jsonl").returncode == 0
    out = tmp_path / "out.jsonl"
    kill_after(forked.start(*command, out), tmp_path / "out.jsonl.part", 2)
    assert not out.exists()
    done = kpig(*command, out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (tmp_path / "straight.jsonl").read_bytes()
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("*.lock"))


def test_the_reference_decides_neither_the_prompt_nor_whether_there_is_one(tmp_path):
    long = "word " * 400
    rows = [{"instruction": ASKED, "input": long, "task": "t"} for _ in range(3)]
    rows[1]["output"], rows[2]["output"] = "one " * 150, "one " * 1200
    answers = []
    for number, row in enumerate(rows):
        (task,) = stream.load_tasks(write(tmp_path / f"{number}.jsonl", row), unanswered=True)
        out = tmp_path / f"out-{number}.jsonl"
        cut = predict(ModelSection(max_length=128), list(task.test), out, 5, "cpu", Watcher())
        assert cut.inputs == 1
        answers.append(lines(out)[0])
    assert answers[0]["prompt"] == answers[1]["prompt"] == answers[2]["prompt"]


def test_inputs_that_are_cut_are_counted(tmp_path):
    asked = write(tmp_path / "asked.jsonl", ROWS["own"], {"instruction": ASKED, "input": "word " * 400})
    done = kpig("predict", "tiny", asked, "--out", tmp_path / "out.jsonl", "--max-length", 128)
    assert done.returncode == 0, done.stderr
    assert "note: 1 of 2 inputs were too long and lost their end; raise --max-length" in done.stderr
