"""TIR's likenesses, importances and penalty against torch, loops and closed forms; and the laws it keeps."""

import dataclasses

import numpy as np
import pytest
import torch

from kpig.methods import tir
from kpig.methods.chosen import create
from kpig.methods.parts import embeddings
from kpig.methods.parts.memory import drawn
from kpig.testing.models import scatter
from kpig.training import checkpoint
from test_penalties import TASKS, configured, fit, literal_fisher, step_of


def units(count, size, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, size))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_torch(vectors):
    """The likenesses of the last of the vectors, as the read code computes them: that one goes first."""
    every = torch.from_numpy(np.vstack([vectors[-1:], vectors[:-1]]))
    cosines = every @ every.T
    pairs = torch.stack([cosines[i, j] for i in range(len(every)) for j in range(i + 1, len(every))])
    return torch.sigmoid((pairs - pairs.mean()) / pairs.std())[: len(every) - 1]


@pytest.mark.parametrize("count", [3, 4, 7])
@pytest.mark.parametrize("seed", [0, 5])
def test_likenesses_are_the_standardised_cosines_of_all_pairs(count, seed):
    vectors = units(count, 5, seed)
    found = tir.likenesses(vectors)
    np.testing.assert_allclose(found, by_torch(vectors).numpy(), rtol=1e-12)
    assert ((found > 0) & (found < 1)).all()


def test_the_past_step_that_is_nearer_is_the_more_alike():
    near, far, present = np.eye(3)[:3]
    present = (0.9 * near + 0.1 * present) / np.linalg.norm(0.9 * near + 0.1 * present)
    found = tir.likenesses(np.stack([near, far, present]))
    assert found[0] > 0.5 > found[1]


@pytest.mark.parametrize(
    "vectors",
    [np.eye(3)[:2], np.eye(4), np.ones((5, 3)) / np.sqrt(3), np.repeat(units(1, 7, 3), 4, 0)],
    ids=["one pair", "all square", "all the same", "the same up to rounding"],
)
def test_likenesses_are_a_half_where_pairs_do_not_differ(vectors):
    np.testing.assert_array_equal(tir.likenesses(vectors), np.full(len(vectors) - 1, 0.5))


def test_the_first_step_is_like_none():
    assert tir.likenesses(units(1, 4, 0)).shape == (0,)


def test_importances_have_mean_1_over_all_weights_together():
    found = tir.of_mean_1({"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([[0.0, 0.5, 0.5]])})
    assert found["a"].tolist() == [1.0, 3.0] and found["b"].tolist() == [[0.0, 0.5, 0.5]]
    found = tir.of_mean_1({"a": torch.tensor([2e-9, 0.0, 4e-9])})
    assert found["a"].tolist() == pytest.approx([1.0, 0.0, 2.0])
    assert tir.of_mean_1({"a": torch.zeros(3)})["a"].tolist() == [0.0, 0.0, 0.0]


def test_each_weight_keeps_its_largest_importance_and_whose_it_is():
    kept, owners = {}, {}
    series = ([1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 2.0, 0.0], [2.0, 6.0, 7.0, 0.0])
    for number, values in enumerate(series):
        kept, owners = tir.largest(kept, owners, {"w": torch.tensor(values)}, number)
    assert kept["w"].tolist() == [3.0, 6.0, 7.0, 0.0]
    assert owners["w"].tolist() == [1, 2, 2, 0] and owners["w"].dtype == torch.int16


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_the_penalty_is_the_formula_over_single_weights(adapter, make_learner):
    """Three steps; importances from a loop over examples, vectors from the starting model, sums by hand."""
    settings = configured("tir", tir={"weight": 0.3, "num_examples": 99})
    method, learner = create(settings), make_learner("gpt2", adapter, keep_initial=True)
    begun, measured, vectors = learner.weights(), [], {side: [] for side in tir.SIDES}
    for number, task in enumerate(TASKS, 1):
        scatter(learner.model, number, 0.1)
        present, examples = learner.weights(), drawn((task,), 99, method.rng(f"tir/{number}"))
        learner.load_weights(begun)
        for side, of in zip(tir.SIDES, (embeddings.of_examples, embeddings.of_responses), strict=True):
            mean = of(learner, examples).mean(0)
            vectors[side].append(mean / np.linalg.norm(mean))
        learner.load_weights(present)
        method.begin_step(step_of(number, task), learner)
        if number < len(TASKS):
            method.end_step(step_of(number, task), learner)
            measured.append(literal_fisher(learner, examples))
    likeness = np.prod([by_torch(np.array(vectors[side])).numpy() for side in tir.SIDES], axis=0)
    assert method.likenesses() == pytest.approx(likeness.tolist(), rel=1e-4)

    scatter(learner.model, 9, 0.05)
    num_weights = sum(weight.numel() for weight in begun.values())
    scales = [num_weights / sum(float(one.double().sum()) for one in fisher.values()) for fisher in measured]
    expected = 0.0
    for name, weight in learner.parameters().items():
        first, second = (
            scale * fisher[name].double() for scale, fisher in zip(scales, measured, strict=True)
        )
        held = torch.where(second > first, (1 - likeness[1]) * second, (1 - likeness[0]) * first)
        moved = weight.detach().double() - present[name].double()
        expected += 0.3 * float((held * moved.square()).sum())
    assert expected > 0
    assert float(method.penalty(learner)) == pytest.approx(expected, rel=1e-3)


def test_a_step_like_the_present_one_is_held_less_than_one_unlike_it(make_learner):
    """Step 3 repeats step 1's task: the weights that matter to it are held less than those of step 2."""
    method, learner = create(configured("tir")), make_learner("gpt2", keep_initial=True)
    for number, task in enumerate((TASKS[0], TASKS[2], TASKS[0]), 1):
        method.begin_step(step_of(number, task), learner)
        likeness = method.likenesses()
        method.end_step(step_of(number, task), learner)
    same, other = likeness
    assert 0 < other < same < 1


def test_likenesses_do_not_hang_on_what_was_learned(make_learner):
    """The vectors are the starting model's, so a task has the same vector whenever it comes."""
    method, learner = create(configured("tir")), make_learner("gpt2", keep_initial=True)
    method.begin_step(step_of(1, TASKS[0]), learner)
    method.end_step(step_of(1, TASKS[0]), learner)
    scatter(learner.model, 3, 0.5)
    again = dataclasses.replace(step_of(1, TASKS[0]), num_updates=7)
    present = learner.weights()
    method.begin_step(again, learner)
    method.end_step(again, learner)
    for side in tir.SIDES:
        assert method.vectors[side][0] == pytest.approx(method.vectors[side][1], rel=1e-6)
    assert all(torch.equal(one, present[name]) for name, one in learner.weights().items())


def test_no_penalty_in_the_first_step_and_none_when_the_next_begins(make_learner):
    settings = configured("tir", tir={"weight": 1e5, "num_examples": 5})
    method, learner = create(settings), make_learner("gpt2", keep_initial=True)
    first, _ = fit(learner, method, step_of(1, TASKS[0]), settings)
    assert all("penalty" not in record for record in first)
    second, _ = fit(learner, method, step_of(2, TASKS[1]), settings)
    assert second[0]["penalty"] == 0.0 and second[1]["penalty"] > 0


def test_a_heavy_penalty_keeps_the_weights_nearer(make_learner):
    moved = []
    for weight in (1e-6, 1e4):
        settings = configured("tir", tir={"weight": weight, "num_examples": 5})
        method, learner = create(settings), make_learner("gpt2", keep_initial=True)
        fit(learner, method, step_of(1, TASKS[0]), settings)
        before = learner.weights()
        fit(learner, method, step_of(2, TASKS[1], num_updates=6), settings)
        moved.append(float(method.penalty(learner)) / weight)
        learner.load_weights(before)
        assert float(method.penalty(learner)) == 0.0
    assert moved[1] < 0.5 * moved[0]


def test_what_is_kept_is_two_numbers_a_weight_for_any_number_of_steps(make_learner):
    method, learner = create(configured("tir")), make_learner("gpt2", adapter=True)
    for number, task in enumerate(TASKS, 1):
        scatter(learner.model, number, 0.1)
        method.begin_step(step_of(number, task), learner)
        method.end_step(step_of(number, task), learner)
        _, tensors = checkpoint.parted(method.state_dict())
        size = sum(weight.numel() for weight in learner.parameters().values())
        assert sum(one.numel() for one in tensors.values()) == 2 * size
