"""DER++: what it stores when a task ends, and what it adds to the loss of a batch."""

import copy
import dataclasses
import math

import pytest
import torch

from kpig import config
from kpig.errors import ConfigError
from kpig.methods.base import Method, Step
from kpig.methods.chosen import create
from kpig.model.batch import Layout
from kpig.tasks import suite
from kpig.testing.models import scatter
from kpig.training import loop

PAIRS = (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
TASKS = tuple(suite.task(pair, 7, 1, seed=0) for pair in PAIRS)
ONE_WORDING = tuple(dataclasses.replace(task, instructions=task.instructions[:1]) for task in TASKS)
VOCABULARY = 4096


def configured(name="derpp", ratio=0.75, **settings):
    train = {"batch_size": 4, "updates_per_step": 5, "learning_rate": 3e-3, "device": "cpu"}
    method = {"name": name} | ({name: settings} if settings else {})
    return config.build({"train": train, "replay": {"memory_per_task": 5, "ratio": ratio}, "method": method})


def remembered(learner, *tasks, **settings):
    """A method that has gone through the end of one step with these tasks, without training."""
    method = create(configured(**settings))
    method.remember(Step(1, tasks, 5), learner)
    return method


def trained(settings, learner, tasks=TASKS):
    """The method and the records of its updates, after a step for each task."""
    method, log = create(settings), []
    for number, task in enumerate(tasks, 1):
        loop.fit_step(learner, method, Step(number, (task,), 5), settings, log.append, lambda state: None)
    return method, log


def log_probs_alone(learner, example):
    """Of one response without padding: its ids, and log p of every id at each token, [T, V] in float64."""
    encoded = learner.encoder.encode(example)
    with torch.no_grad():
        logits = learner.model(torch.tensor([[*encoded.prompt, *encoded.response]])).logits[0]
    return encoded.response, logits[len(encoded.prompt) - 1 : -1].double().log_softmax(-1)


def mixed_batches(learner, current, past, max_tokens=1000, row_tokens=0):
    """Batches as the loop makes them, current and replayed examples mixed."""
    return list(learner.batches([*current, *past], Layout(max_tokens, row_tokens=row_tokens), len(past)))


@pytest.mark.parametrize("top_k", [1, 3, VOCABULARY + 5])
def test_stored_are_the_top_log_probabilities_and_the_rest_of_the_model_that_ended_the_task(
    top_k, make_learner
):
    learner = make_learner()
    method = remembered(learner, *TASKS[:2], top_k=top_k)
    assert list(method.stored) == [task.name for task in TASKS[:2]]
    for task in TASKS[:2]:
        kept = method.memory.tasks[task.name].examples
        assert list(method.stored[task.name]) == [example.id for example in kept]
        for example in kept:
            _, expected = log_probs_alone(learner, example)
            top, ids = expected.sort(descending=True)
            found = method.stored[task.name][example.id]
            k = min(top_k, VOCABULARY)
            assert found["ids"].dtype == torch.int32 and found["log_probs"].dtype == torch.float32
            assert found["ids"].shape == (len(expected), k)
            torch.testing.assert_close(found["log_probs"][:, :k].double(), top[:, :k], rtol=1e-4, atol=1e-4)
            rest = top[:, k:].exp().sum(-1)
            torch.testing.assert_close(found["log_probs"][:, k].double().exp(), rest, rtol=1e-4, atol=1e-6)
            assert top_k > 3 or torch.equal(found["ids"].long(), ids[:, :k])


def test_what_is_stored_of_a_task_stays_as_it_was_when_it_ended(make_learner):
    settings, learner = configured(), make_learner()
    method, after = create(settings), []
    for number, task in enumerate(TASKS, 1):
        step = Step(number, (task,), 5)
        loop.fit_step(learner, method, step, settings, lambda record: None, lambda state: None)
        after.append((copy.deepcopy(method.stored), remembered(copy.deepcopy(learner), task).stored))
    for number, task in enumerate(TASKS):
        own = after[number][1][task.name]
        for stored, _ in after[number:]:
            for id, found in stored[task.name].items():
                assert all(torch.equal(found[name], own[id][name]) for name in ("ids", "log_probs"))


@pytest.mark.parametrize("layout", [{}, {"max_tokens": 1}, {"max_tokens": 90}, {"row_tokens": 64}], ids=str)
def test_the_loss_of_a_batch_equals_a_literal_computation(layout, make_learner):
    alpha, beta, k = 0.7, 0.3, 3
    before, now = make_learner("llama"), make_learner("llama")
    scatter(now.model, 1, 0.1)
    method = remembered(before, TASKS[0], alpha=alpha, beta=beta, top_k=k)
    past = method.memory.tasks[TASKS[0].name].examples[1:4]
    losses = [method.loss(now, batch) for batch in mixed_batches(now, TASKS[1].train[:4], past, **layout)]
    entropy = divergence = 0.0
    for weight, examples in ((1.0, TASKS[1].train[:4]), (beta, past)):
        for example in examples:
            response, log_probs = log_probs_alone(now, example)
            entropy -= weight * sum(float(log_probs[place, id]) for place, id in enumerate(response))
    for example in past:
        for then, new in zip(
            log_probs_alone(before, example)[1], log_probs_alone(now, example)[1], strict=True
        ):
            top = sorted(range(VOCABULARY), key=lambda id: -then[id])[:k]
            p, q = [float(then[id].exp()) for id in top], [float(new[id].exp()) for id in top]
            p, q = [*p, 1 - sum(p)], [*q, 1 - sum(q)]
            divergence += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    total = sum(float(loss.sum.detach()) for loss in losses)
    assert divergence > 0.1
    assert total == pytest.approx(entropy + alpha * divergence, rel=1e-4)
    logged = sum(float(value) for loss in losses for value in loss.log.values())
    assert logged == pytest.approx(total, rel=1e-5)


def test_nothing_is_charged_where_the_model_is_the_one_that_was_stored(make_learner):
    learner = make_learner()
    method = remembered(learner, TASKS[0])
    past = method.memory.tasks[TASKS[0].name].examples
    (batch,) = mixed_batches(learner, TASKS[1].train[:2], past)
    assert 0 <= float(method.loss(learner, batch).log["dark_knowledge"]) < 1e-5


def test_with_alpha_0_and_beta_1_it_is_plain_replay_where_tasks_have_one_wording(make_learner):
    learners = [make_learner(), make_learner()]
    _, plain = trained(configured("replay"), learners[0], ONE_WORDING)
    _, found = trained(configured(alpha=0, beta=1), learners[1], ONE_WORDING)
    drawn = [[record.get("replayed_tasks") for record in log] for log in (found, plain)]
    assert drawn[0] == drawn[1] and drawn[0][-1]
    assert [record["loss"] for record in found] == pytest.approx(
        [record["loss"] for record in plain], rel=1e-4
    )
    assert not any("dark_knowledge" in record for record in found)
    for name, weight in learners[0].weights().items():
        torch.testing.assert_close(learners[1].weights()[name], weight, rtol=1e-3, atol=1e-4)


def test_nothing_is_charged_in_the_first_step(make_learner):
    settings, learners = configured(), [make_learner(), make_learner()]
    _, log = trained(settings, learners[0])
    first, (as_stored, *later) = log[:5], log[5:10]
    assert not any({"dark_knowledge", "penalty_ratio"} & record.keys() for record in first)
    assert 0 <= as_stored["dark_knowledge"] < 1e-5
    assert all(record["dark_knowledge"] > 1e-5 and record["penalty_ratio"] > 0 for record in later)
    method = Method(settings)
    plain = []
    loop.fit_step(learners[1], method, Step(1, TASKS[:1], 5), settings, plain.append, lambda state: None)
    assert [record["loss"] for record in plain] == [record["loss"] for record in first]


def test_replay_switched_off_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"derpp.*replay\.ratio"):
        create(configured(ratio=0))
