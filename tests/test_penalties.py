"""L2, EWC, LwF and A-GEM, each against something worked out apart; and the size of a penalty."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kpig import config
from kpig.errors import ConfigError
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.methods.ewc import merged
from kpig.methods.l2 import L2
from kpig.methods.parts.fisher import diagonal_fisher
from kpig.methods.parts.gradient import mean_gradient, project
from kpig.model.batch import collate
from kpig.model.encoding import Encoded
from kpig.model.learner import Learner
from kpig.model.objective import cross_entropy_sum, distillation
from kpig.progress import Watcher
from kpig.runs import job
from kpig.tasks import suite
from kpig.testing.models import scatter
from kpig.training import checkpoint, loop
from kpig.training.penalty_watch import WINDOW, PenaltyWatch, ratios

TASKS = tuple(
    suite.task(pair, 9, 2, seed=0) for pair in (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
)
NAMES = ("l2", "ewc", "tir", "lwf", "a_gem")


def configured(name, train_table=(), **method):
    loop = {"batch_size": 4, "updates_per_step": 3, "learning_rate": 3e-3, "device": "cpu"}
    table = {"train": loop | dict(train_table), "replay": {"memory_per_task": 5}}
    return config.build(table | {"method": {"name": name, "ewc": {"num_examples": 5}} | method})


def step_of(number, *tasks, num_updates=3):
    return Step(number, tasks, num_updates)


def fit(learner, method, step, settings, resume_from=None):
    log, saved = [], []
    loop.fit_step(learner, method, step, settings, log.append, saved.append, resume_from)
    return log, saved


def batch_of(learner, examples):
    return collate([learner.encoder.encode(one) for one in examples], learner.pad_id)


def in_double(learner):
    return Learner(learner.model.double(), learner.tokenizer, learner.encoder)


# L2 and EWC: the minimiser of a quadratic with the penalty, which linear algebra knows


class TwoParameters:
    """A learner of two weights, of which the methods see as much as they use."""

    device = torch.device("cpu")

    def __init__(self, *values):
        self.theta = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))

    def parameters(self):
        return {"theta": self.theta}

    def weights(self):
        return {"theta": self.theta.detach().clone()}


HESSIAN = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
CENTRE = torch.tensor([1.0, -2.0], dtype=torch.float64)
ANCHOR = torch.tensor([-0.5, 0.25], dtype=torch.float64)
FISHER = torch.tensor([4.0, 0.0], dtype=torch.float64)


def descended(method):
    """The weights after gradient descent on ½ (θ - c)ᵀ H (θ - c) + the method's penalty, from θ*."""
    learner = TwoParameters(*ANCHOR)
    method.begin_step(step_of(2), learner)
    for _ in range(2000):
        away = learner.theta - CENTRE
        loss = 0.5 * away @ HESSIAN @ away + method.penalty(learner)
        (gradient,) = torch.autograd.grad(loss, learner.theta)
        with torch.no_grad():
            learner.theta -= 0.03 * gradient
    return learner.theta.detach()


@pytest.mark.parametrize("weight", [0.0, 0.7, 5.0])
@pytest.mark.parametrize("name", ["l2", "ewc"])
def test_descent_ends_at_the_minimum_of_the_quadratic_with_the_penalty(name, weight):
    method = create(configured(name, **{name: {"weight": weight}}))
    diagonal = torch.ones(2, dtype=torch.float64)
    if name == "ewc":
        method.load_state_dict({"fisher": {"theta": FISHER}})
        diagonal = FISHER
    pull = 2 * weight * torch.diag(diagonal)
    expected = torch.linalg.solve(HESSIAN + pull, HESSIAN @ CENTRE + pull @ ANCHOR)
    torch.testing.assert_close(descended(method), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("variant", "weight"), [("citb", 0.01), ("trace", 200.0), ("running", 2500.0)])
def test_each_ewc_variant_has_its_published_weight(variant, weight):
    method = create(configured("ewc", ewc={"variant": variant}))
    method.load_state_dict({"fisher": {"theta": FISHER}})
    learner = TwoParameters(*ANCHOR)
    method.begin_step(step_of(2), learner)
    learner.theta.data += torch.tensor([0.5, 3.0], dtype=torch.float64)
    assert float(method.penalty(learner).detach()) == pytest.approx(weight * 4.0 * 0.25)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [("citb", [3.0, 6.0, 0.0]), ("trace", [3.0, 9.0, 9.0]), ("running", [3.0, 4.5, 3.0])],
)
def test_the_fisher_kept_is_the_last_one_the_sum_or_the_mean_over_the_steps(variant, expected):
    kept, found = {}, []
    for number, value in enumerate([3.0, 6.0, 0.0]):
        kept = merged(variant, kept, {"theta": torch.tensor([value])}, number)
        found.append(float(kept["theta"]))
    assert found == expected


# The Fisher


def literal_fisher(learner, examples):
    """Squares of the gradient of the mean log p of each response, without padding, batches or helpers."""
    total = {name: torch.zeros_like(weight) for name, weight in learner.parameters().items()}
    for example in examples:
        item = learner.encoder.encode(example)
        logits = learner.model(torch.tensor([[*item.prompt, *item.response]])).logits[0].log_softmax(-1)
        first = len(item.prompt) - 1
        said = [logits[first + number, token] for number, token in enumerate(item.response)]
        learner.model.zero_grad()
        (sum(said) / len(said)).backward()
        for name, weight in learner.parameters().items():
            total[name] += weight.grad**2 / len(examples)
    learner.model.zero_grad()
    return total


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_the_fisher_equals_a_loop_over_examples(adapter, make_learner, mixed_examples):
    learner = in_double(make_learner("gpt2", adapter, dropout=0.2))
    scatter(learner.model, 1, 0.1)
    learner.model.eval()
    expected = literal_fisher(learner, mixed_examples)
    learner.model.train()
    found = diagonal_fisher(learner, mixed_examples, config.TrainSection())
    assert learner.model.training and found.keys() == expected.keys()
    assert all(weight.grad is None for weight in learner.parameters().values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-14)
        assert (value >= 0).all()


class Softmax(torch.nn.Module):
    """p(next token given this one) = softmax(W x), x the token's fixed vector."""

    def __init__(self, vectors):
        super().__init__()
        self.embedding = torch.nn.Embedding.from_pretrained(vectors)
        self.head = torch.nn.Linear(vectors.shape[1], vectors.shape[0], bias=False, dtype=vectors.dtype)

    def get_input_embeddings(self):
        return self.embedding

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, attention_mask=None, use_cache=None):
        return SimpleNamespace(logits=self.head(self.embedding(input_ids)))


def test_the_fisher_of_a_softmax_model_is_the_analytic_one(make_example):
    generator = torch.Generator().manual_seed(0)
    model = Softmax(torch.randn(7, 3, generator=generator, dtype=torch.float64))
    ids = {"a": ((2, 3), (4, 6, 5)), "b": ((1,), (3,)), "c": ((5, 5, 1), (2, 2))}

    def encode_all(examples):
        return (Encoded(one, *ids[one.input][:1], None, ids[one.input][1]) for one in examples)

    encoder = SimpleNamespace(encode_all=encode_all)
    tokenizer = SimpleNamespace(pad_token_id=0, eos_token_id=0)
    learner = Learner(model, tokenizer, encoder)
    found = diagonal_fisher(learner, [make_example(input=name) for name in ids], config.TrainSection())
    weight, vectors = model.head.weight.detach().numpy(), model.embedding.weight.numpy()
    expected = np.zeros_like(weight)
    for prompt, response in ids.values():
        mean = np.zeros_like(weight)
        for here, after in zip((*prompt[-1:], *response), response, strict=False):
            scores = np.exp(weight @ vectors[here])
            mean += np.outer(np.eye(7)[after] - scores / scores.sum(), vectors[here]) / len(response)
        expected += mean**2 / len(ids)
    np.testing.assert_allclose(found["head.weight"].numpy(), expected, rtol=1e-10)


def test_ewc_keeps_one_fisher_of_its_trained_weights_for_any_number_of_steps(make_learner):
    settings = configured("ewc", ewc={"num_examples": 4})
    method, learner = create(settings), make_learner("gpt2", adapter=True)
    scatter(learner.model, 2, 0.1)
    seen = []
    for number, task in enumerate(TASKS, 1):
        method.begin_step(step_of(number, task), learner)
        method.end_step(step_of(number, task), learner)
        seen.append(method.state_dict())
    fishers = [state.pop("fisher") for state in seen]
    assert seen == [{}] * len(TASKS)
    assert all(fisher.keys() == learner.parameters().keys() for fisher in fishers)
    assert all(isinstance(value, torch.Tensor) for value in fishers[-1].values())
    assert any((fishers[-1][name] > fishers[0][name]).any() for name in fishers[0]), "trace sums them up"


# LwF


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_distillation_is_torchs_kl_between_softened_outputs(temperature):
    generator = torch.Generator().manual_seed(3)
    logits, reference = (4 * torch.randn(5, 11, generator=generator) for _ in range(2))
    expected = torch.nn.functional.kl_div(
        (logits / temperature).log_softmax(-1), (reference / temperature).softmax(-1), reduction="none"
    ).sum(-1)
    torch.testing.assert_close(distillation(logits, reference, temperature), temperature**2 * expected)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_lwf_adds_the_divergence_from_the_model_of_the_steps_beginning(adapter, make_learner, mixed_examples):
    learner = in_double(make_learner("gpt2", adapter))
    scatter(learner.model, 1, 0.1)
    method, batch = create(configured("lwf", lwf={"weight": 0.3})), batch_of(learner, mixed_examples)
    plain = create(configured("sequential"))
    method.begin_step(step_of(1, TASKS[0]), learner)
    assert "distillation" not in method.loss(learner, batch).log, "the first step has no previous model"
    method.begin_step(step_of(2, TASKS[0]), learner)
    before = learner.response_logits(batch.rows).detach()
    gradients = [
        torch.autograd.grad(one.loss(learner, batch).sum, list(learner.parameters().values()))
        for one in (method, plain)
    ]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    scatter(learner.model, 2, 0.1)
    now = learner.response_logits(batch.rows).detach()
    kl = torch.nn.functional.kl_div((now / 2).log_softmax(-1), (before / 2).softmax(-1), reduction="sum")
    loss = method.loss(learner, batch)
    entropy = cross_entropy_sum(now, batch.rows.target)
    assert float(loss.sum.detach()) == pytest.approx(float(entropy + 0.3 * 4 * kl), rel=1e-9)
    assert float(loss.log["distillation"]) == pytest.approx(float(0.3 * 4 * kl), rel=1e-9) and kl > 0.01


# A-GEM


def with_gradients(**gradients):
    parameters = {}
    for name, values in gradients.items():
        parameters[name] = torch.nn.Parameter(torch.zeros(len(values), dtype=torch.float64))
        parameters[name].grad = torch.tensor(values, dtype=torch.float64)
    return parameters


def test_a_gradient_against_memory_is_projected_as_one_vector():
    parameters = with_gradients(a=[1.0, -2.0], b=[3.0])
    reference = {"a": torch.tensor([2.0, 2.0]).double(), "b": torch.tensor([-1.0]).double()}
    gradient, against = np.array([1.0, -2.0, 3.0]), np.array([2.0, 2.0, -1.0])
    expected = gradient - (gradient @ against) / (against @ against) * against
    project(parameters, reference)
    found = torch.cat([weight.grad for weight in parameters.values()]).numpy()
    np.testing.assert_allclose(found, expected)
    assert abs(found @ against) < 1e-12


@pytest.mark.parametrize("reference", [[2.0, 1.0], [2.0, -4.0], [0.0, 0.0]], ids=["agree", "square", "none"])
def test_a_gradient_that_is_not_against_memory_stays_as_it_is(reference):
    parameters = with_gradients(a=[2.0, 1.0])
    project(parameters, {"a": torch.tensor(reference).double()})
    assert parameters["a"].grad.tolist() == [2.0, 1.0]


def test_a_weight_without_a_gradient_takes_its_part_in_the_projection():
    parameters = with_gradients(a=[-1.0], b=[0.0])
    parameters["b"].grad = None
    project(parameters, {"a": torch.tensor([1.0]).double(), "b": torch.tensor([1.0]).double()})
    assert [float(weight.grad) for weight in parameters.values()] == [-0.5, 0.5]


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_after_a_gem_a_small_step_does_not_raise_the_loss_on_memory(adapter, make_learner):
    """The current examples are the memory's with other responses, so that the gradients disagree."""
    learner = in_double(make_learner("gpt2", adapter))
    scatter(learner.model, 1, 0.1)
    settings = configured("a_gem", a_gem={"num_examples": 50})
    method, clock = create(settings), Clock(0, 2, 0, 8, 4)
    method.memory.add(TASKS[0])
    memory = method.memory.draw(50, clock.rng("memory"))
    current = [dataclasses.replace(one, references=("no no no no",)) for one in memory]
    plain = mean_gradient(learner, current, settings.train)
    reference = mean_gradient(learner, memory, settings.train)
    for name, weight in learner.parameters().items():
        weight.grad = 0.9 * plain[name] - reference[name]
    tokens = learner.ledger.train_tokens
    method.shape_gradients(learner, clock)
    assert learner.ledger.train_tokens - tokens == batch_of(learner, memory).rows.num_tokens
    size = sum(float((weight.grad**2).sum()) for weight in learner.parameters().values()) ** 0.5
    product = sum(
        float((weight.grad * reference[name]).sum()) for name, weight in learner.parameters().items()
    )
    assert product >= -1e-6 and size > 0.01

    def memory_loss():
        batch = batch_of(learner, memory)
        logits = learner.forward_logits(batch.rows)
        return float(cross_entropy_sum(logits, batch.rows.target)) / batch.num_tokens

    before, rate = memory_loss(), 1e-5
    with torch.no_grad():
        for weight in learner.parameters().values():
            weight -= rate / size * weight.grad
    assert (memory_loss() - before) / rate < 1e-3, "to first order it stays"


def test_a_gem_asks_memory_for_as_many_examples_as_replay_would_draw(make_learner, monkeypatch):
    settings = configured("a_gem")
    method, replaying, learner = create(settings), create(configured("replay")), make_learner("gpt2")
    for each in (method, replaying):
        each.memory.add(TASKS[0])
    asked, draw = [], method.memory.draw
    monkeypatch.setattr(method.memory, "draw", lambda count, rng: asked.append(count) or draw(count, rng))
    fit(learner, method, step_of(2, TASKS[1]), settings)
    clocks = [Clock(0, 2, update, 3, 4) for update in range(3)]
    assert asked == [len(replaying.replay(clock, learner)) for clock in clocks] == [2, 2, 2]


def test_a_gem_without_examples_from_memory_is_refused_and_not_sequential_tuning_by_another_name():
    with pytest.raises(ConfigError, match=r"a_gem needs examples from memory; raise replay\.ratio"):
        create(config.build({"replay": {"ratio": 0}, "method": {"name": "a_gem"}}))
    given = {"name": "a_gem", "a_gem": {"num_examples": 3}}
    create(config.build({"replay": {"ratio": 0}, "method": given}))


def test_a_gem_trains_on_current_examples_only(make_learner):
    settings = configured("a_gem")
    method, learner = create(settings), make_learner("gpt2")
    for number, task in enumerate(TASKS[:2], 1):
        log, _ = fit(learner, method, step_of(number, task), settings)
        assert all(record["replayed"] == 0 for record in log)
    assert learner.ledger.replayed_examples == 0
    assert set(method.memory.tasks) == {task.name for task in TASKS[:2]}


def test_the_mean_gradient_is_that_of_any_cut_into_micro_batches(make_learner, mixed_examples):
    learner = in_double(make_learner("gpt2"))
    batch = batch_of(learner, mixed_examples)
    loss = cross_entropy_sum(learner.response_logits(batch.rows), batch.rows.target) / batch.num_tokens
    expected = torch.autograd.grad(loss, list(learner.parameters().values()))
    for budget in (16, 10_000):
        found = mean_gradient(learner, mixed_examples, config.TrainSection(tokens_per_micro_batch=budget))
        for one, other in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


# All of them


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_interrupted_and_resumed_equals_a_straight_one(name, adapter, make_learner, tmp_path):
    settings = configured(name, {"checkpoint_every": 1})
    method = create(settings)
    learner = make_learner("gpt2", adapter, method.needs_initial, dropout=0.1)
    first, _ = fit(learner, method, step_of(1, TASKS[0]), settings)
    assert all("penalty_ratio" not in record for record in first), "nothing is held in the first step"
    begun, kept = learner.weights(), method.state_dict()
    folder = tmp_path / "state"
    folder.mkdir()
    checkpoint.write_state(kept, folder)
    saved = []

    def save(state):
        saved.append(state)
        checkpoint.publish(state, tmp_path / str(state.update))

    step, log = step_of(2, TASKS[1]), []
    loop.fit_step(learner, method, step, settings, log.append, save)
    assert all("penalty_ratio" in record for record in log[:3]) == (name != "a_gem")
    again, other = create(settings), make_learner("gpt2", adapter, method.needs_initial, dropout=0.1)
    again.load_state_dict(checkpoint.read_state(folder)["method"])
    other.load_weights(begun)
    resumed, _ = fit(other, again, step, settings, checkpoint.read(tmp_path / "1" / "checkpoint"))
    assert resumed == [record for record in log if record.get("update", 0) > 1]
    for key, value in learner.weights().items():
        assert torch.equal(value, other.weights()[key]), key
    states = [json.dumps(one.state_dict(), default=torch.Tensor.tolist) for one in (method, again)]
    assert states[0] == states[1], "a Fisher comes from the same examples"


@pytest.mark.parametrize("name", ["l2", "ewc", "tir", "lwf"])
def test_a_penalty_is_0_when_a_step_begins_and_keeps_the_weights_nearer_when_it_is_heavy(name, make_learner):
    moved = []
    for weight in (0.0, 1e5):
        settings = configured(name, **{name: {"weight": weight}})
        method = create(settings)
        learner = make_learner("gpt2", keep_initial=method.needs_initial)
        fit(learner, method, step_of(1, TASKS[0]), settings)
        before = learner.weights()
        log, _ = fit(learner, method, step_of(2, TASKS[1], num_updates=6), settings)
        assert log[0]["penalty_ratio"] == pytest.approx(0, abs=1e-6 * (1 + weight))
        moved.append(
            sum(float((value - before[key]).square().sum()) for key, value in learner.weights().items())
        )
    assert moved[1] < 0.9 * moved[0]


@pytest.mark.parametrize("name", ["l2", "ewc", "tir", "lwf"])
def test_what_a_penalty_holds_to_moves_on_with_every_step(name, make_learner):
    method = create(configured(name))
    learner = make_learner("gpt2", keep_initial=method.needs_initial)
    for number, task in enumerate(TASKS, 1):
        scatter(learner.model, number, 0.2)
        method.begin_step(step_of(number, task), learner)
        if number > 1 and name == "lwf":
            batch = batch_of(learner, task.train)
            assert float(method.loss(learner, batch).log["distillation"]) == pytest.approx(0, abs=1e-4)
        elif number > 1:
            assert float(method.penalty(learner)) == 0.0
        method.end_step(step_of(number, task), learner)


class Displaced(L2):
    """L2 towards weights elsewhere, so that its gradient is not 0; keeps the first update's gradients."""

    gradients = None

    def begin_step(self, step, learner):
        generator = torch.Generator().manual_seed(5)
        self.anchor = {
            name: weight + 0.1 * torch.randn(weight.shape, generator=generator)
            for name, weight in learner.weights().items()
        }
        self.begun = learner.weights()
        return step

    def shape_gradients(self, learner, clock):
        if self.gradients is None:
            self.gradients = {name: one.grad.clone() for name, one in learner.parameters().items()}


@pytest.mark.parametrize("size", [40, 4096], ids=["many micro-batches", "one"])
def test_the_loop_follows_the_gradient_of_mean_cross_entropy_plus_the_penalty_itself(size, make_learner):
    settings = configured("l2", {"tokens_per_micro_batch": size}, l2={"weight": 3.0})
    method, learner = Displaced(settings), make_learner("gpt2")
    step, clock = step_of(2, TASKS[1]), Clock(settings.seed, 2, 0, 3, 4)
    fit(learner, method, step, settings)
    learner.load_weights(method.begun)
    batch = batch_of(learner, loop.current_examples(step, clock, settings.train.group_size))
    entropy = cross_entropy_sum(learner.response_logits(batch.rows), batch.rows.target) / batch.num_tokens
    parameters = learner.parameters()
    plain = torch.autograd.grad(entropy, list(parameters.values()))
    for (name, weight), gradient in zip(parameters.items(), plain, strict=True):
        expected = gradient + 2 * 3.0 * (weight.detach() - method.anchor[name])
        torch.testing.assert_close(method.gradients[name], expected, rtol=1e-3, atol=1e-4)


# How large a penalty is


def test_the_ratio_is_the_penalty_over_the_cross_entropy():
    record = {"loss": 2.5, "cross_entropy": 2.0, "penalty": 0.5, "twin_penalty": 3.0}
    assert ratios(record, ["penalty"]) == {"penalty": 0.25}
    assert ratios(record, ["penalty", "twin_penalty", "absent"]) == {"penalty": 0.25, "twin_penalty": 1.5}
    assert ratios(record | {"cross_entropy": 0.0}, ["penalty"]) == {}
    assert ratios({"loss": 1.0}, ["penalty"]) == {}


def said(values, num_updates=1000, **penalties):
    """The warnings, by update, for these ratios."""
    watch = PenaltyWatch(penalties or {"penalty": "method.ewc.weight"}, num_updates)
    found = [
        watch.warning({"cross_entropy": 2.0} | ({} if value is None else {"penalty": 2.0 * value}))
        for value in values
    ]
    return {number: text for number, text in enumerate(found) if text}


def test_a_penalty_that_stays_too_small_or_too_large_is_told_once_with_its_setting():
    low, high = said([1e-6] * 200), said([20.0] * 200)
    assert list(low) == list(high) == [WINDOW - 1]
    assert "1.0e-06" in low[49] and "Raise method.ewc.weight" in low[49] and "0.0001 to 10" in low[49]
    assert "2.0e+01" in high[49] and "Lower method.ewc.weight" in high[49]


@pytest.mark.parametrize(
    "values",
    [
        [1e-6] * (WINDOW - 1) + [1e-3],
        ([1e-6] * (WINDOW - 1) + [1e-3]) * 3,
        [1e-6] * 30 + [20.0] * 30,
        [1e-3, 0.1, 9.0] * 50,
        [None] * 200,
    ],
    ids=["ends in time", "never in a row", "changes sides", "in range", "no penalty"],
)
def test_a_penalty_that_does_not_stay_outside_is_not_told(values):
    assert said(values) == {}


def test_a_step_shorter_than_the_window_is_judged_as_a_whole():
    assert list(said([1e-6] * 4, num_updates=4)) == [3]
    assert said([1e-6] * 3 + [1e-2], num_updates=4) == {}


def test_a_step_of_one_update_judges_no_penalty():
    """At the first update of a step nothing has moved from where it is held."""
    assert said([1e-12], num_updates=1) == {}


@pytest.mark.parametrize("weight", [1e-7, 0.02, 1.0, 5.0])
@pytest.mark.parametrize("num_updates", [2, 5, 300])
def test_no_weight_is_blamed_while_the_model_equals_what_it_is_held_to(weight, num_updates):
    """Its divergence is that of rounding, which no weight that is wanted would raise into the range."""
    watch = PenaltyWatch({"twin": "method.kpig.twin_weight"}, num_updates, {"twin": weight})
    for update in range(num_updates):
        assert watch.warning({"cross_entropy": 3.0, "twin": weight * 1e-8 * (1 + update % 3)}) is None


@pytest.mark.parametrize("weight", [0.0, 1e-6, 5e-3])
def test_a_weight_that_makes_a_real_divergence_small_is_told_and_one_of_0_is_meant(weight):
    watch = PenaltyWatch({"twin": "method.kpig.twin_weight"}, 3, {"twin": weight})
    rows = [{"cross_entropy": 2.0, "twin": weight * one} for one in (0.0, 0.02, 0.03, 0.02)]
    told = [watch.warning(row) for row in rows]
    assert ["Raise method.kpig.twin_weight" in (one or "") for one in told] == [False] * 3 + [weight > 0]


@pytest.mark.parametrize(
    ("name", "own"),
    [("kpig", {}), ("lwf", {}), ("derpp", {}), ("kpig", {"weighting": "none", "twin_weight": 0.3})],
)
@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_a_job_whose_model_hardly_moves_is_given_no_advice(name, own, adapter, tmp_path):
    table = {
        "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 1, "num_train": 8, "num_test": 1},
        "train": {"updates_per_step": 3, "batch_size": 2, "learning_rate": 1e-7, "device": "cpu"},
        "model": {"adapter": adapter},
        "method": {"name": name, name: own},
        "evaluate": {"max_new_tokens": 1, "half_listening": False, "gain": False, "new_wordings": False},
    }
    job.run(config.build(table), tmp_path / "run")
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    assert any("penalty_ratio" in event for event in events)
    assert [event["warning"] for event in events if "warning" in event] == []


def test_a_job_whose_twin_weight_is_lost_beside_the_loss_is_told_to_raise_it(tmp_path):
    """The first step has its model moved by a rate so high that the twins' answers are others at once."""
    table = {
        "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 1, "num_train": 8, "num_test": 1},
        "train": {"updates_per_step": 3, "batch_size": 2, "learning_rate": 3e-2, "device": "cpu"},
        "method": {"name": "kpig", "kpig": {"twin_weight": 1e-6, "weighting": "none"}},
        "evaluate": {"max_new_tokens": 1, "half_listening": False, "gain": False, "new_wordings": False},
    }
    job.run(config.build(table), tmp_path / "run")
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    (told,) = [event for event in events if "warning" in event]
    assert told["step"] == 2 and "Raise method.kpig.twin_weight" in told["warning"]


def test_a_job_writes_the_warning_down_and_shows_it(tmp_path):
    heard = []

    class Listening(Watcher):
        def say(self, line):
            heard.append(line)

    table = {
        "suite": {"num_steps": 2, "tasks_per_step": 1, "num_held_out": 1, "num_train": 8, "num_test": 1},
        "train": {"updates_per_step": 2, "batch_size": 2, "device": "cpu"},
        "method": {"name": "l2", "l2": {"weight": 1e-9}},
        "evaluate": {"max_new_tokens": 1, "half_listening": False, "gain": False, "new_wordings": False},
    }
    job.run(config.build(table), tmp_path / "run", watch=Listening())
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    warnings = [event for event in events if "warning" in event]
    assert [event["step"] for event in warnings] == [2] and "Raise method.l2.weight" in warnings[0]["warning"]
    assert heard[-1:] == [f"step 2: {warnings[0]['warning']}"]
    assert [("penalty_ratio" in event) for event in events if "update" in event] == [False] * 2 + [True] * 2
