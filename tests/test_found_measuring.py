"""Faults that somebody found who had the documentation alone: in metrics, constraints and cautions."""

import json
import time
import unicodedata

import pytest

from kpig.errors import ConfigError
from kpig.records import SEED_WORDING, SEEN, Example, Instruction, Task
from kpig.scoring.judge import judge
from kpig.scoring.metrics import p_score
from kpig.tasks import constraints
from kpig.tasks.measures import METRICS, measure

# --- 1: JSON, element by element ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "response", "expected"),
    [
        ([{"name": "Ann", "age": 30}, {"name": "Bob", "age": 40}],) * 2 + (1.0,),
        (
            [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 40}],
            [{"name": "Ann", "age": 40}, {"name": "Bob", "age": 30}],
            0.5,
        ),
        (
            [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 40}],
            [{"name": "Bob", "age": 40}, {"name": "Ann", "age": 30}],
            1.0,
        ),
        ([["a", "b"], ["c", "d"]], [["a", "d"], ["c", "b"]], 0.5),
        ([["a", "b"], ["c", "d"]], [["d", "c"], ["b", "a"]], 1.0),
        ([{"tags": ["x", "y"]}, {"tags": ["z"]}], [{"tags": ["z", "y"]}, {"tags": ["x"]}], 2 / 3),
        ({"rows": [{"k": 1, "v": [{"a": 1, "b": 2}]}]}, {"rows": [{"k": 1, "v": [{"a": 1, "b": 3}]}]}, 2 / 3),
        ([{"p": 1, "q": 1}, {"p": 2, "q": 2}], [{"p": 1, "q": 1}], 2 / 3),
        ([1, 2, 2, {"a": 1}], [2, 1, 2, {"a": 1}], 1.0),
        ([[], {}], [{}, []], 1.0),
    ],
)
def test_elements_of_arrays_are_compared_as_wholes(reference, response, expected):
    score, one, other = measure("json"), json.dumps(reference), json.dumps(response)
    assert score(other, [one]) == score(one, [other]) == pytest.approx(expected)


def test_long_and_deep_documents_take_bounded_work():
    score = measure("json")
    left, right = ([{"n": number, "m": number + shift} for number in range(4000)] for shift in (0, 1))
    deep = ['{"a":[' * depth + str(depth) + "]}" * depth for depth in (40, 45, 300, 5000)]
    start = time.process_time()
    assert score(json.dumps(left), [json.dumps(right)]) == 0.5
    assert score(json.dumps(left), [json.dumps(left[::-1])]) == 1.0
    assert [score(one, [one]) for one in deep] == [1.0] * 4
    assert [score(one, [deep[0]]) for one in deep[1:]] == [0.0] * 3
    assert time.process_time() - start < 10


# --- 6: composed and decomposed letters --------------------------------------------------------------

COMPOSED = "Café Ångström Việt"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_take_canonically_equal_texts_for_the_same(metric):
    score = measure(metric)
    for left, right in [(COMPOSED, DECOMPOSED), ("각 7", unicodedata.normalize("NFD", "각 7"))]:
        assert score(left, [right]) == score(right, [left]) == score(left, [left])
    if metric in ("exact", "accuracy", "token_f1", "json", "chrf"):
        assert score(DECOMPOSED, [COMPOSED]) == 1.0


def test_json_takes_canonically_equal_keys_and_values_for_the_same():
    left, right = ({one: [one]} for one in (COMPOSED, DECOMPOSED))
    for escaped in (True, False):
        assert measure("json")(json.dumps(left, ensure_ascii=escaped), [json.dumps(right)]) == 1.0


@pytest.mark.parametrize(
    ("entry", "met"),
    [
        ({"type": "one_of", "values": ["?"]}, True),
        ({"type": "one_of", "values": ["?"], "case_sensitive": False}, True),
        ({"type": "not_one_of", "values": ["?"]}, False),
        ({"type": "contains", "values": ["?"]}, True),
        ({"type": "starts_with", "values": ["?"]}, True),
        ({"type": "ends_with", "values": ["?"]}, True),
        ({"type": "regex", "pattern": "?"}, True),
        ({"type": "not_regex", "pattern": "?"}, False),
        ({"type": "forbidden_words", "values": ["?"]}, False),
        ({"type": "substring_of_input"}, True),
        ({"type": "substring_of_input", "or_values": ["?"]}, True),
        ({"type": "words_from_input"}, True),
        ({"type": "items_from_input", "item_separator": ", ", "input_separator": ", "}, True),
        ({"type": "not_equal_input"}, False),
        ({"type": "degenerate"}, False),
        ({"type": "contains_input_capture", "pattern": "(.+)"}, True),
        ({"type": "contains_input_items", "input_separator": ", "}, True),
        ({"type": "shorter_than_input"}, False),
    ],
)
def test_constraints_take_canonically_equal_texts_for_the_same(entry, met):
    for one, other in ((COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)):
        stated = json.loads(json.dumps(entry).replace("?", json.dumps(one)[1:-1]))
        assert constraints.satisfied(constraints.parse(stated, "here"), one, other) is met


# --- 18: a metric of the user's that raises ----------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [("return 1 / 0", "ZeroDivisionError"), ("return {}['rain']", "KeyError: 'rain'"), ("return 2", "gave 2")],
)
def test_a_metric_that_fails_is_named_with_its_example(tmp_path, monkeypatch, source, words):
    module = f"failing_{abs(hash(source))}"
    (tmp_path / f"{module}.py").write_text(f"def score(response, references):\n    {source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    task = Task("weather", (Instruction("Say it."),), (), (), "rougeL")
    example = Example("w-7", "weather", task.instruction, "x", ("rain",))
    prediction = judge(task, example, "sun", group=SEEN, wording=SEED_WORDING, prompt="")
    with pytest.raises(ConfigError) as failure:
        p_score([prediction], f"{module}:score")
    for part in (words, f"{module}:score", "weather", "w-7", "sun"):
        assert part in str(failure.value)
