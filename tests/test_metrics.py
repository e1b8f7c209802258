"""Scores agree with the published scorer; transfer agrees with a matrix worked by hand."""

import json
import string
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from kpig.errors import ConfigError
from kpig.records import Gain, Prediction
from kpig.scoring.metrics import (
    average,
    backward_transfer,
    forgetting,
    forward_transfer,
    group_scores,
    p_score,
    task_scores,
)
from kpig.tasks.constraints import KINDS
from kpig.tasks.matching import exact_match, normalize, rouge_l

TASKS_DIR = Path(__file__).parents[1].parent / "shared" / "data" / "superni-stream" / "tasks"
needs_shared_data = pytest.mark.skipif(
    not TASKS_DIR.exists(), reason="the shared tasks (shared/data beside the repository) are not there"
)


def normalize_answer(s):
    """As the Super-NaturalInstructions evaluation writes it."""

    def white_space_fix(text):
        return " ".join(text.split())

    def remove_punc(text):
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    def lower(text):
        return text.lower()

    return white_space_fix(remove_punc(lower(s)))


@cache
def real_pairs() -> list[tuple[str, tuple[str, ...]]]:
    """Responses with references: outputs beside those of another instance, and beside damaged ones."""
    pairs = []
    for path in sorted(TASKS_DIR.glob("*.json")):
        outputs = [i["output"] for i in json.loads(path.read_text(encoding="utf-8"))["Instances"]]
        for references, others in zip(outputs[:9], outputs[9:18], strict=True):
            gold = references[0]
            responses = (
                others[0],
                f"The {gold.upper()}!",
                f"{gold[::2]} ",
                gold.replace(" ", " ,\t") + ".",
                "",
            )
            pairs += [(response, tuple(references)) for response in responses]
    return pairs


@needs_shared_data
def test_rouge_l_is_that_of_the_published_scorer_on_real_pairs():
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    expected = []
    for response, references in real_pairs():
        by_reference = [scorer.score(target=r, prediction=response)["rougeL"].fmeasure for r in references]
        expected.append(max(by_reference))
        assert rouge_l(response, references) == expected[-1]
    assert len(expected) >= 200
    assert sum(0 < value < 1 for value in expected) > 50


@needs_shared_data
def test_exact_match_is_that_of_the_published_normalisation_on_real_pairs():
    matched = []
    for response, references in real_pairs():
        matched.append(any(normalize_answer(response) == normalize_answer(r) for r in references))
        assert exact_match(response, references) == float(matched[-1])
        assert normalize(response) == normalize_answer(response)
    assert len(matched) >= 200
    assert 50 < sum(matched) < len(matched) - 50


def test_normalize_keeps_articles_and_drops_only_ascii_punctuation():
    assert normalize(" The  U.S.\tdog's \u2013 A\n") == "the us dogs \u2013 a"


def test_the_best_reference_counts():
    assert exact_match("no", ["yes", "No."]) == 1.0
    assert exact_match("perhaps", ["yes", "no"]) == 0.0
    assert rouge_l("the red ball", ["a blue cube", "red balls"]) == pytest.approx(0.8)


@pytest.mark.parametrize("score", [exact_match, rouge_l])
def test_scoring_without_references_is_refused(score):
    with pytest.raises(ValueError, match="at least one reference"):
        score("yes", [])


def test_importing_metrics_loads_neither_the_scorer_nor_torch():
    code = (
        "import sys, kpig.scoring.metrics; "
        "print([m for m in ('torch', 'nltk', 'rouge_score') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def prediction(task: str = "a", **changes) -> Prediction:
    plain = Prediction(task, "1", "seen", "seed", "prompt", "yes", ("yes",), True, 1.0, 0.5, (), 1)
    return replace(plain, **changes)


def test_p_score_is_percent_accuracy_or_percent_rouge_l():
    predictions = [prediction(), prediction(exact_match=0.0, rouge_l=0.2)]
    assert p_score(predictions, "accuracy") == 50.0
    assert p_score(predictions, "rougeL") == pytest.approx(35.0)


def test_p_score_refuses_another_metric_and_no_predictions():
    with pytest.raises(ConfigError, match=r"no metric 'rouge'; did you mean 'rougeL'\?"):
        p_score([prediction()], "rouge")
    with pytest.raises(ValueError, match="at least one prediction"):
        p_score([], "accuracy")


def test_a_task_score_counts_responses_not_broken_constraints():
    predictions = [
        prediction(violations=("wrong_format", "wrong_format", "degenerate")),
        prediction(violations=("wrong_format",)),
        prediction(),
        prediction(),
    ]
    score = task_scores(predictions, {"a": "accuracy"})["a"]
    assert score.v_score == 50.0
    assert score.violations == {**dict.fromkeys(KINDS, 0.0), "wrong_format": 50.0, "degenerate": 25.0}
    assert (score.n, score.coverage, score.metric, score.p_score) == (4, True, "accuracy", 100.0)


def test_half_listening_and_gain_use_only_the_predictions_that_have_them():
    predictions = [
        prediction(masked_response="yes", gain=Gain(0.5, 2.0, 0.9, 0.4)),
        prediction(masked_response="no", gain=Gain(0.1, 1.0, 0.5, 0.4)),
        prediction(masked_response="Yes"),
        prediction(),
    ]
    score = task_scores(predictions, {"a": "accuracy"})["a"]
    assert score.half_listening == pytest.approx(100 / 3)
    assert score.gain == pytest.approx(0.3)
    assert score.log_gain == pytest.approx(1.5)


def test_what_no_prediction_measures_is_none():
    score = task_scores([prediction(num_constraints=0)], {"a": "rougeL"})["a"]
    assert (score.half_listening, score.gain, score.log_gain, score.coverage) == (None, None, None, False)


def test_tasks_are_scored_apart_and_each_needs_a_metric():
    predictions = [prediction("a"), prediction("b", rouge_l=0.25), prediction("a", exact_match=0.0)]
    scores = task_scores(predictions, {"a": "accuracy", "b": "rougeL", "c": "rougeL"})
    assert {task: score.p_score for task, score in scores.items()} == {"a": 50.0, "b": 25.0}
    with pytest.raises(ValueError, match="no metric given for b"):
        task_scores(predictions, {"a": "accuracy"})


def test_a_group_score_weighs_tasks_not_examples_and_skips_what_is_none():
    predictions = [prediction("a", exact_match=0.0, violations=("degenerate",))] * 3
    predictions += [prediction("b", num_constraints=0, masked_response="yes", gain=Gain(0.4, 1.0, 0.8, 0.4))]
    group = group_scores(task_scores(predictions, {"a": "accuracy", "b": "accuracy"}))
    assert (group.p_score, group.v_score, group.violations["degenerate"]) == (50.0, 50.0, 50.0)
    assert (group.half_listening, group.gain, group.log_gain) == (100.0, 0.4, 1.0)
    assert (group.constrained, group.num_tasks) == (50.0, 2)
    with pytest.raises(ValueError, match="at least one task"):
        group_scores({})


#          step 1 2 3
BY_HAND = [
    [10, 20, 30],  # untuned
    [80, 25, 20],  # after step 1
    [70, 90, 50],  # after step 2
    [60, 85, 95],  # after step 3
]


def test_transfer_metrics_are_those_worked_by_hand():
    assert average(BY_HAND) == 80
    assert backward_transfer(BY_HAND) == ((60 - 80) + (85 - 90)) / 2
    assert forgetting(BY_HAND) == ((80 - 60) + (90 - 85)) / 2
    assert forward_transfer(BY_HAND) == ((25 - 20) + (50 - 30)) / 2


def test_forgetting_takes_the_best_of_all_steps_but_not_of_the_untuned_model():
    assert forgetting([[99, 0], [40, 0], [60, 10]]) == 0
    assert forgetting([[0, 0, 0], [50, 70, 0], [50, 60, 0], [50, 55, 0]]) == 7.5


def test_one_step_has_an_average_and_no_transfer():
    matrix = [[10.0], [70.0]]
    assert average(matrix) == 70
    assert [backward_transfer(matrix), forgetting(matrix), forward_transfer(matrix)] == [None] * 3


def test_transfer_leaves_out_what_was_not_measured():
    """Step 3 was not known before it was learned; of step 1 the test examples are gone at the end."""
    grown = [[10, 20, None], [80, 25, None], [70, 90, None], [60, 85, 95]]
    assert (average(grown), forgetting(grown)) == (80, forgetting(BY_HAND))
    assert backward_transfer(grown) == backward_transfer(BY_HAND)
    assert forward_transfer(grown) == 25 - 20
    gone = [*grown[:3], [None, 85, 95]]
    assert (average(gone), backward_transfer(gone), forgetting(gone)) == (None, 85 - 90, 90 - 85)
    nothing = [[1, None], [None, None], [None, 4]]
    assert [one(nothing) for one in (backward_transfer, forgetting, forward_transfer)] == [None] * 3


@pytest.mark.parametrize("metric", [average, backward_transfer, forgetting, forward_transfer])
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([], "two rows or more, not 0"),
        ([[1.0]], "two rows or more, not 1"),
        ([[1, 2], [1, 2]], "row 0 of a matrix of scores must have 1 scores, one per step, not 2"),
        ([[1, 2], [1, 2], [1]], "row 2 .* must have 2 scores, one per step, not 1"),
    ],
)
def test_a_matrix_of_another_shape_is_refused(metric, matrix, message):
    with pytest.raises(ValueError, match=message):
        metric(matrix)
