"""The built-in suite: exact gold, exact key parts, and no leak between base skills, streams and splits."""

import itertools
import json
import random
import re

import pytest

from kpig.tasks import constraints, suite
from kpig.tasks.constraints import violations
from kpig.tasks.suite import DEMANDS, OPERATIONS, WORDS

COMPOSITIONS = (*suite.base_skills(), *suite.free_compositions())


def test_there_are_at_least_16_operations_6_demands_and_4_trained_wordings_of_each():
    spoken = [demand for demand in DEMANDS if demand.name != "plain"]
    assert len(OPERATIONS) >= 16 and len(spoken) >= 6 and suite.NUM_TRAINED_WORDINGS >= 4
    for part in (*OPERATIONS, *spoken):
        assert len(set(part.wordings)) == suite.NUM_TRAINED_WORDINGS + 1, part.name
    assert len(set(suite.GENERAL)) == suite.NUM_TRAINED_WORDINGS + 1


def test_no_wording_means_two_things():
    wordings = [wording for part in (*OPERATIONS, *DEMANDS) for wording in part.wordings]
    assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize("composition", COMPOSITIONS, ids="-".join)
def test_gold_meets_every_constraint_of_its_task(composition):
    task = suite.task(composition, 15, 5, seed=0)
    for example in (*task.train, *task.test):
        assert violations(task.constraints, example.input, example.response) == ()


@pytest.mark.parametrize("composition", COMPOSITIONS, ids="-".join)
def test_key_parts_are_exactly_the_operation_and_the_demand(composition):
    operation = next(one for one in OPERATIONS if one.name == composition[0])
    demand = next(one for one in DEMANDS if one.name == composition[1])
    number = suite.NUM_TRAINED_WORDINGS + 1
    for general, first, second in itertools.product(range(number), repeat=3):
        one = suite.instruction(composition, general, first, second)
        found = [one.text[span.start : span.end] for span in one.key_parts]
        spoken = [demand.wordings[second]] if demand.wordings else []
        assert found == [operation.wordings[first], *spoken]
        assert [span.kind for span in one.key_parts] == ["operation", "format"][: len(found)]
        assert "{" not in one.text and "  " not in one.text and one.text.endswith(".")
        masked = suite.GENERAL[general].format(operation="_", demand=" _." if spoken else "")
        assert one.masked() == masked


def test_base_skills_and_free_compositions_are_disjoint_and_cover_every_part():
    base, free = suite.base_skills(), suite.free_compositions()
    assert len(set(base)) == len(base) and len(set(free)) == len(free)
    assert not set(base) & set(free)
    for position, parts in enumerate((OPERATIONS, DEMANDS)):
        assert {pair[position] for pair in base} == {part.name for part in parts}


@pytest.mark.parametrize("seed", range(5))
def test_streams_and_held_out_tasks_are_disjoint_and_no_base_skills(seed):
    stream = suite.stream(num_train=3, num_test=3, seed=seed)
    learned, held_out = [task.name for task in stream.tasks], [task.name for task in stream.held_out]
    assert (len(stream.steps), len(learned), len(held_out)) == (6, 12, 8)
    assert len({*learned, *held_out}) == 20
    assert not {*learned, *held_out} & {"-".join(pair) for pair in suite.base_skills()}
    for step in stream.steps:
        assert all(len({task.categories[part] for task in step}) == len(step) for part in (0, 1))
    assert all(not task.train for task in stream.held_out)


def test_train_and_test_inputs_are_distinct():
    for task in suite.stream(num_train=200, num_test=20).tasks:
        inputs = [example.input for example in (*task.train, *task.test)]
        assert len(set(inputs)) == len(inputs) == 220
        ids = [example.id for example in (*task.train, *task.test)]
        assert len(set(ids)) == len(ids)


def test_evaluation_wordings_are_in_no_training_wording():
    tasks = [suite.task(pair, 1, 1, 0) for pair in COMPOSITIONS]
    trained = {one.text for task in tasks for one in task.instructions}
    assert not trained & {one.text for task in tasks for one in task.evaluation_instructions}
    rng = random.Random(0)
    for _ in range(500):
        text = _mixed(rng.choice(suite.base_skills()), rng).text
        assert not any(part.wordings[-1] in text for part in (*OPERATIONS, *DEMANDS) if _is_telling(part))


def _mixed(composition, rng):
    """The instruction as the shipped tiny model was trained on it: every trained wording drawn by itself."""
    return suite.instruction(composition, *(rng.randrange(suite.NUM_TRAINED_WORDINGS) for _ in range(3)))


def _is_telling(part):
    """Whether the evaluation wording of a part is contained in none of the trained ones."""
    trained = [wording for one in (*OPERATIONS, *DEMANDS) for wording in one.wordings[:-1]]
    return part.wordings and not any(part.wordings[-1] in wording for wording in trained)


def test_every_word_is_one_token_of_the_shipped_tokenizer_bare_spaced_and_in_capitals(tokenizer):
    for word in (*WORDS, *suite.COUNT_WORDS.values()):
        for form in (word, f" {word}", word.upper(), f" {word.upper()}"):
            assert len(tokenizer.encode(form)) == 1, form


def test_word_lists_have_words_of_different_lengths_and_first_letters():
    rng = random.Random(0)
    for _ in range(300):
        words = suite.word_list(rng)
        assert suite.MIN_LIST <= len(words) <= suite.MAX_LIST
        assert len({len(word) for word in words}) == len({word[0] for word in words}) == len(words)


SOLUTIONS = {
    ("reverse", "commas"): lambda w: ", ".join(reversed(w)),
    ("sort", "upper"): lambda w: " ".join(sorted(word.upper() for word in w)),
    ("longest", "brackets"): lambda w: "[" + sorted(w, key=len)[-1] + "]",
    ("latest", "prefix"): lambda w: "answer: " + sorted(w)[-1],
    ("drop_longest", "period"): lambda w: " ".join(x for x in w if len(x) < max(map(len, w))) + ".",
    ("swap", "json"): lambda w: json.dumps([w[-1]] + w[1:-1] + [w[0]]),  # noqa: RUF005
    ("rotate", "plain"): lambda w: " ".join(w[1:] + w[:1]),
    ("double", "commas"): lambda w: ", ".join(f"{word}, {word}" for word in w),
    ("repeat_first", "upper"): lambda w: (w[0] + " " + " ".join(w)).upper(),
    ("count", "period"): lambda w: ["three.", "four.", "five."][len(w) - 3],
    ("ends", "json"): lambda w: f'["{w[0]}", "{w[-1]}"]',
    ("second", "brackets"): lambda w: f"[{w[1]}]",
    ("sort_length", "plain"): lambda w: " ".join(sorted(w, key=lambda word: len(word))),
}


@pytest.mark.parametrize("composition", SOLUTIONS, ids="-".join)
def test_solve_equals_a_solution_written_apart(composition):
    rng = random.Random(1)
    for words in (suite.word_list(rng) for _ in range(30)):
        before = list(words)
        assert suite.solve(composition, words) == SOLUTIONS[composition](words)
        assert words == before, "solve must not change its input"


def test_solutions_worked_by_hand():
    words = ["moon", "ant", "basket"]
    assert suite.solve(("copy", "plain"), words) == "moon ant basket"
    assert suite.solve(("shortest", "brackets"), words) == "[ant]"
    assert suite.solve(("earliest", "upper"), words) == "ANT"
    assert suite.solve(("drop_first", "json"), words) == '["ant", "basket"]'
    assert suite.solve(("drop_last", "commas"), words) == "moon, ant"
    assert suite.solve(("count", "prefix"), words) == "answer: three"


def test_no_two_compositions_have_the_same_response_to_every_input():
    rng = random.Random(0)
    inputs = [suite.word_list(rng) for _ in range(40)]
    answers = {tuple(suite.solve(pair, words) for words in inputs) for pair in COMPOSITIONS}
    assert len(answers) == len(COMPOSITIONS)


def test_the_same_seed_gives_the_same_stream_and_another_seed_another():
    small = {"num_train": 5, "num_test": 3}
    one = suite.stream(**small)
    assert one == suite.stream(**small)
    other = suite.stream(**small, seed=1)
    assert [task.name for task in other.tasks] != [task.name for task in one.tasks]
    inputs = [suite.task(("sort", "upper"), 5, 3, seed).train[0].input for seed in (0, 1)]
    assert inputs[0] != inputs[1]


def test_more_compositions_than_there_are_raise_value_error():
    count = len(suite.free_compositions())
    assert len(suite.stream(count, 1, 0, 1, 1).tasks) == count
    with pytest.raises(ValueError, match=rf"{count + 1} compositions asked for; the suite has {count}"):
        suite.stream(count, 1, 1, 1, 1)


def test_no_mix_of_trained_wordings_leaves_a_place_unfilled():
    rng = random.Random(0)
    for composition in COMPOSITIONS:
        assert not re.search(r"[{}]", _mixed(composition, rng).text)


def test_every_constraint_is_one_that_a_task_file_may_state():
    for composition in (*suite.base_skills(), *suite.free_compositions()):
        for one in suite.constraints(composition):
            entry = {"type": one.type, **one.params} | ({"kind": one.kind} if one.kind else {})
            assert constraints.parse(entry, "suite").type == one.type
