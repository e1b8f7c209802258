"""Files of predictions as Tk-Instruct, LLaMA-Factory and lm-evaluation-harness write them."""

import json

import pytest

from kpig.errors import DataError
from kpig.scoring import foreign, predictions_file
from kpig.tasks import stream

TASKS = [
    {"task": "judge", "id": f"j{n}", "instruction": "Is it  big?", "input": text, "output": label}
    for n, (text, label) in enumerate([("an ant", "no"), ("a whale", "yes"), ("a  whale and an ant", "no")])
] + [
    {
        "task": "name",
        "id": f"n{n}",
        "instruction": "Name it.",
        "input": text,
        "output": [label, label.upper()],
    }
    for n, (text, label) in enumerate([("barks", "dog"), ("meows", "cat")])
]
ANSWERS = ["no", "no", "yes", "dog", "CAT"]
RIGHT = {"j0", "n0", "n1"}


def tk_instruct(row, answer):
    instance = {"id": row["id"], "input": row["input"], "output": [row["output"]]}
    return {
        "Task": row["task"],
        "Definition": [row["instruction"]],
        "Instance": instance,
        "Prediction": answer,
    }


def llama_factory(row, answer):
    prompt = f"<|user|>\n{row['instruction']}\n{row['input']}<|end|>\n<|assistant|>\n"
    label = row["output"][0] if isinstance(row["output"], list) else row["output"]
    return {"prompt": prompt, "predict": answer, "label": label}


def lm_eval(row, answer):
    prompt = f"{row['instruction']} {row['input']}\nAnswer:"
    generated = {"resps": [[answer + " and more"]], "filtered_resps": [answer]}
    arguments = {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}}
    return {"doc_id": 0, "doc": {}, "target": row["output"], "arguments": arguments, **generated}


def lm_eval_older(row, answer):
    found = lm_eval(row, answer)
    return found | {"arguments": [[found["arguments"]["gen_args_0"]["arg_0"], {}]], "filtered_resps": []}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def tasks(tmp_path):
    return stream.load_tasks(write(tmp_path / "tasks.jsonl", TASKS))


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "the other way round"])
@pytest.mark.parametrize("written", [tk_instruct, llama_factory, lm_eval])
def test_every_line_finds_its_example(written, order, tasks, tmp_path):
    rows = [written(row, answer) for row, answer in zip(TASKS, ANSWERS, strict=True)]
    _, judged, coverage = predictions_file.score(write(tmp_path / "p.jsonl", rows[::order]), tasks)
    assert coverage.num_scored == coverage.num_examples == 5
    assert {one.example for one in judged if one.exact_match} == RIGHT


def test_without_a_filter_the_first_generated_text_counts(tasks, tmp_path):
    rows = [lm_eval_older(row, answer) for row, answer in zip(TASKS, ANSWERS, strict=True)]
    _, judged, _ = predictions_file.score(write(tmp_path / "p.jsonl", rows), tasks)
    assert [one.response for one in judged] == [f"{answer} and more" for answer in ANSWERS]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            llama_factory(TASKS[0], "no") | {"label": "perhaps"},
            "no test example has its instruction and input",
        ),
        (llama_factory(TASKS[0], "no") | {"prompt": "Is it big?"}, "no test example has its instruction"),
        (llama_factory(TASKS[0], "no") | {"prompt": None}, "names no test example"),
        (tk_instruct(TASKS[0], "no") | {"Instance": {}}, "no 'id' in 'Instance'"),
        (tk_instruct(TASKS[0], "no") | {"Task": "jugde"}, "did you mean 'judge'"),
        (lm_eval(TASKS[0], "no") | {"filtered_resps": [[-1.5, False]]}, "output_type generate_until"),
    ],
)
def test_a_line_that_cannot_be_matched_is_told(row, words, tasks, tmp_path):
    with pytest.raises(DataError, match=rf"line 1: .*{words}"):
        predictions_file.score(write(tmp_path / "p.jsonl", [row]), tasks)


def test_a_prompt_that_asks_two_examples_is_refused(tmp_path):
    rows = [{"task": name, "instruction": "Say it.", "input": "x", "output": "x"} for name in ("a", "b", "c")]
    tasks = stream.load_tasks(write(tmp_path / "tasks.jsonl", rows))
    answered = [{"prompt": "Say it. x", "predict": "x", "label": "x"}]
    predictions_file.score(write(tmp_path / "p.jsonl", answered * 3), tasks)  # each in its place
    elsewhere = {"prompt": "Say it. y", "predict": "y", "label": "y"}
    with pytest.raises(DataError, match=r"several test examples \('a', .* and 'b', "):
        predictions_file.score(write(tmp_path / "p.jsonl", [*answered * 3, *answered]), tasks)
    with pytest.raises(DataError, match="no test example"):
        predictions_file.score(write(tmp_path / "p.jsonl", [elsewhere]), tasks)


def test_lines_for_wordings_that_an_example_does_not_have_cover_no_other(tmp_path):
    rows = [
        {"task": "a", "id": str(n), "instruction": said, "input": f"x{n}", "output": "yes"}
        for n, said in ((1, "Say yes or no."), (2, "In your own words."))
    ]
    tasks = stream.load_tasks(write(tmp_path / "t.jsonl", rows))
    lines = [{"task": "a", "id": str(n), "response": "yes"} for n in (1, 2)]
    found = [*lines, lines[1] | {"wording": "new"}]
    with pytest.raises(DataError, match="predictions for 2 of 3 test examples; missing: a 1"):
        predictions_file.score(write(tmp_path / "p.jsonl", found), tasks)


def test_a_line_with_an_example_of_its_own_is_matched_by_that(tmp_path):
    rows = [{"task": "t", "id": one, "instruction": "Say.", "input": "x", "output": "yes"} for one in "ab"]
    tasks = stream.load_tasks(write(tmp_path / "t.jsonl", rows))
    said = {"b": "no", "a": "yes"}
    lines = [{"task": "t", "example": one, "predict": said[one], "label": "yes"} for one in said]
    _, judged, _ = predictions_file.score(write(tmp_path / "p.jsonl", lines), tasks)
    assert {one.example: one.response for one in judged} == {"a": "yes", "b": "no"}


FINE = [
    {"task": "t", "id": f"{n}", "instruction": "Is it good?", "input": text, "output": "yes"}
    for n, text in enumerate(("fine day", "good", "very good"))
]


@pytest.mark.parametrize("written", [llama_factory, lm_eval])
def test_a_short_input_within_a_longer_one_takes_no_line_of_it(written, tmp_path):
    tasks = stream.load_tasks(write(tmp_path / "t.jsonl", FINE))
    lines = [written(FINE[n], f"answer {n}") for n in (0, 2, 1)]
    _, judged, _ = predictions_file.score(write(tmp_path / "p.jsonl", lines), tasks)
    assert {one.example: one.response for one in judged} == {f"{n}": f"answer {n}" for n in range(3)}
    _, judged, coverage = predictions_file.score(write(tmp_path / "p.jsonl", lines[:2]), tasks, partial=True)
    assert {one.example: one.response for one in judged} == {f"{n}": f"answer {n}" for n in (0, 2)}
    assert coverage.num_scored == 2


def test_a_whole_file_in_order_may_ask_the_same_twice(tmp_path):
    rows = [FINE[1] | {"id": f"{n}"} for n in range(3)]
    tasks = stream.load_tasks(write(tmp_path / "t.jsonl", rows))
    lines = [llama_factory(row, f"answer {row['id']}") for row in rows]
    _, judged, _ = predictions_file.score(write(tmp_path / "p.jsonl", lines), tasks)
    assert [(one.example, one.response) for one in judged] == [(f"{n}", f"answer {n}") for n in range(3)]


def test_a_whole_file_in_order_is_read_in_one_pass(tmp_path, monkeypatch):
    rows = [
        {"task": "t", "id": f"{n}", "instruction": "Is it even?", "input": f"no. {n}", "output": said}
        for n, said in enumerate(("yes", "no") * 1500)
    ]
    tasks = stream.load_tasks(write(tmp_path / "t.jsonl", rows))
    calls, asks = [], foreign.ByPrompt._asks
    monkeypatch.setattr(foreign.ByPrompt, "_asks", lambda *given: calls.append(1) or asks(*given))
    lines = [llama_factory(row, "yes") for row in rows]
    _, judged, _ = predictions_file.score(write(tmp_path / "p.jsonl", lines), tasks)
    assert len(judged) == 3000 and len(calls) <= 2 * 3000


def test_a_file_of_new_wordings_alone_is_told_so(tasks, tmp_path):
    lines = [{"task": "judge", "id": "j0", "response": "no", "wording": "new"}]
    with pytest.raises(DataError, match=r'new wordings alone \("wording": "new"\)'):
        predictions_file.score(write(tmp_path / "p.jsonl", lines), tasks, partial=True)
