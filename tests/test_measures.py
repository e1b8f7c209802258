"""The metrics beyond exact match and ROUGE-L: by hand, by their laws, by name, guessed, and refused."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from kpig import config
from kpig.cli.commands import app
from kpig.errors import ConfigError, DataError, UsageError
from kpig.records import Prediction
from kpig.scoring.metrics import p_score
from kpig.tasks import stream
from kpig.tasks.measures import METRICS, measure

PERSON = '{"name": "Ada", "born": 1815, "languages": ["en", "fr"]}'


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (PERSON, 1.0),
        ('{"languages":["fr","en"],"born":1815.0,"name":"Ada"}', 1.0),
        ('{"name": "Ada", "born": 1815}', 4 / 6),
        ('{"name": "ada", "born": 1815, "languages": ["en", "fr"]}', 3 / 4),
        ('{"name": "Ada", "born": "1815", "languages": ["en", "fr"]}', 3 / 4),
        ('{"name": "Ada", "born": 1815, "languages": ["en", "fr", "fr"]}', 8 / 9),
        ('{"person": {"name": "Ada", "born": 1815, "languages": ["en", "fr"]}}', 0.0),
        ('{"name": "Ada", "born": 1815, "languages": ["en", "fr"]', 0.0),
        (f"```json\n{PERSON}\n```", 0.0),
        (f"Here it is: {PERSON}", 0.0),
        ('{"born": NaN}', 0.0),
        ("", 0.0),
    ],
)
def test_json_counts_the_fields_that_are_right(response, expected):
    assert measure("json")(response, [PERSON]) == pytest.approx(expected)


def test_json_knows_empty_containers_other_references_and_what_is_no_json():
    score = measure("json")
    assert score("[]", ["[]"]) == 1 and score("{}", ["[]"]) == 0 and score("[]", ['["a"]']) == 0
    assert score('{"a": 1}', ['{"a": 2}', '{"a": 1}']) == 1
    assert score("none", ["none"]) == 1 and score("null", ["none"]) == 0
    assert score("true", ["1"]) == 0 and score("[" * 100_000, ["[]"]) == 0
    assert score("9" * 5000, ["9" * 5000]) == 1 and score("1e" + "9" * 30, ["1"]) == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values, values)
def test_json_is_symmetric_and_one_on_itself(left, right):
    score, (one, two) = measure("json"), map(json.dumps, (left, right))
    assert score(one, [one]) == 1
    assert score(one, [two]) == pytest.approx(score(two, [one]))


@pytest.mark.parametrize(
    ("response", "reference", "expected"),
    [
        ("42", "42", 1),
        ("The answer is 42.", "42", 1),
        ("6 times 7 is 42", "42.0", 1),
        ("42, not 41", "42", 0),
        ("1,250", "1250", 1),
        ("1,250.50 EUR", "1250.5", 1),
        ("-3", "3", 0),
        ("\u22123", "-3", 1),
        ("pages 3-4", "4", 1),
        (".5", "0.5", 1),
        ("1e3", "1000", 1),
        ("12 %", "12", 1),
        ("0.30000000000000001", "0.3", 0),
        ("00", "0", 1),
        ("-0", "0", 1),
        ("none", "none", 0),
        ("", "0", 0),
        ("\u0664\u0662", "42", 1),
        ("9" * 5000, "1", 0),
    ],
)
def test_number_compares_the_last_one(response, reference, expected):
    assert measure("number")(response, [reference]) == expected


@pytest.mark.parametrize(
    ("response", "reference", "expected"),
    [
        ("The cat sat", "the cat sat.", 1.0),
        ("cat the sat", "the cat sat", 1.0),
        ("the cat", "the cat sat", 0.8),
        ("dog", "cat", 0.0),
        ("кошка сидит", "Кошка спит", 0.5),
        ("我爱北京", "我爱上海", 0.5),
        ("", "", 1.0),
        ("!", "?", 0.0),
    ],
)
def test_token_f1_reads_every_script(response, reference, expected):
    assert measure("token_f1")(response, [reference]) == pytest.approx(expected)


def test_chrf_is_that_of_sacrebleu():
    pytest.importorskip("sacrebleu")
    score = measure("chrf")
    assert score("кошка спит", ["кошка спит"]) == pytest.approx(1.0)
    # By hand: 2 of 3 characters, 1 of 2 pairs (no triple is shared, and longer pieces there are none).
    expected = (2 / 3 + 1 / 2 + 0) / 3
    assert score("abd", ["abc"]) == pytest.approx(expected)
    assert score("x", ["кошка", "x"]) == pytest.approx(1.0) and score("", ["кошка"]) == 0


@given(
    st.sampled_from([name for name in METRICS if name != "chrf"]), st.text(), st.lists(st.text(), min_size=1)
)
def test_every_metric_is_between_0_and_1_and_takes_the_best_reference(name, response, references):
    score = measure(name)
    each = [score(response, [one]) for one in references]
    assert score(response, references) == max(each) and min(each) >= 0 and max(each) <= 1


@pytest.mark.parametrize("name", METRICS)
def test_no_metric_measures_against_nothing(name):
    with pytest.raises(ValueError, match="at least one reference"):
        measure(name)("x", [])


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def length(response, references): return min(1.0, len(response) / 10)\n"
        "def wild(response, references): return 7\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "mine"
    sys.modules.pop("mine", None)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def qa(**more):
    return [
        {"task": "qa", "instruction": "Say.", "input": f"i{n}", "output": f"o{n}"} | more for n in range(6)
    ]


def test_a_function_of_ones_own_is_named_in_the_config(own_module, tmp_path):
    path = write(tmp_path / "t.jsonl", qa())
    table = {"stream": {"path": str(path), "metrics": {"*": "mine:length"}}}
    found = stream.configured(config.build(table))
    assert found.tasks[0].metric == "mine:length"
    answer = {"prompt": "", "finished": True, "exact_match": 0.0, "rouge_l": 0.0, "violations": ()}
    answered = Prediction(
        "qa", "1", "seen", "seed", response="12345", references=("o",), num_constraints=0, **answer
    )
    assert p_score([answered], "mine:length") == 50
    with pytest.raises(ConfigError, match=r"mine:wild.*gave 7.*from 0 to 1"):
        p_score([answered], "mine:wild")
    for name, words in (
        ("mine:gone", "cannot be imported"),
        ("nobody:x", "cannot be imported"),
        ("mine:number", "type int"),
    ):
        with pytest.raises(ConfigError, match=words):
            measure(name)


def test_data_may_not_name_code(own_module, tmp_path):
    path = write(tmp_path / "t.jsonl", qa(metric="mine:length"))
    with pytest.raises(DataError, match=r"metric is 'mine:length'.*\[stream.metrics\]"):
        stream.load_tasks(path)
    with pytest.raises(DataError, match=r"metric is 'jason'; expected one of"):
        stream.load_tasks(write(tmp_path / "u.jsonl", qa(metric="jason")))


def test_the_config_wins_over_the_data_and_names_what_it_does_not_know(tmp_path):
    path = write(tmp_path / "t.jsonl", qa(metric="exact") + [{**row, "task": "other"} for row in qa()])
    found = {
        task.name: task.metric for task in stream.load_tasks(path, metrics={"qa": "number", "*": "json"})
    }
    assert found == {"qa": "number", "other": "json"}
    with pytest.raises(ConfigError, match="did you mean 'other'"):
        stream.load_tasks(path, metrics={"othr": "json"})
    with pytest.raises(ConfigError, match="did you mean 'json'"):
        stream.load_tasks(path, metrics={"qa": "jsn"})


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([f'{{"a": {n}}}' for n in range(12)], "json"),
        ([f"[{n}]" for n in range(12)], "json"),
        ([str(n) for n in range(12)], "number"),
        ([f"${n},000.00" for n in range(1, 13)], "number"),
        ([f"слово {n}" for n in range(12)], "token_f1"),
        ([f"word {n}" for n in range(12)], "rougeL"),
        (['{"a": 1}', *(f"word {n}" for n in range(11))], "rougeL"),
        ([f'"quoted {n}"' for n in range(12)], "rougeL"),
        (["yes", "no"] * 6, "accuracy"),
    ],
)
def test_the_metric_is_guessed_by_what_all_responses_are(outputs, expected, tmp_path):
    rows = [
        {"task": "t", "instruction": "Do.", "input": f"i{n}", "output": out} for n, out in enumerate(outputs)
    ]
    assert stream.load_tasks(write(tmp_path / "t.jsonl", rows))[0].metric == expected


def test_a_collection_with_a_published_scorer_keeps_it(tmp_path):
    instances = [{"id": f"t-{n}", "input": f"i{n}", "output": [f"[{n}]"]} for n in range(12)]
    task = {"Definition": ["Do."], "Instances": instances, "Categories": ["C"]}
    (tmp_path / "t.json").write_text(json.dumps(task))
    assert stream.load_tasks(tmp_path / "t.json")[0].metric == "rougeL"


def run_cli(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_score_takes_another_metric_and_says_which_it_averages(own_module, tmp_path):
    rows = [
        {"task": "people", "id": f"p{n}", "instruction": "Extract.", "input": f"{n}", "output": PERSON}
        for n in range(3)
    ]
    path = write(tmp_path / "t.jsonl", rows)
    answers = ['{"name": "Ada"}', PERSON, "Ada, 1815"]
    given = [{"id": f"p{n}", "prediction": text} for n, text in enumerate(answers)]
    predictions = write(tmp_path / "p.jsonl", given)
    found = run_cli("score", str(predictions), "--tasks", str(path))
    assert found.exit_code == 0 and "json (1 task)" in found.output and "46.7" in found.output
    found = run_cli("score", str(predictions), "--tasks", str(path), "--metric", "people=mine:length")
    assert found.exit_code == 0 and "mine:length (1 task)" in found.output
    for value in ("=json", "people=", "people=jsn", "nobody=json"):
        found = run_cli("score", str(predictions), "--tasks", str(path), "--metric", value)
        assert isinstance(found.exception, ConfigError | UsageError)
