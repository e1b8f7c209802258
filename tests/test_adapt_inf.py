"""Adapt-∞: what is read of candidates, how pseudo-skills choose among them, and what a step learns."""

import itertools
import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from scipy.stats import zscore

from kpig import config
from kpig.config import TrainSection
from kpig.errors import ModelError
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.methods.parts import candidates, skills
from kpig.model import gain
from kpig.tasks import suite
from kpig.testing import several
from test_gain import likelihoods

TASKS = tuple(
    suite.task(pair, 9, 1, seed=0) for pair in (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
)


def pool(size, seed=0, num_groups=3, dimension=6):
    """Vectors around some centres, and two scores: one even, one with all its values but one alike."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_groups, dimension)) * 9
    vectors = centres[rng.integers(num_groups, size=size)] + rng.normal(size=(size, dimension))
    lone = np.zeros(size)
    lone[size // 2] = 1.0
    return vectors, {"lone": lone, "even": rng.permutation(size) + rng.random(size)}


def select(vectors, scores, budget, num_clusters=3, near_duplicate=1.0, seed=0):
    return skills.select(vectors, scores, budget, num_clusters, near_duplicate, random.Random(seed))


def rows(clusters):
    return sorted(row for one in clusters for row in one.chosen)


# The choice


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 80), st.integers(1, 12), st.integers(0, 5))
def test_the_budget_is_held_exactly_and_all_rows_are_different(size, budget, num_clusters, seed):
    vectors, scores = pool(size, seed)
    found = rows(select(vectors, scores, budget, num_clusters, seed=seed))
    assert len(found) == min(budget, size) == len(set(found)) and set(found) <= set(range(size))


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(-1e3, 1e3), st.integers(0, 9))
def test_the_choice_does_not_depend_on_the_scale_of_a_score_nor_on_where_it_is_0(scale, shift, seed):
    vectors, scores = pool(67, seed)
    moved = scores | {"even": scores["even"] * scale, "lone": (scores["lone"] + shift) * 3}
    assert select(vectors, moved, 23) == select(vectors, scores, 23)


def test_the_bin_edges_of_the_released_code_would_make_it_depend_on_the_scale():
    """Its edges are at ±4 raw deviations of what is standardised: many values fall into one bin, or out."""

    def released(values):
        spread = values.std()
        edges = np.linspace(-4 * spread, 4 * spread, 50)
        counts = np.histogram((values - values.mean()) / spread, edges)[0]
        return scipy_entropy(counts, base=2) if counts.sum() else 0.0

    values = np.random.default_rng(1).normal(size=300)
    assert released(values * 100) < 2.0 < released(values) and released(values * 1e-3) < 4.5
    found = {skills.entropy(skills.standardised(values * scale)) for scale in (1e-3, 1.0, 100.0)}
    assert len(found) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-5000, 5000).map(lambda one: one / 100), min_size=2, max_size=90))
def test_entropy_is_that_of_scipy_over_50_bins_of_z_scores(values):
    values = np.array(values)
    found = skills.entropy(skills.standardised(values))
    if not np.ptp(values):
        assert found == 0.0
        return
    z = np.clip(zscore(values).round(4), -4 + 1e-9, 4 - 1e-9)
    counts = Counter(math.floor((one + 4) / 0.16) for one in z)
    assert found == pytest.approx(scipy_entropy(list(counts.values()), base=2), abs=1e-3)
    assert 0.0 <= found <= math.log2(50)


def test_values_that_differ_by_rounding_only_tell_nothing():
    values = 0.3 + np.random.default_rng(0).normal(size=40) * 1e-8
    assert not skills.standardised(values).any() and skills.entropy(skills.standardised(values)) == 0.0
    assert not skills.standardised(np.zeros(3)).any()


def test_the_score_that_spreads_most_is_taken_and_of_equal_ones_the_first():
    found = select(*pool(60), 20)
    assert {one.score for one in found} == {"even"}
    vectors, scores = pool(60)
    twice = {"first": scores["even"], "second": scores["even"] * 7}
    assert {one.score for one in select(vectors, twice, 20)} == {"first"}


@given(st.integers(0, 60), st.lists(st.integers(0, 15), min_size=1, max_size=9), st.integers(0, 99))
def test_shares_are_equal_small_ones_give_all_and_the_rest_is_shared_out(budget, sizes, seed):
    found = skills.equal_shares(budget, sizes, random.Random(seed))
    assert sum(found) == min(budget, sum(sizes)) and all(a <= b for a, b in zip(found, sizes, strict=True))
    most = max(found)
    assert all(share == size or share >= most - 1 for share, size in zip(found, sizes, strict=True))


def test_who_gives_one_more_is_drawn_and_not_always_the_first():
    found = [skills.equal_shares(1, [5, 5, 5], random.Random(seed)) for seed in range(30)]
    assert {one.index(1) for one in found} == {0, 1, 2}


def test_a_cluster_of_a_choice_gives_as_many_as_the_others_unless_it_is_small():
    vectors = np.vstack(
        [np.eye(3)[[0]] * 5 + 0.01 * np.random.default_rng(n).normal(size=3) for n in range(40)]
    )
    vectors[30:37] = np.eye(3)[1] * 5 + 0.01 * np.random.default_rng(9).normal(size=(7, 3))
    vectors[37:] = np.eye(3)[2] * 5 + 0.01 * np.random.default_rng(8).normal(size=(3, 3))
    found = select(vectors, {"even": np.arange(40.0)}, 21)
    assert sorted((len(one.members), len(one.chosen)) for one in found) == [(3, 3), (7, 7), (30, 11)]


def test_tails_of_5_percent_at_either_end_are_drawn_only_where_nothing_else_is_left():
    values = skills.standardised(np.random.default_rng(2).permutation(40).astype(float))
    ranked = np.argsort(values)
    ends = {*ranked[:2].tolist(), *ranked[-2:].tolist()}
    for count in range(41):
        found = skills.draw(values, count, random.Random(count))
        assert len(set(found)) == count and len(ends & set(found)) == max(0, count - 36)


def test_as_many_are_drawn_from_every_bin_of_the_range_between_the_tails():
    """One value in 4 of 5 places lies in the lowest bin; it gives no more than the others for that."""
    values = np.concatenate([np.zeros(200) + np.linspace(0, 1e-3, 200), np.linspace(0.001, 1, 50)])
    values = skills.standardised(values)
    found = values[skills.draw(values, 60, random.Random(3))]
    inner = np.sort(values)[12:-12]
    edges = np.linspace(inner[0], inner[-1], 51)
    counts = np.histogram(found, edges)[0]
    whole = np.histogram(inner, edges)[0]
    assert counts.sum() == 60
    assert all(count == size or count >= counts.max() - 1 for count, size in zip(counts, whole, strict=True))


def test_near_duplicates_are_those_of_an_earlier_row_that_stays():
    angles = np.radians([0, 10, 20, 90, 95, 0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert skills.near_duplicates(vectors, math.cos(math.radians(12))) == {1: 0, 4: 3, 5: 0}
    assert skills.near_duplicates(vectors, 1.0) == {}


def test_pruned_rows_are_never_chosen_and_the_rest_is_whole():
    vectors, scores = pool(30)
    doubled = np.vstack([vectors, vectors[:11] * 3.0])
    twice = {name: np.concatenate([one, one[:11]]) for name, one in scores.items()}
    found = select(doubled, twice, 41, near_duplicate=0.9999)
    assert {row: like for one in found for row, like in one.pruned.items()} == {30 + n: n for n in range(11)}
    assert rows(found) == list(range(30))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_few_candidates_and_equal_ones_can_be_chosen_from(size):
    found = select(np.ones((size, 4)), {"flat": np.zeros(size)}, 1, near_duplicate=0.9)
    assert rows(found) == [0] and sum(len(one.pruned) for one in found) == size - 1
    assert len(rows(select(np.zeros((size, 4)), {"flat": np.ones(size)}, size, near_duplicate=0.9))) == size


def test_the_same_seed_chooses_the_same_and_others_differ():
    every = [rows(select(*pool(80), 20, seed=seed)) for seed in (0, 0, 1, 2)]
    assert every[0] == every[1] and len({tuple(one) for one in every}) == 3


# What is read of candidates


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_scores_equal_a_loop_over_single_examples(adapter, make_learner, mixed_examples):
    learner = make_learner(adapter=adapter)
    found = candidates.read(learner, mixed_examples, TrainSection(), 0)
    gains = gain.measure_examples(learner, mixed_examples)
    for number, example in enumerate(mixed_examples):
        one = learner.encoder.encode(example)
        _, log = likelihoods(learner, one.prompt, one.response)
        assert found.scores["log_perplexity"][number] == pytest.approx(-log, rel=1e-4)
        logits = learner.model(input_ids=torch.tensor([[*one.prompt, *one.response]])).logits[0]
        own = logits[len(one.prompt) - 1 : -1].double()
        target = torch.nn.functional.one_hot(torch.tensor(one.response), own.shape[-1])
        error = (own.softmax(-1) - target).square().sum(-1).sqrt().mean()
        assert found.scores["el2n"][number] == pytest.approx(float(error.detach()), rel=1e-4)
        loss = torch.nn.functional.cross_entropy(own, torch.tensor(one.response))
        gradients = torch.autograd.grad(loss, list(learner.parameters().values()), allow_unused=True)
        norm = torch.cat([part.flatten() for part in gradients if part is not None]).double().norm()
        assert found.scores["gradient_norm"][number] == pytest.approx(float(norm), rel=1e-3)
        expected = math.exp(gains[number].log) if example.instruction.key_parts else 1.0
        assert found.scores["grounding"][number] == pytest.approx(expected, rel=1e-4)
    assert len(set(found.scores["grounding"])) > 1


def test_an_examples_numbers_hang_on_no_other_example(make_learner, mixed_examples):
    learner = make_learner()
    together = candidates.read(learner, mixed_examples, TrainSection(), 0)
    for number, example in enumerate(mixed_examples):
        alone = candidates.read(learner, [example], TrainSection(), 0)
        assert np.array_equal(alone.vectors[0], together.vectors[number])
        for name in candidates.SCORES:
            assert alone.scores[name][0] == together.scores[name][number]


def test_two_processes_read_the_same_bits_as_one(make_learner, mixed_examples):
    learner = make_learner()

    def read():
        found = candidates.read(learner, mixed_examples, TrainSection(), 5)
        return found.vectors.tolist(), {name: found.scores[name].tolist() for name in candidates.SCORES}

    alone = read()
    assert several.in_processes(read) == [alone, alone]


def test_a_sketch_keeps_inner_products_on_average_and_exactly_where_there_is_room():
    few = {"a": torch.randn(7, 9), "b": torch.randn(40)}
    signs = {name: torch.randint(0, 2, (one.numel(),)) * 2 - 1 for name, one in few.items()}
    found = candidates.sketched(few, signs)
    assert float(found.norm()) == pytest.approx(
        float(torch.cat([one.flatten() for one in few.values()]).norm())
    )
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(9_001, generator=generator) for _ in range(2))
    other = one + 0.5 * other
    products = []
    for _ in range(60):
        sign = torch.randint(0, 2, (9_001,), generator=generator) * 2 - 1
        first, second = (candidates.sketched({"w": vector}, {"w": sign}) for vector in (one, other))
        products.append(float(first @ second))
    exact = float(one @ other)
    error = np.std(products) / math.sqrt(len(products))
    assert np.mean(products) == pytest.approx(exact, abs=4 * error) and np.std(products) < 0.1 * exact


def test_the_middle_layer_is_that_of_the_names():
    names = [
        "embed.weight",
        *(f"model.layers.{n}.{part}" for n in range(5) for part in ("q.weight", "k.weight")),
    ]
    assert candidates.middle_layer(names) == ["model.layers.2.q.weight", "model.layers.2.k.weight"]
    assert candidates.middle_layer(["base.h.11.experts.3.w", "base.h.7.experts.0.w"]) == [
        "base.h.11.experts.3.w"
    ]
    assert candidates.middle_layer(["embed.weight", "head.weight"]) == ["embed.weight", "head.weight"]


def test_a_gradient_that_is_not_finite_is_refused_by_task_and_example(make_learner, mixed_examples):
    learner = make_learner()
    with torch.no_grad():
        next(iter(learner.parameters().values())).fill_(math.nan)
    with pytest.raises(ModelError, match=f"task '{mixed_examples[0].task}', example .* is not finite"):
        candidates.read(learner, mixed_examples, TrainSection(), 0)


# The method


def method(**table):
    table = {"clusters": 3} | table
    replay = {"memory_per_task": 5, "ratio": 0.75}
    return create(config.build({"method": {"name": "adapt_inf", "adapt_inf": table}, "replay": replay}))


def test_a_step_learns_what_is_chosen_and_replays_it_at_the_budget_of_replay(make_learner):
    learner, found = make_learner(), method(share=0.4, near_duplicate=1.0)
    first, second = Step(1, TASKS[:2], 4), Step(2, TASKS[2:], 4)
    learned = found.begin_step(first, learner)
    assert sum(len(task.train) for task in learned.tasks) == round(0.4 * 18) == 7
    assert all(
        set(one.train) <= set(task.train) for one, task in zip(learned.tasks, first.tasks, strict=True)
    )
    found.remember(learned, learner)
    assert {name: len(kept.examples) for name, kept in found.memory.tasks.items()} == {
        task.name: 5 for task in TASKS[:2]
    }
    plain = create(
        config.build({"method": {"name": "replay"}, "replay": {"memory_per_task": 5, "ratio": 0.75}})
    )
    plain.remember(first, learner)
    assert found.memory.state() == plain.memory.state(), "what is not pruned is remembered as replay does"
    learned = found.begin_step(second, learner)
    assert sum(len(task.train) for task in learned.tasks) + len(found.chosen) == round(0.4 * 19)
    clock = clocks()
    drawn = [[(one.task, one.id) for one in found.replay(one, learner)] for one in clock]
    assert [len(one) for one in drawn] == [plain.num_replayed(one) for one in clock]
    for one in drawn:
        assert len(set(one)) == len(one) and len(set(one) & set(found.chosen)) == min(
            len(one), len(found.chosen)
        )


def clocks():
    return [Clock(0, 2, update, 4, 4) for update in range(4)]


def test_near_duplicates_are_pruned_for_good(make_learner):
    learner, found = make_learner(), method(share=1.0, near_duplicate=0.9999)
    task = TASKS[0]
    again = tuple(replace(one, id=f"{one.id}-again") for one in task.train)
    doubled = replace(task, train=tuple(itertools.chain(*zip(task.train, again, strict=True))))
    learned = found.begin_step(Step(1, (doubled,), 4), learner)
    assert learned.tasks[0].train == task.train
    found.remember(learned, learner)
    assert not {one.id for one in found.memory.tasks[task.name].examples} & {one.id for one in again}
    told = found.measured(clocks()[0])["selection"]["clusters"]
    assert sum(one["pruned"] for one in told) == 9 and sum(one["chosen"] for one in told) == 9


def test_a_step_of_which_nothing_is_chosen_is_learned_whole(make_learner):
    learner, found = make_learner(), method(share=0.05, near_duplicate=1.0)
    found.remember(found.begin_step(Step(1, TASKS[:2], 4), learner), learner)
    for seed in range(12):
        again = method(share=0.05, near_duplicate=1.0)
        again.config = again.config.model_copy(update={"seed": seed})
        again.memory = found.memory
        learned = again.begin_step(Step(2, TASKS[2:], 4), learner)
        if again.chosen:
            assert len(again.chosen) == 1 and learned.tasks == TASKS[2:]
            return
    pytest.fail("no seed chose of memory")
