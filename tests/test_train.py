"""The training loop: numbers that must not depend on how an update is cut up, resumed, or ordered."""

import copy
import dataclasses
import math
import time
from collections import Counter

import pytest
import torch

from kpig import config
from kpig.errors import RunError, TrainingError
from kpig.methods.base import Clock, Loss, Method, Step
from kpig.methods.chosen import create
from kpig.model import gain
from kpig.model.batch import collate
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.model.objective import jsd
from kpig.model.portions import token_batches
from kpig.records import Gain
from kpig.tasks import suite
from kpig.testing.models import scatter
from kpig.training import checkpoint, loop

TASKS = tuple(
    suite.task(pair, 9, 2, seed=0) for pair in (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
)
SMALL = {
    "train": {"batch_size": 4, "updates_per_step": 5, "learning_rate": 3e-3, "device": "cpu"},
    "replay": {"memory_per_task": 5, "ratio": 0.75},
}


def configured(name="sequential", **tables):
    """A small config; settings of KPIG as `kpig`, of the loop as `train`. Every example has its twin,
    and gains are measured on probes."""
    train_table = SMALL["train"] | tables.get("train", {})
    kpig_table = {
        "num_probes": 3,
        "refresh": 3,
        "num_tasks": 1,
        "twin_share": 1.0,
        "gain_from": "probe",
    } | tables.get("kpig", {})
    method = {"name": name, "kpig": kpig_table}
    return config.build({"train": train_table, "replay": SMALL["replay"], "method": method})


def step_of(number, *tasks, num_updates=5):
    return Step(number, tasks, num_updates)


def clock_at(update, step=2, num_current=4, num_updates=8):
    return Clock(0, step, update, num_updates, num_current)


def fit(learner, method, step, settings, resume_from=None):
    """Train a step; its log and copies of the checkpoints, whose tensors are the optimizer's own."""
    log, saved = [], []

    def save(state):
        saved.append(copy.deepcopy(state))

    loop.fit_step(learner, method, step, settings, log.append, save, resume_from)
    return log, saved


def equal_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Schedule and order


def test_the_learning_rate_schedule_worked_by_hand():
    settings = config.TrainSection(learning_rate=0.8, warmup=0.25)
    found = [loop.learning_rate(settings, update, 8) for update in range(8)]
    half = math.sqrt(3) / 2
    assert found == pytest.approx([0.4, 0.8, 0.8, 0.4 + 0.4 * half, 0.6, 0.4, 0.2, 0.4 - 0.4 * half])
    constant = config.TrainSection(learning_rate=0.8, warmup=0.25, schedule="constant")
    assert [loop.learning_rate(constant, update, 8) for update in range(8)] == [0.4, *[0.8] * 7]
    none = config.TrainSection(learning_rate=0.8, warmup=0.0)
    assert loop.learning_rate(none, 0, 1) == 0.8
    all_warmup = config.TrainSection(learning_rate=0.8, warmup=1.0)
    assert [loop.learning_rate(all_warmup, update, 2) for update in range(2)] == [0.4, 0.8]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"epochs": 1.0}, 7), ({"epochs": 2.0}, 14), ({"epochs": 0.1}, 1), ({"updates_per_step": 3}, 3)],
)
def test_updates_are_as_configured_or_enough_for_the_epochs(changes, expected):
    settings = config.TrainSection(**{"batch_size": 4, **changes})
    assert loop.num_updates(TASKS, settings) == expected


def test_every_epoch_covers_each_current_example_once_in_a_new_order():
    step = step_of(1, *TASKS)
    drawn = [one for update in range(27) for one in loop.current_examples(step, clock_at(update, 1, 3))]
    epochs = [[one.id for one in drawn[start : start + 27]] for start in (0, 27, 54)]
    expected = Counter(one.id for task in TASKS for one in task.train)
    assert all(Counter(epoch) == expected for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    wordings = {one.instruction for one in drawn if one.task == TASKS[0].name}
    assert wordings == set(TASKS[0].instructions)


class LookedUp(tuple):
    """Examples of which single ones may be asked for, but not all."""

    def __iter__(self):
        raise AssertionError("an update looks at its own examples only")


@pytest.mark.parametrize(("counts", "group_size"), [((5, 0, 7, 1), 1), ((3, 11, 0, 0, 2), 3), ((1,), 2)])
def test_an_update_takes_its_examples_from_the_tasks_without_making_a_list_of_all(counts, group_size):
    tasks = [replace_train(TASKS[0], f"t{n}", count) for n, count in enumerate(counts)]
    step, total = step_of(1, *tasks), sum(counts)
    pool = [one for task in tasks for one in list(tuple.__iter__(task.train))]
    for update in range(4):
        clock = clock_at(update, 1, 3)
        positions = range(update * 3, update * 3 + 3)
        orders = [loop._order(counts, group_size, f"{clock.seed}/order/1/{at // total}") for at in positions]
        expected = [pool[order[at % total]].id for order, at in zip(orders, positions, strict=True)]
        assert [one.id for one in loop.current_examples(step, clock, group_size)] == expected


def replace_train(task, name, count):
    """The task under a name, with so many training examples that are looked up one by one."""
    found = [dataclasses.replace(task.train[0], id=f"{name}-{n}", task=name) for n in range(count)]
    return dataclasses.replace(task, name=name, train=LookedUp(found))


def test_current_examples_depend_on_seed_step_and_update_alone():
    step = step_of(1, *TASKS)
    one = loop.current_examples(step, clock_at(3))
    loop.current_examples(step, clock_at(7))
    assert loop.current_examples(step, clock_at(3)) == one
    assert loop.current_examples(step, dataclasses.replace(clock_at(3), seed=1)) != one
    assert loop.current_examples(step, dataclasses.replace(clock_at(3), step=3)) != one


# One update, cut up in any way. In float64 with GPT-2, since Llama computes its norms in float32.


def gains_of(*values):
    return {
        task.name: Gain(value, value, 0.5, 0.5 - value) for task, value in zip(TASKS, values, strict=True)
    }


def in_double(learner):
    """The learner in float64, starting from its present weights."""
    return Learner(learner.model.double(), learner.tokenizer, learner.encoder, keep_initial=True)


def prepared(name, learner, **tables):
    """A method in the middle of a step whose gains are known."""
    method = create(configured(name, **tables))
    method.begin_step(step_of(1, *TASKS), learner)
    method.gains = gains_of(0.25, -0.5, 0.75)
    return method


def gradient(learner, method, batches):
    """Loss, per token, and gradients of one update over these batches."""
    num_tokens = sum(batch.num_tokens for batch in batches)
    learner.model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = method.loss(learner, batch)
        (loss.sum / num_tokens).backward()
        total += float(loss.sum.detach()) / num_tokens
    return total, {name: weight.grad.clone() for name, weight in learner.parameters().items()}


def unequal_examples(mixed_examples):
    """Examples of three tasks and one without key parts, of unequal length."""
    plain = dataclasses.replace(mixed_examples[2], task=TASKS[1].name)
    return [*TASKS[0].train[:3], plain, *TASKS[1].train[:2], *TASKS[2].train[:1]]


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", ["sequential", "kpig"])
def test_loss_and_gradient_do_not_depend_on_micro_batches_order_or_padding_side(
    name, adapter, make_learner, mixed_examples
):
    learner = in_double(make_learner("gpt2", adapter))
    scatter(learner.model, 1, 0.1)
    method, examples = prepared(name, learner), unequal_examples(mixed_examples)
    encoded = [learner.encoder.encode(one) for one in examples]

    def cut(budget, order=1):
        settings = config.TrainSection(tokens_per_micro_batch=budget)
        return learner.training_batches(examples[::order], settings, method.paired)

    ways = {
        "alone": cut(16),
        "few": cut(160),
        "backwards": cut(160, -1)[::-1],
        "left": [collate(encoded, learner.pad_id, method.paired, "left")],
    }
    assert len(ways["alone"]) == len(examples) > len(ways["few"]) > 1
    expected_loss, expected = gradient(learner, method, cut(100_000))
    for found_loss, found in (gradient(learner, method, batches) for batches in ways.values()):
        assert found_loss == pytest.approx(expected_loss, rel=1e-5)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-12)


def test_trained_weights_do_not_depend_on_the_micro_batch_budget(make_learner):
    found = []
    for budget in (16, 10_000):
        learner, settings = make_learner(), configured(train={"tokens_per_micro_batch": budget})
        log, _ = fit(learner, create(settings), step_of(1, *TASKS), settings)
        found.append([record["loss"] for record in log])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def literal_kpig_loss(model, reference, learner, examples, weights):
    """docs/method.md, section 6 as it is written, one example and one token at a time, without padding."""

    def log_probs(one, prompt, response):
        logits = one(torch.tensor([[*prompt, *response]])).logits[0].log_softmax(-1)
        return logits[len(prompt) - 1 : len(prompt) - 1 + len(response)]

    total, num_tokens = 0.0, 0
    for example, weight in zip(examples, weights, strict=True):
        item = learner.encoder.encode(example)
        num_tokens += len(item.response)
        told = log_probs(model, item.prompt, item.response)
        for number, token in enumerate(item.response):
            total = total - told[number, token]
        if item.masked_prompt is None:
            continue
        masked = log_probs(model, item.masked_prompt, item.response)
        with torch.no_grad():
            frozen = log_probs(reference, item.masked_prompt, item.response)
        for one, other in zip(masked.exp(), frozen.exp(), strict=True):
            mean = (one + other) / 2
            divergence = (one * (one / mean).log()).sum() / 2 + (other * (other / mean).log()).sum() / 2
            total = total + weight * divergence
    return total / num_tokens


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"twin_weight": 1.0}, (0.75, 1.0, 0.25)),
        ({"twin_weight": 2.5}, (1.875, 2.5, 0.625)),
        ({"twin_weight": 2.0, "weighting": "none"}, (2.0, 2.0, 2.0)),
        ({"twin_weight": 2.0, "gain_unit": "log"}, (1.5, 2.0, 0.5)),
        ({"twin_weight": 0.0}, (0.0, 0.0, 0.0)),
        ({"twin_weight": 1.0, "reference": "previous"}, (0.75, 1.0, 0.25)),
    ],
    ids=str,
)
def test_the_loss_of_kpig_and_its_gradient_are_the_formula_token_by_token(
    settings, weights, adapter, make_learner, mixed_examples
):
    learner = in_double(make_learner("gpt2", adapter))
    starting = make_learner("gpt2").model.double()
    scatter(learner.model, 1, 0.1)
    method = prepared("kpig", learner, kpig=settings)
    reference = copy.deepcopy(learner.model) if settings.get("reference") == "previous" else starting
    scatter(learner.model, 2, 0.1)
    examples = unequal_examples(mixed_examples)
    by_task = dict(zip((task.name for task in TASKS), weights, strict=True))
    batches = learner.training_batches(examples, config.TrainSection(), method.paired)
    found, gradients = gradient(learner, method, batches)
    learner.model.zero_grad()
    expected = literal_kpig_loss(
        learner.model, reference, learner, examples, [by_task[one.task] for one in examples]
    )
    expected.backward()
    assert found == pytest.approx(float(expected.detach()), rel=1e-6)
    for name, weight in learner.parameters().items():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-5, atol=1e-12)


def test_no_gradient_reaches_the_reference(make_learner, mixed_examples):
    learner = make_learner(keep_initial=True)
    method = prepared("kpig", learner)
    method.gains = dict.fromkeys(("vague", *method.gains), method.gains[TASKS[0].name])
    gradient(learner, method, learner.training_batches(mixed_examples[2:3], config.TrainSection(), True))
    assert all(value.grad is None and not value.requires_grad for value in learner.initial.values())


def test_logged_means_are_per_response_token_of_the_update(make_learner):
    settings = configured("kpig")
    learner = make_learner(keep_initial=True)
    log, _ = fit(learner, create(settings), step_of(1, *TASKS), settings)
    for record in log:
        assert record["loss"] >= record["cross_entropy"] - 1e-6
        assert 0 <= record["divergence"] <= math.log(2)
        assert record["tokens"] > 0 and record["replayed"] == 0
    assert [record["update"] for record in log] == [1, 2, 3, 4, 5]
    assert log[0]["divergence"] == pytest.approx(0, abs=1e-6), "the model still is its own reference"
    assert learner.ledger.updates == 5


def test_training_lowers_the_loss_of_every_bound_that_trains(make_learner):
    settings = configured(train={"updates_per_step": 12, "learning_rate": 1e-2})
    log, _ = fit(make_learner(), create(settings), step_of(1, TASKS[1], num_updates=12), settings)
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]


# Not finite


class NotFinite(Method):
    """A loss, or only its gradient, that turns bad at the third update."""

    where = "loss"

    def replay(self, clock, learner):
        self.bad = clock.update == 2
        return ()

    def loss(self, learner, batch):
        loss = super().loss(learner, batch)
        if not self.bad:
            return loss
        infinite = loss.sum * math.nan if self.where == "loss" else loss.sum + (loss.sum * 0).sqrt()
        return Loss(infinite)


class NotFiniteGradient(NotFinite):
    where = "gradient"


@pytest.mark.parametrize("method_class", [NotFinite, NotFiniteGradient])
def test_a_loss_or_gradient_that_is_not_finite_stops_before_any_weight_changes(method_class, make_learner):
    learner, straight = make_learner(), make_learner()
    settings = configured(train={"checkpoint_every": 2})
    _, saved = fit(straight, create(settings), step_of(1, *TASKS), settings)
    with pytest.raises(TrainingError, match=f"the {method_class.where} is not finite.*step 1, update 3"):
        fit(learner, method_class(settings), step_of(1, *TASKS), settings)
    assert saved[0].update == 2
    assert equal_weights(learner.weights(), saved[0].weights)


# Interrupted equals straight


def published(state, folder):
    """A checkpoint written to disk and read back."""
    checkpoint.publish(state, folder)
    return checkpoint.read(checkpoint.find(folder))


def through_files(state, folder):
    """A method's state written to disk and read back."""
    folder.mkdir()
    checkpoint.write_state(state, folder)
    return checkpoint.read_state(folder)["method"]


def test_tensors_whose_places_have_equal_names_are_kept_apart(tmp_path):
    state = {"kept": {"a/b": {"c": torch.tensor([1.0])}, "a": {"b/c": torch.tensor([2.0])}}}
    assert through_files(state, tmp_path / "state") == state


class SlowToBegin(Method):
    def begin_step(self, step, learner):
        time.sleep(0.05)
        return step


def test_the_seconds_of_a_step_begin_with_its_first_hook(make_learner):
    settings, learner = configured(), make_learner()
    fit(learner, SlowToBegin(settings), step_of(1, *TASKS, num_updates=0), settings)
    assert learner.ledger.train_seconds >= 0.05


# Of KPIG; every method with its defaults, and with LoRA, is in test_contract.py.
VARIANTS = {
    "previous": {"reference": "previous", "selection": "proportional", "refresh": 2},
    "drop": {"selection": "lowest", "signal": "gain_drop", "gain_unit": "log", "refresh": 0},
    "some": {
        "selection": "lowest",
        "signal": "unheard_drop",
        "weighting": "example",
        "twin_share": 0.4,
        "twin_choice": "lowest",
        "twin_schedule": "rising",
        "gain_from": "training",
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_interrupted_step_resumed_from_disk_equals_a_straight_one_to_the_bit(
    variant, make_learner, tmp_path
):
    settings = configured("kpig", kpig=VARIANTS[variant], train={"checkpoint_every": 2})
    method = create(settings)
    learner = make_learner("gpt2", keep_initial=method.needs_initial, dropout=0.1)
    fit(learner, method, step_of(1, TASKS[0]), settings)
    between, kept = learner.weights(), through_files(method.state_dict(), tmp_path / "state")
    log, saved = fit(learner, method, step_of(2, *TASKS[1:]), settings)
    assert [one.update for one in saved] == [2, 4, 5]

    resumed = make_learner("gpt2", keep_initial=method.needs_initial, dropout=0.1)
    again = create(settings)
    resumed.load_weights(between)
    again.load_state_dict(kept)
    tail, _ = fit(resumed, again, step_of(2, *TASKS[1:]), settings, published(saved[0], tmp_path / "step"))
    assert tail == log[2:]
    assert equal_weights(resumed.weights(), learner.weights())
    assert again.state_dict() == method.state_dict()
    for field in ("updates", "train_tokens", "replayed_examples"):
        assert getattr(resumed.ledger, field) == saved[-1].ledger[field]


@pytest.mark.parametrize("name", ["replay", "kpig"])
def test_an_interrupted_lora_step_resumed_from_disk_equals_a_straight_one_to_the_bit(
    name, make_learner, tmp_path
):
    settings = configured(name, train={"checkpoint_every": 2})
    method, learner = create(settings), make_learner("gpt2", adapter=True, dropout=0.1)
    log, saved = fit(learner, method, step_of(1, *TASKS), settings)
    for index, state in enumerate(saved[:2]):
        resumed, again = make_learner("gpt2", adapter=True, dropout=0.1), create(settings)
        tail, more = fit(
            resumed, again, step_of(1, *TASKS), settings, published(state, tmp_path / str(index))
        )
        assert tail == log[state.update :]
        assert equal_weights(resumed.weights(), learner.weights())
        for number, tensors in saved[-1].optimizer.items():
            assert equal_weights(more[-1].optimizer[number], tensors)


def test_dropout_is_on_while_training_and_the_same_for_the_same_seed(make_learner):
    settings, step = configured(), step_of(1, *TASKS)
    runs = []
    for dropout in (0.1, 0.1, 0.0):
        log, _ = fit(make_learner("gpt2", dropout=dropout), create(settings), step, settings)
        runs.append([record["loss"] for record in log])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("name", ["replay", "kpig"])
def test_a_method_behaves_the_same_after_its_state_went_through_a_file(
    name, make_learner, mixed_examples, tmp_path
):
    settings = configured(name)
    method, again = create(settings), create(settings)
    learner = make_learner(keep_initial=method.needs_initial)
    fit(learner, method, step_of(1, *TASKS[:2]), settings)
    step = step_of(2, TASKS[2])
    method.begin_step(step, learner)
    method.replay(clock_at(0), learner)
    again.begin_step(step, learner)
    again.load_state_dict(through_files(method.state_dict(), tmp_path / "state"))
    drawn = [list(one.replay(clock_at(1), learner)) for one in (method, again)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 3
    for encoded in token_batches([1] * 6, 3):
        examples = [TASKS[index % 3].train[index] for index in encoded]
        batch = collate(
            [learner.encoder.encode(one) for one in examples], learner.pad_id, twins=method.paired
        )
        losses = [one.loss(learner, batch).sum.detach() for one in (method, again)]
        assert torch.equal(*losses)
    assert again.state_dict() == method.state_dict()


def test_a_damaged_checkpoint_is_refused_and_a_half_written_one_is_not_found(make_learner, tmp_path):
    settings = configured(train={"checkpoint_every": 5})
    _, saved = fit(make_learner(), create(settings), step_of(1, *TASKS), settings)
    checkpoint.publish(saved[0], tmp_path)
    folder = checkpoint.find(tmp_path)
    (folder / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(RunError, match="damaged checkpoint"):
        checkpoint.read(folder)
    (folder / checkpoint.READY).unlink()
    assert checkpoint.find(tmp_path) is None


# How KPIG chooses what to replay


@pytest.fixture
def staged(monkeypatch, make_learner):
    """staged(gains, **settings): KPIG that remembers all tasks, told their gains; and its measurements."""

    def make(gains, **settings):
        calls = []

        def measure(learner, probes, row_tokens):
            assert row_tokens == "auto", "that of the config"
            calls.append(set(probes))
            return {task: gains[task] for task in probes}

        monkeypatch.setattr(gain, "measure", measure)
        method, learner = create(configured("kpig", kpig=settings)), make_learner()
        for number, task in enumerate(TASKS[:2], 1):
            method.begin_step(step_of(number, task), learner)
            method.remember(step_of(number, task), learner)
        method.memory.add(dataclasses.replace(TASKS[2], name="third"))
        method.begin_step(step_of(3, TASKS[2]), learner)
        calls.clear()
        return method, learner, calls

    return make


def toy_gains(first, second, third, instructed=(0.5, 0.5, 0.5)):
    names = (TASKS[0].name, TASKS[1].name, "third")
    values = {
        name: Gain(value, 10 * value, sure, sure - value)
        for name, value, sure in zip(names, (first, second, third), instructed, strict=True)
    }
    return values | {TASKS[2].name: Gain(-1.0, -1.0, 0.0, 1.0)}


@pytest.mark.parametrize(
    ("gains", "num_tasks", "expected"),
    [
        (toy_gains(0.5, 0.1, 0.3), 1, [1]),
        (toy_gains(0.5, 0.1, 0.3), 2, [1, 2]),
        (toy_gains(-0.5, 0.1, -0.6), 2, [2, 0]),
        (toy_gains(0.2, 0.2, 0.2, (0.9, 0.8, 0.3)), 2, [2, 1]),
        (toy_gains(0.5, 0.1, 0.3), 9, [1, 2, 0]),
    ],
)
def test_the_past_tasks_of_lowest_gain_are_replayed(gains, num_tasks, expected, staged):
    method, learner, _ = staged(gains, selection="lowest", num_tasks=num_tasks)
    names = (TASKS[0].name, TASKS[1].name, "third")
    pool_size = 5 * len(expected)
    drawn = list(method.replay(clock_at(0, 3, math.ceil(pool_size / 0.75)), learner))
    assert method.chosen == [names[index] for index in expected]
    kept = {one.id for name in method.chosen for one in method.memory.tasks[name].examples}
    assert {one.id for one in drawn} == kept, "as many asked for as the pool has"
    assert len(method.replay(clock_at(0, 3, 20), learner)) == 15, (
        "the budget is kept where the pool is too small"
    )


def test_the_log_gain_decides_where_it_is_asked_for(staged):
    gains = toy_gains(0.5, 0.1, 0.3)
    gains["third"] = dataclasses.replace(gains["third"], log=-3.0)
    method, learner, _ = staged(gains, selection="lowest", gain_unit="log")
    method.replay(clock_at(0), learner)
    assert method.chosen == ["third"]


def test_the_gain_drop_is_counted_from_when_the_task_was_learned(staged):
    gains = toy_gains(0.9, 0.2, 0.5)
    method, learner, _ = staged(gains, selection="lowest", signal="gain_drop")
    method.learned = {TASKS[0].name: 0.9, TASKS[1].name: 0.2, "third": 0.5}
    gains |= {TASKS[0].name: Gain(0.4, 4.0, 0.5, 0.1)}
    method.replay(clock_at(0), learner)
    assert method.chosen == [TASKS[0].name], "it fell by 0.5, though its gain is still higher than 0.2"


def test_the_gain_of_a_task_that_forgot_nothing_has_not_dropped(make_learner):
    """Measured again by the same weights, every task's signal must be 0, and below 0 only what fell."""
    asked = {"selection": "lowest", "signal": "gain_drop", "num_probes": 3, "refresh": 1}
    settings = configured("kpig", kpig=asked)
    method, learner = create(settings), make_learner(keep_initial=True)
    method.begin_step(step_of(1, *TASKS[:2]), learner)
    method.remember(step_of(1, *TASKS[:2]), learner)
    method.begin_step(step_of(2, TASKS[2]), learner)
    method.replay(clock_at(0, 2), learner)
    begun = dict(method.learned)
    assert set(begun) == {task.name for task in TASKS[:2]}
    assert {method._signal(task) for task in begun} == {0.0}
    expected = gain.measure(learner, method.memory.probes(3))
    assert begun == pytest.approx({task: found.prob for task, found in expected.items()}, abs=1e-6)
    scatter(learner.model, 1, 0.2)
    method.replay(clock_at(1, 2), learner)
    assert method.learned == begun, "what a task had when it was learned does not change"
    assert all(method._signal(task) != 0 for task in begun)


def test_a_current_task_is_probed_with_the_examples_that_memory_will_keep_of_it(make_learner, monkeypatch):
    """Not with the first of its file, which may all have one label; and no jump when it becomes past."""
    method, learner = create(configured("kpig", kpig={"num_probes": 3})), make_learner(keep_initial=True)
    asked = []
    monkeypatch.setattr(gain, "measure", lambda _, probes, *more: asked.append(dict(probes)) or {})
    method.begin_step(step_of(1, TASKS[0]), learner)
    method._measure(learner)
    method.remember(step_of(1, TASKS[0]), learner)
    method.begin_step(step_of(2, TASKS[1]), learner)
    method._measure(learner)
    name = TASKS[0].name
    assert asked[0][name] == asked[1][name] == method.memory.tasks[name].examples[:3]
    assert asked[0][name] != TASKS[0].train[:3]


@pytest.mark.parametrize(("refresh", "expected"), [(3, [0, 3, 6]), (0, [0]), (1, list(range(8)))])
def test_gains_are_measured_when_a_step_begins_and_every_refresh_updates(refresh, expected, staged):
    method, learner, calls = staged(toy_gains(0.5, 0.1, 0.3), refresh=refresh)
    measured, told = [], []
    for update in range(8):
        before = len(calls)
        method.replay(clock_at(update), learner)
        measured += [update] * (len(calls) - before)
        told += [update] * bool(method.measured(clock_at(update)))
    assert measured == told == expected
    assert method.measured(clock_at(0))["gain"] == {name: one.prob for name, one in method.gains.items()}
    assert calls[0] == {TASKS[0].name, TASKS[1].name, "third", TASKS[2].name}


def test_replay_takes_the_share_and_the_examples_per_task_that_are_configured(staged):
    method, learner, _ = staged(toy_gains(0.5, 0.1, 0.3), examples_per_task=2, num_tasks=2)
    drawn = method.replay(clock_at(0), learner)
    assert len(drawn) == round(0.75 * 4)
    assert len({one.id for one in drawn}) == len(drawn)
    found = method.replay(clock_at(0, 3, 6), learner)
    assert sorted(Counter(one.task for one in found).values()) == [2, 2]


@pytest.mark.parametrize("name", ["replay", "kpig", "kmeans_replay", "periodic_replay"])
@pytest.mark.parametrize(
    ("ratio", "num_current"), [(0.1, 4), (0.5, 1), (0.3, 5), (0.57, 100), (1.0, 3), (2.5, 4)]
)
def test_a_fraction_of_an_example_is_replayed_as_often_as_makes_the_ratio_right(name, ratio, num_current):
    method = create(config.build({"method": {"name": name}, "replay": {"ratio": ratio}}))
    counts = [method.num_replayed(Clock(0, 2, update, 40, num_current)) for update in range(40)]
    assert sum(counts) == round(40 * ratio * num_current)
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("selection", ["lowest", "proportional", "uniform"])
def test_every_selection_draws_distinct_past_tasks_the_same_for_the_same_clock(selection, staged):
    method, learner, _ = staged(toy_gains(0.5, 0.1, 0.3), selection=selection, num_tasks=2)
    chosen = []
    for _ in range(2):
        method.replay(clock_at(0), learner)
        chosen.append(method.chosen)
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 2 and set(chosen[0]) <= set(method.memory.tasks)


def test_chance_selects_anew_in_every_update_and_rank_holds_until_gains_are_measured(staged):
    for selection, num_sets in (("lowest", 1), ("proportional", 3), ("uniform", 3)):
        method, learner, calls = staged(toy_gains(0.5, 0.1, 0.3), selection=selection, num_tasks=1, refresh=0)
        found = set()
        for update in range(30):
            method.replay(clock_at(update), learner)
            found.add(tuple(method.chosen))
        assert len(found) == num_sets and len(calls) == 1


@pytest.mark.parametrize("unused", [{"weighting": "none"}, {"twin_weight": 0.0}])
def test_gains_are_not_measured_where_nothing_depends_on_them(unused, staged):
    method, learner, calls = staged(toy_gains(0.5, 0.1, 0.3), selection="uniform", num_tasks=3, **unused)
    drawn = method.replay(clock_at(0), learner)
    assert len(drawn) == 3 and len(method.chosen) == 3
    assert (calls, method.gains, method.learned, method.measured(clock_at(0))) == ([], {}, {}, {})
    method, learner, calls = staged(toy_gains(0.5, 0.1, 0.3), selection="proportional", **unused)
    method.replay(clock_at(0), learner)
    assert len(calls) == 1, "by gain, it has to be known"


def test_nothing_is_replayed_or_measured_for_replay_in_the_first_step(make_learner, monkeypatch):
    monkeypatch.setattr(gain, "measure", lambda *_: pytest.fail("there is nothing to decide"))
    method, learner = create(configured("kpig", kpig={"weighting": "none"})), make_learner()
    method.begin_step(step_of(1, TASKS[0]), learner)
    assert method.replay(clock_at(0, 1), learner) == []


def test_the_divergence_of_a_batch_is_the_mean_over_its_own_tokens_in_every_split(make_learner):
    """The log holds sums over twin tokens; their total does not depend on how they were split."""
    learner = make_learner(keep_initial=True)
    scatter(learner.model, 1, 0.2)
    method = prepared("kpig", learner)
    examples = [one for task in TASKS for one in task.train[:2]]
    totals = []
    for budget in (16, 10_000):
        settings = config.TrainSection(tokens_per_micro_batch=budget)
        batches = learner.training_batches(examples, settings, True)
        totals.append(sum(float(method.loss(learner, batch).log["divergence"]) for batch in batches))
    batch = collate([learner.encoder.encode(one) for one in examples], learner.pad_id, twins=True)
    expected = jsd(learner.response_logits(batch.twins), learner.reference_logits(batch.twins, None)).sum()
    assert totals == pytest.approx([float(expected)] * 2, rel=1e-4)


def test_mtl_learns_all_steps_at_once_and_init_not_at_all(make_learner):
    steps = [TASKS[:1], TASKS[1:]]
    assert create(configured("mtl")).arrange(steps) == [TASKS]
    settings = configured("init", train={"checkpoint_every": 0})
    method, learner = create(settings), make_learner()
    before = learner.weights()
    step = step_of(1, *TASKS, num_updates=method.num_updates(5))
    assert fit(learner, method, step, settings) == ([], [])
    assert equal_weights(before, learner.weights())


def test_a_learner_of_ones_own_can_be_trained(tokenizer, make_learner):
    """`fit_step` needs no folder and no job: a model, its tokenizer and an encoder are enough."""
    learner = Learner(make_learner().model, tokenizer, Encoder(tokenizer, 64))
    log, _ = fit(learner, create(configured()), step_of(1, TASKS[0], num_updates=1), configured())
    assert len(log) == 1 and not learner.model.training
