"""Answers chosen from labels: the likeliest whole label by hand, and only where labels are stated."""

import itertools
import random

import pytest
import torch

from kpig import config
from kpig.errors import ConfigError
from kpig.records import NEW_WORDING, SEED_WORDING, SEEN, Constraint, Task
from kpig.scoring import answers, choice, probing

LABELS = ("yes", "no", "not at all sure about it", "7")


def one_of(*values, **more):
    return Constraint("one_of", {"values": list(values), **more})


def task_of(make_example, constraints=(), count=5, name="answer"):
    rng = random.Random(3)
    words = [" ".join(rng.choices(("ant", "box", "river", "moon", "tree"), k=1 + n)) for n in range(count)]
    test = tuple(make_example("Is {this} so?", text, "no", name) for text in words)
    return Task(name, (test[0].instruction,), (), test, "accuracy", constraints=tuple(constraints))


def scored(learner, tasks, **settings):
    given = config.EvaluateSection(max_new_tokens=12, gain=False, **settings)
    probes = probing.probes({SEEN: tasks}, given)
    done = []
    found = answers.score(learner, probes, given, done.append)
    assert sum(done) == answers.num_answers(probes, given)
    return found


def by_hand(learner, ids, labels):
    """log p of each label behind a prompt, token by token, each in a row of its own."""
    found = []
    for label in labels:
        response = learner.encoder.response_ids(label)
        with torch.no_grad():
            logits = learner.model(torch.tensor([[*ids, *response]])).logits[0, len(ids) - 1 : -1]
        rows = logits.double().log_softmax(-1)
        found.append(sum(float(rows[place, one]) for place, one in enumerate(response)))
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("order", [LABELS, LABELS[::-1]])
def test_the_answer_is_the_label_of_highest_probability_masked_or_not(
    architecture, order, make_learner, make_example
):
    learner = make_learner(architecture)
    task = task_of(make_example, [one_of(*order)])
    for example, found in zip(task.test, scored(learner, [task], answers="choose"), strict=True):
        encoded = learner.encoder.encode(example, 12)
        for text, ids in ((found.response, encoded.prompt), (found.masked_response, encoded.masked_prompt)):
            values = by_hand(learner, ids, order)
            assert text == order[values.index(max(values))]
        assert found.finished and "degenerate" not in found.violations


def test_labels_of_several_tasks_and_wordings_are_chosen_each_from_its_own(make_learner, make_example):
    learner = make_learner("llama")
    new = make_example("Say whether it {is so}.").instruction
    tasks = [
        task_of(make_example, [one_of(*LABELS)], 4, "first"),
        task_of(make_example, [one_of("A", "B", "C")], 3, "second"),
    ]
    tasks[0] = Task(**{**vars(tasks[0]), "evaluation_instructions": (new,)})
    found = scored(learner, tasks, answers="choose")
    assert [one.wording for one in found].count(NEW_WORDING) == 4
    for one in found:
        assert one.response in (LABELS if one.task == "first" else ("A", "B", "C"))
        assert (one.masked_response is None) == (one.wording != SEED_WORDING)


def test_tasks_without_stated_labels_answer_as_ever(make_learner, make_example):
    learner = make_learner("llama")
    closed = task_of(make_example, [one_of(*LABELS)], 3, "closed")
    free = [task_of(make_example, one, 3, f"free {n}") for n, one in enumerate(([], [Constraint("json")]))]
    plain, chosen = (
        {one.task + one.example: one for one in scored(learner, [free[0], closed, free[1]], answers=how)}
        for how in ("generate", "choose")
    )
    assert plain.keys() == chosen.keys()
    for name, one in chosen.items():
        if name.startswith("free"):
            assert one == plain[name]
        else:
            assert one.response in LABELS and plain[name].response not in LABELS


def test_a_label_longer_than_an_answer_may_be_leaves_the_task_to_be_written(make_learner, make_example):
    learner = make_learner("llama")
    task = task_of(make_example, [one_of("yes", "no " * 12)])
    assert scored(learner, [task], answers="choose") == scored(learner, [task])


def test_demands_of_task_and_example_hold_together():
    assert choice.labels([]) == choice.labels([Constraint("json"), Constraint("max_words", {"n": 3})]) == ()
    assert choice.labels([one_of("b", "a", "b")]) == ("b", "a")
    assert choice.labels([one_of("b", "a", "c"), one_of("c", "b")]) == ("b", "c")
    assert choice.labels([one_of("Yes", "No"), one_of("yes", case_sensitive=False)]) == ("Yes",)
    assert choice.labels([one_of("a"), one_of("b")]) == ()


def test_of_equally_likely_labels_the_first_is_chosen(make_learner, make_example):
    learner = make_learner("llama")
    with torch.no_grad():
        learner.model.get_output_embeddings().weight.zero_()
    even = [label for label in itertools.chain("abc", "xyz") if len(learner.encoder.response_ids(label)) == 2]
    assert len(even) > 2
    for labels in (even, even[::-1]):
        task = task_of(make_example, [one_of(*labels)], 2)
        assert {one.response for one in scored(learner, [task], answers="choose")} == {labels[0]}


def test_no_token_is_spent_by_choosing(make_learner, make_example):
    learner = make_learner("llama")
    scored(learner, [task_of(make_example, [one_of(*LABELS)])], answers="choose")
    assert (learner.ledger.forward_tokens, learner.ledger.computed_tokens) == (0, 0)


def test_another_way_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"answers"):
        config.build({"evaluate": {"answers": "likelihood"}})
