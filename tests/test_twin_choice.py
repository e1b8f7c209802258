"""KPIG's twins of a part of the examples, how hard they are held, and signals of what was forgotten."""

import dataclasses
import math
import random

import pytest
import torch

from kpig.config import TrainSection
from kpig.methods.chosen import create
from kpig.methods.kpig import unheard
from kpig.methods.parts import twin_choice
from kpig.model import gain
from kpig.records import Gain
from kpig.testing.models import scatter
from test_train import SMALL, TASKS, clock_at, configured, fit, gradient, in_double, prepared, step_of

MANY = [*TASKS[0].train, *TASKS[1].train, *TASKS[2].train]


def test_a_share_of_the_allowed_examples_with_key_parts_is_taken_right_on_average(mixed_examples):
    examples = [*MANY[:7], mixed_examples[2]]
    assert not examples[-1].instruction.key_parts
    allowed = [place != 3 for place in range(8)]
    rng = random.Random(0)
    drawn = [twin_choice.chosen(examples, allowed, 0.25, rng) for _ in range(2000)]
    assert not any(taken[3] or taken[7] for taken in drawn)
    assert {sum(taken) for taken in drawn} == {1, 2}, "a quarter of six"
    assert sum(map(sum, drawn)) / 2000 == pytest.approx(1.5, abs=0.05)
    for place in (0, 1, 2, 4, 5, 6):
        assert sum(taken[place] for taken in drawn) / 2000 == pytest.approx(0.25, abs=0.05)
    assert all(twin_choice.chosen(examples, allowed, 1.0, rng) == [*allowed[:7], False] for _ in range(50))


def test_the_most_urgent_are_taken_and_equal_ones_by_chance():
    urgency = [0.1, 0.9, 0.5, 0.5, 0.5, 0.2]
    rng = random.Random(0)
    drawn = {tuple(twin_choice.chosen(MANY[:6], [True] * 6, 1 / 3, rng, urgency)) for _ in range(100)}
    assert drawn == {tuple(place in (1, other) for place in range(6)) for other in (2, 3, 4)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [True] * 7),
        ({"twins_of": "replayed"}, [False] * 4 + [True] * 3),
        ({"twins_of": "current"}, [True] * 4 + [False] * 3),
        ({"twin_share": 3 / 7, "twin_choice": "lowest"}, [False] * 3 + [True] * 3 + [False]),
    ],
    ids=str,
)
def test_twins_are_of_the_examples_that_are_asked_for(settings, expected, make_learner):
    method = prepared("kpig", make_learner(keep_initial=True), kpig=settings)
    examples = [*TASKS[0].train[:3], *TASKS[1].train[:3], *TASKS[2].train[:1]]
    assert method.twinned(examples, 3, clock_at(2)) == expected
    assert method.twinned(examples, 3, clock_at(2)) == expected, "asked twice"


def test_the_term_of_a_random_share_is_on_average_that_of_all(make_learner):
    learner = in_double(make_learner("gpt2"))
    scatter(learner.model, 1, 0.1)
    examples = [*TASKS[0].train[:3], *TASKS[1].train[:2], *TASKS[2].train[:1]]

    def terms(updates, **settings):
        method = prepared("kpig", learner, kpig=settings)
        for update in updates:
            twinned = method.twinned(examples, 0, clock_at(update, num_updates=1000))
            encoded = [
                one if has else one.alone
                for one, has in zip(learner.encoder.encode_all(examples), twinned, strict=True)
            ]
            (batch,) = learner.training_batches(encoded, TrainSection(), True)
            assert [number in batch.with_twins for number in range(6)] == [
                twinned[one] for one in batch.places
            ]
            yield float(method.loss(learner, batch).log.get("twin_penalty", 0.0))

    (whole,) = terms([0])
    half = list(terms(range(120), twin_share=0.5))
    assert whole > 0 and len(set(half)) > 10
    error = torch.tensor(half).std() / math.sqrt(len(half))
    assert abs(sum(half) / len(half) - whole) < 3 * error
    halves = list(terms([0, 999], twin_schedule="rising"))
    assert halves == pytest.approx([whole * 0.001, whole * 1.999], rel=1e-6)
    assert list(terms([0, 999], twin_schedule="falling")) == pytest.approx(halves[::-1], rel=1e-6)


@pytest.mark.parametrize("row_tokens", [0, "auto"])
def test_weights_of_single_examples_are_those_of_their_own_gains(row_tokens, make_learner):
    learner = in_double(make_learner("gpt2"))
    scatter(learner.model, 1, 0.3)
    examples = [*TASKS[0].train[:3], *TASKS[1].train[:2]]
    train = TrainSection(row_tokens=row_tokens)
    batches = learner.training_batches(examples, train, True)
    method = prepared("kpig", learner, kpig={"weighting": "example"})
    found, gradients = gradient(learner, method, batches)
    expected, slopes = 0.0, dict.fromkeys(gradients, 0.0)
    num_tokens = sum(batch.num_tokens for batch in batches)
    own = [gain.measure(learner, {"one": [example]})["one"] for example in examples]
    assert len({one.prob for one in own}) == 5
    for example, one in zip(examples, own, strict=True):
        plain = prepared("kpig", learner, kpig={"weighting": "none", "twin_weight": unheard(one)})
        alone = learner.training_batches([example], train, True)
        share = alone[0].num_tokens / num_tokens
        value, slope = gradient(learner, plain, alone)
        expected += share * value
        slopes = {name: slopes[name] + share * slope[name] for name in slopes}
    assert found == pytest.approx(expected, rel=1e-6)
    for name, slope in slopes.items():
        torch.testing.assert_close(gradients[name], slope, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("signal", "chosen"),
    [("gain", 1), ("gain_drop", 2), ("likelihood_drop", 0), ("unheard_drop", 2)],
)
def test_each_signal_replays_what_it_says(signal, chosen, make_learner):
    """The first task lost most likelihood but still listens, the third nearly as much and does not."""
    method = create(configured("kpig", kpig={"selection": "lowest", "signal": signal}))
    names = [*(task.name for task in TASKS[:2]), "third"]
    for task in (*TASKS[:2], dataclasses.replace(TASKS[2], name="third")):
        method.memory.add(task)
    now = zip(names, ((0.6, 0.3), (0.05, 0.9), (0.1, 0.4)), strict=True)
    method.gains = {name: Gain(prob, prob, told, told - prob) for name, (prob, told) in now}
    method.learned = dict(zip(names, (0.7, 0.1, 0.8), strict=True))
    method.learned_likelihood = dict(zip(names, (0.9, 0.9, 0.95), strict=True))
    assert method._select(clock_at(1)) == [names[chosen]]


def test_what_a_task_was_is_kept_and_comes_back(make_learner):
    settings = configured("kpig", kpig={"selection": "lowest", "signal": "likelihood_drop"})
    method, learner = create(settings), make_learner(keep_initial=True)
    fit(learner, method, step_of(1, *TASKS[:2]), settings)
    fit(learner, method, step_of(2, TASKS[2]), settings)
    assert set(method.learned_likelihood) == {task.name for task in TASKS[:2]}
    other = create(settings)
    other.load_state_dict(method.state_dict())
    assert other.learned_likelihood == method.learned_likelihood
    state = method.state_dict()
    del state["learned_likelihood"]
    other.load_state_dict(state)
    assert other._signal(TASKS[0].name) == 0.0, "a run of an earlier version does not know it"


def test_gains_are_read_only_where_there_was_a_twin(make_learner):
    table = {"gain_from": "training", "twins_of": "replayed", "num_probes": 2, "num_tasks": 3}
    settings = configured("kpig", kpig=table, train={"updates_per_step": 4})
    method, learner = create(settings), make_learner(keep_initial=True)
    fit(learner, method, step_of(1, TASKS[0], num_updates=4), settings)
    assert not method.running, "nothing was replayed"
    fit(learner, method, step_of(2, TASKS[1], num_updates=4), settings)
    assert set(method.running) == {TASKS[0].name}


def test_a_share_costs_fewer_tokens(make_learner):
    spent = {}
    for share in (0.25, 1.0):
        settings = configured("kpig", kpig={"twin_share": share, "weighting": "none"}, train=SMALL["train"])
        learner = make_learner(keep_initial=True)
        fit(learner, create(settings), step_of(1, *TASKS), settings)
        spent[share] = learner.ledger.train_tokens + learner.ledger.forward_tokens
    assert spent[0.25] < 0.75 * spent[1.0]


def test_rows_of_their_own_hold_twins_only_where_there_are_some(make_learner):
    """Two short examples without twins stand in one pass of a size that holds one with its twin."""
    learner = make_learner()
    one, *_ = learner.encoder.encode_all([TASKS[0].train[0]])
    train = TrainSection(row_tokens=0, tokens_per_micro_batch=2 * one.num_tokens)
    for encoded, expected in (
        ([one, one], [1, 1]),
        ([one.alone, one.alone], [2]),
        ([one, one.alone], [1, 1]),
    ):
        batches = learner.training_batches(encoded, train, True)
        assert [len(batch.places) for batch in batches] == expected
