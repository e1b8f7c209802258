"""A file of predictions gets the scores that the model's own answers get, or is refused line by line."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from rouge_score.rouge_scorer import RougeScorer

from forked import kpig
from kpig.errors import DataError
from kpig.records import Task
from kpig.scoring import predictions, predictions_file
from kpig.scoring.records import Coverage
from kpig.scoring.scores import read_evaluation
from kpig.tasks import stream

WORDS = ("ant box river", "moon tree", "egg fox hat ink", "lemon piano anchor")


@pytest.fixture
def tasks(tmp_path) -> tuple[Task, ...]:
    """Two tasks of four examples; the first has ids of its own, a constraint and key parts."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    say = {
        "instruction": "Say it again.",
        "key_parts": ["again"],
        "constraints": [{"type": "max_words", "n": 3}],
    }
    rows = [say | {"id": f"say-{n}", "input": text, "output": text} for n, text in enumerate(WORDS)]
    (folder / "say.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = [
        {"instruction": "Count.", "id": n, "input": text, "output": str(n)} for n, text in enumerate(WORDS)
    ]
    (folder / "count.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return stream.load_tasks(folder)


def rows_of(tasks: tuple[Task, ...], **more: object) -> list[dict]:
    return [
        {"task": task.name, "example": example.id, "response": example.response} | more
        for task in tasks
        for example in task.test
    ]


def write(folder: Path, *rows: dict | str) -> Path:
    path = folder / "predictions.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def refusal(path: Path, tasks: tuple[Task, ...]) -> str:
    with pytest.raises(DataError) as caught:
        predictions_file.score(path, tasks)
    return str(caught.value)


def test_the_scores_are_those_of_the_published_scorer(tasks, tmp_path):
    answers = ["ant box", "Moon, tree!", "", "lemons and pianos anchored here"]
    rows = rows_of(tasks)
    say = [row for row in rows if row["task"] == "say"]
    for row, answer in zip(say, answers, strict=True):
        row["response"] = answer
    result, judged, coverage = predictions_file.score(write(tmp_path, *rows), tasks)
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    expected = [
        rouge.score(text, answer)["rougeL"].fmeasure for text, answer in zip(WORDS, answers, strict=True)
    ]
    assert [one.rouge_l for one in judged if one.task == "say"] == expected
    assert result.tasks["say"].p_score == pytest.approx(100 * fmean(expected))
    assert result.tasks["say"].v_score == 50.0
    assert result.tasks["say"].violations["degenerate"] == 25.0
    assert result.tasks["count"].p_score == 100.0
    assert (coverage.num_scored, coverage.num_examples, dict(coverage.missing)) == (8, 8, {})


def test_an_example_may_be_named_by_task_and_id_or_by_task_and_input_or_by_an_id_of_its_own(tasks, tmp_path):
    rows = rows_of(tasks)
    expected, judged, _ = predictions_file.score(write(tmp_path, *rows), tasks)
    by_input = [
        {"task": task.name, "input": f"  {example.input}\n", "prediction": example.response}
        for task in tasks
        for example in task.test
    ]
    by_id = [{"id": row["example"], "prediction": row["response"]} for row in rows if row["task"] == "say"]
    by_number = [row | {"example": int(row["example"])} for row in rows if row["task"] == "count"]
    for other in (by_input, by_id + by_number):
        result, again, _ = predictions_file.score(write(tmp_path, *reversed(other)), tasks)
        assert result == expected and again == judged


def test_output_is_the_response_only_where_no_other_field_is(tasks, tmp_path):
    plain = rows_of(tasks)
    expected, _, _ = predictions_file.score(write(tmp_path, *plain), tasks)
    as_output = [{"task": row["task"], "id": row["example"], "output": row["response"]} for row in plain]
    beside = [row | {"output": "the reference"} for row in plain]
    for rows in (as_output, beside):
        assert predictions_file.score(write(tmp_path, *rows), tasks)[0] == expected


def test_what_is_cut_off_or_copies_the_instruction_is_degenerate(tasks, tmp_path):
    rows = rows_of(tasks)
    rows[0]["finished"] = False
    rows[1]["response"] = f"{tasks[0].instruction.text} {tasks[0].test[1].input}"
    _, judged, _ = predictions_file.score(write(tmp_path, *rows), tasks)
    assert ["degenerate" in one.violations for one in judged] == [True, True] + [False] * 6


def test_answers_to_masked_prompts_give_the_half_listening_rate(tasks, tmp_path):
    rows = rows_of(tasks[1:]) + rows_of(tasks[:1])
    for row in rows:
        row["masked_response"] = row["response"] if row["task"] == "say" else "another"
    result, _, _ = predictions_file.score(write(tmp_path, *rows), tasks)
    assert {name: one.half_listening for name, one in result.tasks.items()} == {
        "say": 100.0,
        "count": 0.0,
    }


def test_new_wordings_are_scored_apart(tasks, tmp_path):
    worse = [row | {"wording": "new", "response": "?"} for row in rows_of(tasks)]
    result, judged, coverage = predictions_file.score(write(tmp_path, *rows_of(tasks), *worse), tasks)
    assert result.all.p_score == 100.0 and result.all.new_wording.p_score == 0.0
    assert coverage.num_examples == len(judged) == 16


def test_missing_examples_are_refused_unless_the_file_is_taken_as_a_part(tasks, tmp_path):
    path = write(tmp_path, *rows_of(tasks)[1:5])
    message = refusal(path, tasks)
    names = [task.name for task in tasks]
    assert f"4 of 8 test examples; missing: {names[0]} 1, {names[1]} 3" in message and "--partial" in message
    result, judged, coverage = predictions_file.score(path, tasks, partial=True)
    assert len(judged) == coverage.num_scored == 4
    assert result.coverage == coverage == Coverage(4, 8, {names[0]: 1, names[1]: 3})


ROW = {"task": "say", "example": "say-0", "response": "x"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{not json", "line 9, column 2: not valid JSON"),
        ("[1]", "expected an object"),
        (ROW | {"task": "sya"}, "there is no task 'sya'; did you mean 'say'?"),
        (ROW | {"example": "say-9"}, "no test example 'say-9'; did you mean 'say-"),
        ({"id": "sai-1", "prediction": "x"}, "no task has a test example 'sai-1'; did you mean 'say-1'?"),
        (ROW, "has a prediction in line"),
        ({"task": "say", "response": "x"}, "names no test example"),
        ({"task": "say", "input": "no such", "response": "x"}, "no test example with the input 'no such'"),
        ({"task": "say", "example": "say-0"}, "has no response"),
        (ROW | {"response": None}, "'response' is of type NoneType; expected a text"),
        ('{"task": "say", "example": "say-0", "response": NaN}', "of type float; expected a text"),
        (ROW | {"prediction": "y"}, "has 'response' and 'prediction'"),
        (ROW | {"finished": "yes"}, "'finished' is of type str; expected true or false"),
        (ROW | {"finshed": False}, "there is no field 'finshed'; did you mean 'finished'?"),
        (ROW | {"wording": "old"}, "'wording' is 'old'"),
        (ROW | {"example": [1]}, "'example' is of type list"),
        (
            ROW | {"input": "moon tree"},
            "states the input 'moon tree', but that of task 'say', example 'say-0' is 'ant box",
        ),
        (
            ROW | {"references": ["moon tree"]},
            "states the references \"['moon tree']\", but those of task 'say'",
        ),
        (ROW | {"task": 3}, "'task' is of type int"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"response": "\\ud800"}', "surrogate"),
    ],
    ids=range(21),
)
def test_a_line_that_cannot_be_used_is_named_with_the_reason(row, words, tasks, tmp_path):
    message = refusal(write(tmp_path, *rows_of(tasks), row), tasks)
    assert "predictions.jsonl: line 9" in message and words in message


def test_an_id_that_several_tasks_have_needs_the_task(tmp_path, tasks):
    (tmp_path / "tasks/more.jsonl").write_text(
        json.dumps({"instruction": "Again.", "id": "say-0", "input": "a", "output": "b"})
    )
    message = refusal(
        write(tmp_path, {"id": "say-0", "prediction": "x"}), stream.load_tasks(tmp_path / "tasks")
    )
    assert "several tasks have a test example 'say-0'" in message and "state 'task'" in message


def test_an_empty_file_a_folder_and_a_missing_file_are_refused(tasks, tmp_path):
    assert "holds no predictions" in refusal(write(tmp_path), tasks)
    assert "is a folder" in refusal(tmp_path, tasks)
    assert "no such file" in refusal(tmp_path / "none.jsonl", tasks)


def test_a_huge_line_is_scored(tasks, tmp_path):
    rows = rows_of(tasks)
    rows[0]["log"] = "x" * 5_000_000
    assert predictions_file.score(write(tmp_path, *rows), tasks)[0].all.p_score == 100.0


def test_a_wholly_wrong_file_is_given_up_after_a_few_lines(tasks, tmp_path):
    message = refusal(
        write(tmp_path, *[{"id": f"task1-{n}", "prediction": "x"} for n in range(50_000)]), tasks
    )
    assert len(message.splitlines()) == 20


def test_what_eval_wrote_is_scored_as_eval_scored_it(tmp_path):
    options = ("--tasks", "suite", "--test-per-task", 2)
    evaluated = kpig("eval", "tiny", *options, "--max-new-tokens", 12, "--out", tmp_path / "a")
    assert evaluated.returncode == 0, evaluated.stderr
    path = tmp_path / "a/predictions.jsonl"
    scored = kpig("score", path, *options, "--out", tmp_path / "b")
    assert scored.returncode == 0, scored.stderr
    first, second = (read_evaluation(tmp_path / one / "scores.json") for one in ("a", "b"))
    assert first.coverage is None and second.coverage.missing == {} and second.scorer == first.scorer
    gainless = {"gain": None, "log_gain": None}
    assert second.tasks == {name: replace(one, **gainless) for name, one in first.tasks.items()}
    assert second.all == replace(first.all, **gainless)
    for group in ("seen", "held_out"):
        assert getattr(second, group) == replace(getattr(first, group), **gainless)
        named = [one for one in first.tasks.values() if one.group == group]
        assert len(named) == getattr(first, group).num_tasks > 0
    rows = [list(predictions.read(tmp_path / one / path.name)) for one in ("a", "b")]
    assert [replace(row, gain=None) for row in rows[0]] == rows[1]
    again = kpig("score", path, *options, "--out", tmp_path / "a")
    assert again.returncode == 2 and "write over" in again.stderr
    part = tmp_path / "part.jsonl"
    part.write_text("".join(path.read_text().splitlines(keepends=True)[3:]))
    assert kpig("score", part, *options).returncode == 1
    partial = kpig("score", part, *options, "--partial")
    assert partial.returncode == 0 and partial.stdout.startswith("predictions for ")


def test_the_help_shows_an_example():
    assert "Example: kpig score" in kpig("score", "--help").stdout


def test_inputs_and_references_beside_an_id_may_be_the_examples_own_or_a_prompt_around_it(tasks, tmp_path):
    rows = rows_of(tasks)
    expected, _, _ = predictions_file.score(write(tmp_path, *rows), tasks)
    examples = [example for task in tasks for example in task.test]
    more = [
        row | {"input": f"Q: {example.input}\nA:", "references": [*example.references, "another"]}
        for row, example in zip(rows, examples, strict=True)
    ]
    assert predictions_file.score(write(tmp_path, *more), tasks)[0] == expected


def test_after_too_many_problems_the_message_says_that_it_stopped(tasks, tmp_path):
    message = refusal(write(tmp_path, *(" " * n + "{" for n in range(50))), tasks)
    assert message.endswith("... further lines were not looked at") and len(message.splitlines()) == 20
