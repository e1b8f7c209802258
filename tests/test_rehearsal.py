"""Rehearsal methods: what they keep, which tasks they replay, how often, and what they add to the loss."""

import copy
import dataclasses
import itertools
import math
import random
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.distance import cdist
from scipy.stats import entropy as scipy_entropy
from scipy.stats import wasserstein_distance

from kpig import config
from kpig.errors import ConfigError
from kpig.methods import dynainst, dynosaur, inscl, periodic_replay
from kpig.methods.base import Clock, Method, Step
from kpig.methods.chosen import create
from kpig.methods.parts import clusters, embeddings
from kpig.methods.parts.selection import leading, proportional, split
from kpig.model.batch import collate
from kpig.model.objective import cross_entropy_sum, entropy, uniform_divergence
from kpig.tasks import suite
from kpig.testing import history
from kpig.training import checkpoint, loop

NAMES = ("periodic_replay", "kmeans_replay", "dynosaur", "inscl", "dynainst")
PAIRS = (("reverse", "upper"), ("count", "period"), ("sort", "commas"), ("last", "brackets"))
TASKS = tuple(suite.task(pair, 7, 1, seed=0) for pair in PAIRS)


def configured(name, replay=None, **tables):
    """A small config; `tables` are settings of methods by name, as are those of the loop as `train`."""
    loop = {"batch_size": 4, "updates_per_step": 5, "learning_rate": 3e-3, "device": "cpu"}
    small = {"kmeans_replay": {"clusters": 3}, "periodic_replay": {"every": 3}}
    small |= {"dynosaur": {"num_tasks": 1}, "dynainst": {"num_tasks": 1, "refresh": 2}}
    merged = {key: small.get(key, {}) | tables.get(key, {}) for key in small | tables if key != "train"}
    budget = {"memory_per_task": 5, "ratio": 0.75} | (replay or {})
    method = {"name": name, **merged}
    return config.build({"train": loop | tables.get("train", {}), "replay": budget, "method": method})


def step_of(number, *tasks, num_updates=5):
    return Step(number, tasks, num_updates)


def clock_at(update, step=3, num_updates=8, num_current=4):
    return Clock(0, step, update, num_updates, num_current)


def learned(settings, learner, tasks=TASKS[:2]):
    """A method that has gone through the ends of steps 1, 2, ..., one for each task, without training."""
    method = create(settings)
    for number, task in enumerate(tasks, 1):
        method.begin_step(step_of(number, task), learner)
        method.remember(step_of(number, task), learner)
    return method


def drawn_over_a_step(method, learner, tasks=TASKS[2:], num_updates=8, num_current=4):
    method.begin_step(step_of(3, *tasks, num_updates=num_updates), learner)
    clocks = [clock_at(update, 3, num_updates, num_current) for update in range(num_updates)]
    return [list(method.replay(clock, learner)) for clock in clocks]


# Splitting a budget


@given(st.integers(0, 60), st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 20)), max_size=7))
def test_a_split_is_exact_within_what_is_available_and_near_proportional(count, rows):
    weights = {index: weight for index, (weight, _) in enumerate(rows)}
    available = {index: room for index, (_, room) in enumerate(rows)}
    found = split(count, weights, available)
    assert found.keys() == weights.keys()
    assert sum(found.values()) == min(count, sum(available.values()))
    assert all(0 <= found[name] <= available[name] for name in found)
    total = sum(weights.values())
    if total > 0 and all(count * weight / total < available[name] for name, weight in weights.items()):
        assert all(abs(found[name] - count * weight / total) < 1 + 1e-6 for name, weight in weights.items())


@pytest.mark.parametrize(
    ("count", "weights", "available", "expected"),
    [
        (10, (5, 3, 2), (9, 9, 9), (5, 3, 2)),
        (7, (5, 3, 2), (9, 9, 9), (4, 2, 1)),
        (8, (5, 3, 2), (9, 9, 9), (4, 2, 2)),
        (10, (5, 3, 2), (2, 9, 9), (2, 5, 3)),
        (10, (1, 0, 0), (2, 9, 9), (2, 4, 4)),
        (4, (0, 0, 0), (9, 9, 9), (2, 1, 1)),
        (9, (1, 1, 1), (2, 3, 1), (2, 3, 1)),
    ],
)
def test_splits_worked_by_hand(count, weights, available, expected):
    found = split(count, dict(enumerate(weights)), dict(enumerate(available)))
    assert tuple(found.values()) == expected


def test_the_leading_tasks_go_on_until_they_hold_enough():
    sizes = {"a": 2, "b": 3, "c": 9}
    assert leading(["b", "a", "c"], 1, sizes, 3) == ["b"]
    assert leading(["b", "a", "c"], 1, sizes, 4) == ["b", "a"]
    assert leading(["b", "a", "c"], 2, sizes, 1) == ["b", "a"]
    assert leading(["b", "a", "c"], 1, sizes, 99) == ["b", "a", "c"]


# One budget for all


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("memory", "num_current"), [(5, 4), (2, 8)], ids=["ample", "short"])
def test_a_step_replays_as_many_examples_as_uniform_replay_does(name, memory, num_current, make_learner):
    learner, budget = make_learner(), {"memory_per_task": memory}
    uniform = learned(configured("replay", budget), learner)
    method = learned(configured(name, budget), learner)
    expected = drawn_over_a_step(uniform, learner, num_current=num_current)
    found = drawn_over_a_step(method, learner, num_current=num_current)
    assert sum(map(len, found)) == sum(map(len, expected)) == 8 * min(3 * num_current // 4, 2 * memory)
    if name != "periodic_replay":
        assert [len(update) for update in found] == [len(update) for update in expected]
        assert all(len({one.id for one in update}) == len(update) for update in found)
    past = {one.id for task in TASKS[:2] for one in task.train}
    wordings = {one for task in TASKS[:2] for one in task.instructions}
    assert {one.id for update in found for one in update} <= past
    assert {one.instruction for update in found for one in update} <= wordings


@pytest.mark.parametrize("name", NAMES)
def test_the_first_step_has_nothing_to_replay_and_memory_stays_within_its_bound(name, make_learner):
    learner = make_learner()
    method = create(configured(name))
    assert drawn_over_a_step(method, learner, TASKS[:1]) == [[]] * 8
    method.remember(step_of(1, TASKS[0]), learner)
    assert [len(kept.examples) for kept in method.memory.tasks.values()] == [5]
    assert {one.task for update in drawn_over_a_step(method, learner) for one in update} == {TASKS[0].name}


# Periodic replay


@pytest.mark.parametrize(
    ("num_updates", "every", "expected"),
    [(8, 3, [0, 0, 3, 0, 0, 3, 0, 2]), (6, 3, [0, 0, 3, 0, 0, 3]), (3, 1, [1, 1, 1]), (2, 5, [0, 2])],
)
def test_periodic_replay_gathers_several_updates_into_one(num_updates, every, expected):
    assert [periodic_replay.num_due(update, num_updates, every) for update in range(num_updates)] == expected


def test_periodic_replay_draws_in_the_updates_where_it_is_due(make_learner):
    learner = make_learner()
    method = learned(configured("periodic_replay"), learner)
    assert [len(update) for update in drawn_over_a_step(method, learner)] == [0, 0, 9, 0, 0, 9, 0, 6]


# K-means replay


def clouds(seed=0):
    """23 points on the unit circle in three clouds of 5, 7 and 11."""
    rng = np.random.default_rng(seed)
    angles = np.concatenate([rng.normal(center, 0.2, size) for center, size in ((0, 5), (2, 7), (4, 11))])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_kmeans_keeps_the_nearest_of_each_cluster_as_brute_force_finds_them():
    points = clouds()
    found = clusters.nearest(points * np.linspace(0.5, 2, 23)[:, None], 9, 3, seed=1)
    expected = []
    for rows, share in ((range(5), 2), (range(5, 12), 3), (range(12, 23), 4)):
        centroid = np.mean([points[row] for row in rows], axis=0)
        expected += sorted(rows, key=lambda row: np.linalg.norm(points[row] - centroid))[:share]
    assert found == sorted(expected), "9 of 23: the clouds' shares are 1.96, 2.74 and 4.3"


def test_kmeans_chooses_the_same_for_the_same_seed_and_as_many_as_asked_for():
    points = np.random.default_rng(3).normal(size=(41, 6))
    for count, num_clusters in itertools.product((1, 7, 40, 41, 60), (1, 5, 50)):
        found = clusters.nearest(points, count, num_clusters, seed=5)
        assert found == clusters.nearest(points, count, num_clusters, seed=5)
        assert len(set(found)) == len(found) == min(count, 41)
    assert clusters.nearest(points, 1, 1, 0) == [
        int(np.argmin(np.linalg.norm(embeddings.unit(points) - embeddings.unit(points).mean(0), axis=1)))
    ]
    assert len(clusters.nearest(np.ones((9, 2)), 4, 3, 0)) == 4, "equal points make one cluster"


def test_kmeans_replay_remembers_what_its_prompts_vectors_say(make_learner):
    learner = make_learner()
    settings = configured("kmeans_replay", {"memory_per_task": 3})
    kept = learned(settings, learner, TASKS[:1]).memory.tasks[TASKS[0].name].examples
    assert kept == learned(settings, learner, TASKS[:1]).memory.tasks[TASKS[0].name].examples
    seed = random.Random(f"0/kmeans/{TASKS[0].name}").getrandbits(31)
    vectors = embeddings.of_examples(learner, TASKS[0].train)
    assert kept == tuple(TASKS[0].train[row] for row in clusters.nearest(vectors, 3, 3, seed))


# Dynosaur


def test_the_most_diverse_rows_worked_by_hand():
    """Cosines: 0.8 between the first two, 0 and 0.6 with the third; columns sum to 1.8, 2.4 and 1.6."""
    vectors = np.array([[1.0, 0.0], [1.6, 1.2], [0.0, 0.5]])
    unit = embeddings.unit(vectors)
    np.testing.assert_allclose(unit @ unit.T, [[1, 0.8, 0], [0.8, 1, 0.6], [0, 0.6, 1]], atol=1e-12)
    assert dynosaur.by_diversity(vectors) == [2, 0, 1]


def test_dynosaur_replays_the_past_tasks_that_its_matrix_names(make_learner):
    learner = make_learner()
    method = learned(configured("dynosaur", dynosaur={"num_tasks": 2}), learner, TASKS[:3])
    found = drawn_over_a_step(method, learner, TASKS[3:])
    vectors = embeddings.of_instructions(learner, [task.instruction for task in TASKS[:3]])
    similarity = 1 - cdist(vectors, vectors, "cosine")
    worst = TASKS[int(np.argmax(similarity.sum(0)))].name
    expected = {task.name for task in TASKS[:3]} - {worst}
    assert set(method.chosen) == {one.task for update in found for one in update} == expected


def test_instruction_vectors_are_means_over_a_prompt_without_input(make_learner):
    learner = make_learner()
    instruction = TASKS[1].instructions[1]
    ids = learner.tokenizer.encode(f"{instruction.text}\nOutput:", return_tensors="pt")
    states = learner.model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
    expected = states.mean(1).detach().double().numpy()
    np.testing.assert_allclose(embeddings.of_instructions(learner, [instruction]), expected, atol=1e-5)


# InsCL


def test_the_wasserstein_distance_is_scipys_on_a_line():
    rng = np.random.default_rng(0)
    one, other, weights = rng.normal(size=(5, 1)), rng.normal(size=(7, 1)), rng.random(7)
    found = inscl.wasserstein(one, other, "euclidean", weights)
    expected = wasserstein_distance(one[:, 0], other[:, 0], v_weights=weights)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("cost", ["cosine", "euclidean"])
def test_the_wasserstein_distance_is_the_linear_programme_of_optimal_transport(cost):
    rng = np.random.default_rng(1)
    one, other, weights = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.random(5)
    costs = cdist(one, other, cost)
    rows = np.kron(np.eye(3), np.ones(5))
    columns = np.kron(np.ones(3), np.eye(5))
    sums = np.concatenate([np.full(3, 1 / 3), weights / weights.sum()])
    expected = linprog(costs.ravel(), A_eq=np.vstack([rows, columns]), b_eq=sums).fun
    assert inscl.wasserstein(one, other, cost, weights) == pytest.approx(expected, rel=1e-7)
    assert inscl.wasserstein(other, other, cost, [1] * 5) == pytest.approx(0, abs=1e-12)


def test_ins_info_worked_by_hand():
    found = inscl.ins_info([{"a", "b"}, {"a"}, {"a", "c"}, {"b", "a"}])
    assert found == pytest.approx([math.log(2), 0, math.log(4), math.log(2)])
    assert inscl.ins_info([{"a"}]) == [0]
    assert inscl.ins_info([set(), {"a"}]) == pytest.approx([0, math.log(2)])


def test_tags_are_categories_kinds_and_words_of_key_parts(make_instruction):
    instruction = make_instruction("Here is a row. {Sort it} by length, {in 2 Lines}.")
    expected = {"category lists", "kind operation", "sort", "it", "in", "lines"}
    assert inscl.tags(instruction, ["lists"]) == expected


def test_shares_follow_the_distances_and_are_equal_where_there_are_none():
    assert inscl.shares({"a": 3.0, "b": 1.0}) == {"a": 0.75, "b": 0.25}
    assert inscl.shares({"a": 0.0, "b": 0.0}) == {"a": 0.5, "b": 0.5}


def test_inscl_replays_far_tasks_more_to_within_one_example_of_their_share(make_learner):
    learner = make_learner()
    method = learned(configured("inscl"), learner, TASKS[:3])
    found = drawn_over_a_step(method, learner, TASKS[3:], num_updates=20)
    here = embeddings.of_instructions(learner, TASKS[3].instructions)
    distance = {
        task.name: inscl.wasserstein(
            embeddings.of_instructions(learner, task.instructions), here, "cosine", [1] * len(here)
        )
        for task in TASKS[:3]
    }
    total = sum(distance.values())
    assert method.shares == pytest.approx({name: value / total for name, value in distance.items()}, rel=1e-4)
    counts = Counter(one.task for update in found for one in update)
    assert sum(counts.values()) == 60
    assert all(abs(counts[name] - 60 * share) < 1 for name, share in method.shares.items())


def worded(task, instructions):
    """The task under other instructions, its examples under the first of them."""
    train = tuple(dataclasses.replace(one, instruction=instructions[0]) for one in task.train)
    return dataclasses.replace(task, instructions=instructions, train=train)


def test_inscl_weighs_the_steps_wordings_by_their_training_examples_and_counts_all_of_them(
    make_learner, make_instruction
):
    """Two current tasks, one of them with two wordings and one example, worked out apart.

    From a task of one wording, transport has no choice: its cost is a weighted mean.
    """
    learner = make_learner()
    past = dataclasses.replace(TASKS[0], instructions=TASKS[0].instructions[:1])
    method = learned(configured("inscl"), learner, [past])
    wordings = tuple(make_instruction(text) for text in ("Please {count} all.", "{Count} once more, {sort}."))
    small = dataclasses.replace(worded(TASKS[1], wordings), train=worded(TASKS[1], wordings).train[:1])
    small = dataclasses.replace(small, categories=())
    large = dataclasses.replace(TASKS[2], train=TASKS[2].train[:3])
    drawn_over_a_step(method, learner, [small, large])
    here = embeddings.of_instructions(learner, [*wordings, *large.instructions])
    there = embeddings.of_instructions(learner, past.instructions)
    cost = 1 - (there @ here.T) / np.outer(np.linalg.norm(there, axis=1), np.linalg.norm(here, axis=1))
    weights = np.array([0.5, 0.5, *[3 / len(large.instructions)] * len(large.instructions)]) / 4
    found = []
    original = inscl.wasserstein
    method._current = (small, large)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inscl, "wasserstein", lambda *given: found.append(original(*given)) or found[-1])
        method._distances(learner)
    assert found == pytest.approx([float(cost[0] @ weights)], rel=1e-5)
    every = [
        inscl.tags(past.instructions[0], past.categories),
        *(inscl.tags(one, ()) for one in wordings),
        *(inscl.tags(one, large.categories) for one in large.instructions),
    ]
    by_hand = [
        sum(math.log(len(every) / sum(tag in one for one in every)) for tag in found) for found in every[:1]
    ]
    assert method.scores[past.name] == pytest.approx(by_hand)


def test_inscl_prefers_wordings_of_more_information(make_learner, make_instruction):
    learner = make_learner()
    wordings = (make_instruction("Do it. {Sort} {by the alphabet}."), make_instruction("Do it, {sort}."))
    task = worded(TASKS[0], wordings)
    method = learned(configured("inscl"), learner, [task])
    other = dataclasses.replace(worded(TASKS[1], (make_instruction("Please {sort}."),)), categories=())
    found = drawn_over_a_step(method, learner, [other], num_updates=20)
    category = [math.log(3 / 2)] * len(task.categories)
    by_hand = [3 * math.log(3) + sum(category), sum(category)]
    assert method.scores[task.name] == pytest.approx(by_hand)
    counts = Counter(one.instruction for update in found for one in update)
    assert counts[wordings[0]] > counts[wordings[1]]


def test_the_plan_of_one_step_does_not_leak_into_the_next(make_learner):
    learner = make_learner()
    method = learned(configured("inscl"), learner)
    drawn_over_a_step(method, learner, TASKS[2:3])
    method.remember(step_of(3, TASKS[2]), learner)
    fresh = learned(configured("inscl"), learner, TASKS[:3])
    for one in (method, fresh):
        drawn_over_a_step(one, learner, TASKS[3:])
    assert method.state_dict() == fresh.state_dict()
    assert method.shares.keys() == {task.name for task in TASKS[:3]}


# DynaInst


def test_the_entropy_is_scipys_and_the_divergence_is_that_from_uniform():
    logits = 3 * torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probability = logits.softmax(-1).numpy()
    np.testing.assert_allclose(entropy(logits).numpy(), scipy_entropy(probability, axis=-1), rtol=1e-12)
    uniform = np.full_like(probability, 1 / 7)
    expected = scipy_entropy(probability, uniform, axis=-1)
    np.testing.assert_allclose(uniform_divergence(logits).numpy(), expected, rtol=1e-12)


def test_the_divergence_is_least_at_uniform_and_its_gradient_raises_the_entropy():
    level = torch.full((1, 7), 2.5, dtype=torch.float64, requires_grad=True)
    uniform_divergence(level).sum().backward()
    assert float(uniform_divergence(level).detach()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(level.grad, torch.zeros_like(level), rtol=0, atol=1e-12)
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits.requires_grad_()
    uniform_divergence(logits).sum().backward()
    assert torch.autograd.gradcheck(uniform_divergence, logits)
    assert (entropy(logits - 0.01 * logits.grad) > entropy(logits)).all()


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_the_loss_of_dynainst_is_cross_entropy_and_the_weighted_divergence(
    adapter, make_learner, mixed_examples
):
    learner = make_learner(adapter=adapter)
    batch = collate([learner.encoder.encode(one) for one in mixed_examples], learner.pad_id)
    method = create(configured("dynainst", dynainst={"entropy_weight": 0.3}))
    found = method.loss(learner, batch)
    logits = learner.response_logits(batch.rows)
    expected = cross_entropy_sum(logits, batch.rows.target)
    expected = expected + 0.3 * sum(math.log(logits.shape[-1]) - entropy(one) for one in logits)
    assert float(found.sum.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    plain = create(configured("dynainst", dynainst={"entropy_weight": 0.0})).loss(learner, batch)
    assert "uniform_divergence" not in plain.log
    assert float(plain.sum.detach()) == float(Method.loss(method, learner, batch).sum.detach())
    before = float(entropy(logits.detach()).mean())
    divergence = float(found.log["uniform_divergence"]) / batch.num_tokens
    assert divergence == pytest.approx(math.log(logits.shape[-1]) - before, rel=1e-4)
    assert float(found.log["uniform_penalty"]) == pytest.approx(0.3 * divergence * batch.num_tokens, rel=1e-5)
    assert method.penalties.keys() <= found.log.keys() and not method.penalties.keys() & plain.log.keys()
    learner.model.zero_grad()
    uniform_divergence(learner.response_logits(batch.rows)).mean().backward()
    with torch.no_grad():
        for weight in learner.parameters().values():
            weight -= 1e-3 * weight.grad
    after = float(entropy(learner.forward_logits(batch.rows)).mean())
    assert after > before


def test_uncertainty_is_the_mean_entropy_of_each_response_one_example_at_a_time(make_learner):
    learner = make_learner("gpt2")
    tokens = learner.ledger.forward_tokens
    found = dynainst.measure(learner, {task.name: task.train[:3] for task in TASKS[:2]})
    encoded = [learner.encoder.encode(one) for task in TASKS[:2] for one in task.train[:3]]
    assert learner.ledger.forward_tokens - tokens == sum(item.num_tokens for item in encoded)
    expected = []
    for item in encoded:
        logits = learner.model(torch.tensor([[*item.prompt, *item.response]])).logits[0]
        probability = logits[len(item.prompt) - 1 : -1].softmax(-1).detach().double().numpy()
        expected.append(scipy_entropy(probability, axis=-1).mean())
    assert [value for values in found.values() for value in values] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("refresh", "expected"), [(3, [0, 3, 6]), (0, [0])])
def test_uncertainty_is_measured_when_a_step_begins_and_every_refresh_updates(
    refresh, expected, make_learner, monkeypatch
):
    learner, measured = make_learner(), []
    method = learned(configured("dynainst", dynainst={"refresh": refresh}), learner)
    values = {TASKS[0].name: [0.1, 0.0, 0.1, 0.1, 0.1], TASKS[1].name: [0.0, 0.0, 9.0, 1.0, 1.0]}
    monkeypatch.setattr(dynainst, "measure", lambda *_: measured.append(1) or copy.deepcopy(values))
    method.begin_step(step_of(3, TASKS[2]), learner)
    found, kept = [], method.memory.tasks[TASKS[1].name].examples
    for update in range(8):
        before = len(measured)
        drawn = method.replay(clock_at(update), learner)
        found += [update] * (len(measured) - before)
        assert {one.id for one in drawn} == {one.id for one in kept[2:]}, "3 of one task; the sure ones last"
    assert found == expected


def test_the_chance_of_an_example_follows_its_uncertainty():
    rng = random.Random(0)
    counts = Counter(
        proportional({("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 0.0}, 1, rng)[0] for _ in range(4000)
    )
    assert counts[("a", 1)] / 4000 == pytest.approx(0.75, abs=0.03)
    assert counts[("b", 0)] == 0


def test_the_most_uncertain_tasks_come_first():
    values = {"a": [0.5, 0.1], "b": [0.9], "c": [0.4, 0.4]}
    assert dynainst.most_uncertain(values, 1, 1) == ["b"]
    assert dynainst.most_uncertain(values, 1, 2) == ["b", "c"]
    assert dynainst.most_uncertain(values, 3, 1) == ["b", "c", "a"]
    assert dynainst.most_uncertain({}, 3, 1) == []


# Packages, states


@pytest.mark.parametrize(("name", "module"), [("kmeans_replay", "sklearn.cluster"), ("inscl", "ot")])
def test_a_missing_package_is_refused_when_the_method_is_built(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"'{name}' needs .*pip install scikit-learn POT"):
        create(configured(name))


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_resumed_from_a_file_equals_a_straight_one_to_the_bit(name, adapter, make_learner, tmp_path):
    settings = configured(name, train={"checkpoint_every": 3})
    learner, saved, log = make_learner("gpt2", adapter=adapter), [], []
    method = learned(settings, learner)
    (tmp_path / "between").mkdir()
    checkpoint.write_state(method.state_dict(), tmp_path / "between")
    step = step_of(3, *TASKS[2:])
    loop.fit_step(
        learner, method, step, settings, log.append, lambda state: saved.append(copy.deepcopy(state))
    )
    checkpoint.publish(saved[0], tmp_path / "inside")

    resumed, again, tail = make_learner("gpt2", adapter=adapter), create(settings), []
    again.load_state_dict(checkpoint.read_state(tmp_path / "between")["method"])
    found = checkpoint.read(checkpoint.find(tmp_path / "inside"))
    loop.fit_step(resumed, again, step, settings, tail.append, lambda state: None, found)
    assert tail == log[3:] and sum(record["replayed"] for record in log) == 15
    straight = learner.weights()
    assert all(torch.equal(weight, straight[key]) for key, weight in resumed.weights().items())
    assert again.state_dict() == method.state_dict()
    assert resumed.ledger.forward_tokens == learner.ledger.forward_tokens


@pytest.mark.parametrize("name", ["dynosaur", "dynainst"])
def test_tasks_chosen_once_for_all_hold_what_any_later_update_asks_for(name):
    """The ratio asks for one and a half: the first update draws one, the next two, of tasks that keep one."""
    counts = {}
    for method, asked in ((name, {"num_tasks": 1}), ("replay", {})):
        base = history.configured(method, asked)
        train = base.train.model_copy(update={"batch_size": 3, "checkpoint_every": 0})
        replay = base.replay.model_copy(update={"ratio": 0.5, "memory_per_task": 1})
        chosen = base.model_copy(update={"train": train, "replay": replay})
        records = []
        with history.scripted():
            learning, learner, steps = history.begin(chosen)
            for step in steps:
                loop.fit_step(learner, learning, step, chosen, records.append, lambda state: None)
        counts[method] = [one["replayed"] for one in records if one.get("step") == 2 and "update" in one]
    assert counts[name] == counts["replay"] == [1, 2, 1, 2]
