"""Label sets under other names: which tasks have one, what changes, and that instruction and response agree."""

import random

import pytest

from kpig.pretrain import labels
from kpig.records import Example, Instruction, Task


def make_task(text, responses, inputs=None, name="t"):
    instruction = Instruction(text)
    inputs = inputs or ["the wide river runs quickly past old houses"] * len(responses)
    train = tuple(
        Example(f"{name}-{place}", name, instruction, given, (response,))
        for place, (given, response) in enumerate(zip(inputs, responses, strict=True))
    )
    return Task(name, (instruction,), train, train[:1], "accuracy")


@pytest.mark.parametrize(
    ("text", "responses", "expected"),
    [
        ('Answer "Yes" or "No".', ["Yes", "No"], ("No", "Yes")),
        ("Say whether it is male or female.", ["Male", "Female"], ("Female", "Male")),
        ("Return 1 if it is, else return 0.", ["0", "1"], ("0", "1")),
        ("Answer Yes or nothing.", ["Yes", "No"], ()),
        ("Give a letter of a to z.", ["a", "z"], ()),
        ('Answer "a" or "z".', ["a", "z"], ("a", "z")),
        ("Always answer Yes.", ["Yes", "Yes"], ()),
    ],
)
def test_a_label_set_is_what_the_instruction_names(text, responses, expected):
    assert labels.label_set(make_task(text, responses)) == expected


def test_labels_that_the_inputs_hold_are_left_alone():
    inputs = ["Text one: big dogs. Text two: small dogs."] * 2
    assert labels.label_set(make_task("Text one or Text two?", ["Text one", "Text two"], inputs)) == ()


def test_a_task_with_several_wordings_is_left_alone():
    from dataclasses import replace

    task = make_task('Answer "Yes" or "No".', ["Yes", "No"])
    assert labels.label_set(replace(task, instructions=(*task.instructions, Instruction("Yes or No?")))) == ()


def test_one_label_inside_another_is_not_mistaken_for_it():
    task = make_task("Choose Hope Speech or Not Hope Speech, not hope.", ["Hope Speech", "Not Hope Speech"])
    new = labels.renamed(task, {"Hope Speech": "red", "Not Hope Speech": "blue"})
    assert new.instruction.text == "Choose red or blue, not hope."
    assert [example.response for example in new.train] == ["red", "blue"]
    assert all(example.instruction == new.instruction for example in new.train)
    assert new.test == task.test


def test_names_that_are_themselves_labels_are_exchanged_not_chained():
    task = make_task('Answer "up" or "down".', ["up", "down"])
    new = labels.renamed(task, {"up": "down", "down": "up"})
    assert new.instruction.text == 'Answer "down" or "up".'


@pytest.fixture
def tasks():
    first = make_task('Answer "Yes" or "No".', ["Yes", "No"] * 20, name="first")
    second = make_task("Is it POS or NEG?", ["POS", "NEG"] * 20, name="second")
    return first, second, make_task("Write on.", [f"text {n}" for n in range(40)], name="open")


def test_every_response_is_named_in_its_instruction_and_nothing_is_lost(tasks):
    new = labels.with_other_names(tasks, 0.5, random.Random(0))
    for before in tasks:
        after = [one for task in new if task.name == before.name for one in task.train]
        assert sorted(one.id for one in after) == sorted(one.id for one in before.train)
        inputs = {one.id: one.input for one in before.train}
        assert all(one.input == inputs[one.id] for one in after)
    for task in new:
        if task.name != "open":
            assert len(task.train) <= labels.BLOCK
            assert all(one.response in task.instruction.text for one in task.train)
            assert all(one.instruction == task.instruction for one in task.train)
    texts = {task.instruction.text for task in new}
    assert len(texts) > 4 and {task.instruction.text for task in tasks} <= texts


def test_share_zero_renames_nothing_and_one_everything(tasks):
    assert all(
        task.instruction.origin == "seed" for task in labels.with_other_names(tasks, 0.0, random.Random(0))
    )
    closed = [task for task in labels.with_other_names(tasks, 1.0, random.Random(0)) if task.name != "open"]
    assert all(task.instruction.origin == "other labels" for task in closed)


def test_the_same_generator_gives_the_same_names(tasks):
    one, other = (labels.with_other_names(tasks, 0.5, random.Random(7)) for _ in range(2))
    assert one == other


def test_a_name_has_no_part_in_the_set_it_replaces(tasks):
    for task in labels.with_other_names(tasks, 1.0, random.Random(1)):
        if task.name == "first":
            assert not {one.response for one in task.train} & {"Yes", "No"}
