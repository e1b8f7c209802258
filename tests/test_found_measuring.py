"""Faults that somebody found who had the documentation alone: in metrics, constraints and cautions."""

import json
import time

import pytest

from kpig.tasks.measures import measure

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
