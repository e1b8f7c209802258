"""Labels that the scorer cannot tell apart are told, and scored by a metric that can."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpig.errors import DataError
from kpig.runs.check import scorer_cautions
from kpig.scoring.judge import judge
from kpig.scoring.metrics import p_score
from kpig.tasks import stream
from kpig.tasks.matching import collisions, exact, exact_match


def answered(task, example, response):
    return judge(task, example, response, group="seen", wording="seed", prompt="Judge.")


def task_of(path, outputs, repeat=5, **changes):
    rows = [
        {"task": "t", "instruction": "Judge.", "input": f"{n}", "output": output, **changes}
        for n, output in enumerate(outputs * repeat)
    ]
    path = path / "mine.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return stream.load_tasks(path)[0]


COLLIDING = [
    ["+", "-"],
    ["C", "C++", "C#"],
    ["-1", "1"],
    ["05", "0.5", "7"],
    ["[]", "[x]"],
    ["<=", ">=", "equal"],
    ["a", "A"],
    ["1/2", "12"],
    ["?"],
]


@pytest.mark.parametrize("labels", COLLIDING)
def test_a_closed_label_set_with_collisions_is_scored_by_exact_and_check_says_so(tmp_path, labels):
    task = task_of(tmp_path, labels)
    assert task.metric == "exact"
    (sentence,) = scorer_cautions([task])
    assert "'exact'" in sentence and "task 't'" in sentence
    assert all(repr(label) in sentence for group in collisions([[one] for one in labels]) for label in group)
    flipped = [answered(task, one, labels[labels.index(one.response) - 1] + "!") for one in task.test]
    right = [answered(task, one, f" {one.response}\n") for one in task.test]
    assert p_score(flipped, "exact") == 0 and p_score(right, "exact") == 100
    assert p_score([answered(task, one, "") for one in task.test], "exact") == 0


@pytest.mark.parametrize("labels", [["yes", "no"], ["Yes.", "No."], ["left turn", "right"], ["1", "2", "3"]])
def test_labels_that_differ_stay_with_accuracy_without_a_word(tmp_path, labels):
    task = task_of(tmp_path, labels)
    assert task.metric == "accuracy" and not scorer_cautions([task])


def test_a_stated_metric_stays_and_the_collisions_are_told(tmp_path):
    task = task_of(tmp_path, ["+", "-"], metric="accuracy")
    assert task.metric == "accuracy" and "state the metric 'exact'" in scorer_cautions([task])[0]
    assert task_of(tmp_path, ["yes", "no"], metric="exact").metric == "exact"
    with pytest.raises(DataError, match="expected one of exact, accuracy, rougeL"):
        task_of(tmp_path, ["yes", "no"], metric="exakt")


def test_several_ways_to_write_one_answer_are_no_collision(tmp_path):
    task = task_of(tmp_path, [["U.S.", "US"], ["U.K.", "UK"]])
    assert task.metric == "accuracy" and not scorer_cautions([task])
    assert task_of(tmp_path, [["plus", "+"], ["minus", "-"]]).metric == "exact"


def test_a_stated_label_set_counts_as_closed(tmp_path):
    demand = [{"type": "one_of", "values": ["+", "-"]}]
    assert task_of(tmp_path, ["+", "-"], repeat=1, constraints=demand).metric == "exact"


def test_free_answers_that_collide_often_are_told_and_sentence_ends_are_not(tmp_path):
    numbers = [str(number) for number in range(-20, 20)]
    assert not scorer_cautions([task_of(tmp_path, numbers, repeat=1)]), "the metric 'number' is guessed"
    (sentence,) = scorer_cautions([task_of(tmp_path, numbers, repeat=1, metric="rougeL")])
    assert "ROUGE-L" in sentence and "in 38 of 40 examples" in sentence
    words = [f"{text}{end}" for text in ("Very good", "not bad", "fine") for end in (".", "!", "")]
    assert not scorer_cautions([task_of(tmp_path, words + [f"it is {n}" for n in range(9)], repeat=1)])


@given(st.lists(st.text("aB+-. 1", min_size=1).filter(str.strip), min_size=1, max_size=7))
def test_without_collisions_accuracy_tells_all_labels_apart_and_with_them_exact_does(labels):
    distinct = {label.strip() for label in labels}
    accuracy = all(exact_match(one, [other]) == (one == other) for one in distinct for other in distinct)
    empty = any(exact_match("", [one]) for one in distinct)
    assert bool(collisions([[one] for one in labels])) == (not accuracy or empty)
    assert all(exact(one, [other]) == (one == other) for one in distinct for other in distinct)
    assert not any(exact("", [one]) for one in distinct)
