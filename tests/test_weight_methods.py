"""DARE, LM-Cocktail, O-LoRA and MIGU against their formulas worked by hand, and the laws they keep."""

import copy
import dataclasses
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy import special

from kpig import config
from kpig.errors import ConfigError
from kpig.methods import dare, migu
from kpig.methods.base import Clock, Step
from kpig.methods.chosen import create
from kpig.model.encoding import Encoded, Encoder
from kpig.model.learner import Learner
from kpig.model.network import Network
from kpig.model.objective import cross_entropy_sum
from kpig.records import Example, Instruction, Task
from kpig.tasks import suite
from kpig.testing.models import scatter
from kpig.training import checkpoint, loop

TASKS = tuple(
    suite.task(pair, 8, 1, seed=0) for pair in (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
)
RANK = 3


def configured(name, adapter=False, **tables):
    """A small config; `train` changes the loop, `settings` the method's own."""
    loop = {"batch_size": 2, "updates_per_step": 3, "learning_rate": 3e-3, "device": "cpu"}
    method = {"name": name, name: tables.get("settings", {})}
    table = {"train": loop | tables.get("train", {}), "method": method, "seed": tables.get("seed", 0)}
    if adapter:
        table["model"] = {"adapter": "lora", "lora_rank": tables.get("rank", RANK)}
    return config.build(table)


def started(settings):
    """The method, told that the stream has three steps."""
    method = create(settings)
    method.arrange([(task,) for task in TASKS])
    return method


def fit(learner, method, number, settings, resume_from=None, num_updates=3):
    """Train step `number`, whose task is TASKS[number - 1]; its log and copies of its checkpoints."""
    log, saved = [], []

    def save(state):
        saved.append(copy.deepcopy(state))

    step = Step(number, (TASKS[number - 1],), num_updates)
    loop.fit_step(learner, method, step, settings, log.append, save, resume_from)
    return log, saved


def equal_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def equal_states(one, other):
    (plain, tensors), (other_plain, other_tensors) = map(checkpoint.parted, (one, other))
    return equal_weights(tensors, other_tensors) and json.dumps(plain) == json.dumps(other_plain)


def through_files(state, folder):
    """A method's state written to disk and read back."""
    folder.mkdir()
    checkpoint.write_state(state, folder)
    return checkpoint.read_state(folder)["method"]


# Laws of all four


@pytest.mark.parametrize(
    ("name", "adapter", "settings"),
    [
        ("dare", False, {"reference": "previous"}),
        ("dare", False, {"reference": "initial"}),
        ("dare", True, {}),
        ("lm_cocktail", False, {"max_peers": 1}),
        ("o_lora", True, {"norm": 0.1}),
        ("migu", False, {}),
        ("migu", True, {}),
    ],
    ids=str,
)
def test_a_run_interrupted_in_the_second_step_equals_a_straight_one_to_the_bit(
    name, adapter, settings, make_learner, tmp_path
):
    chosen = configured(name, adapter, settings=settings, train={"checkpoint_every": 2})
    method = started(chosen)
    learner = make_learner("gpt2", adapter, keep_initial=method.needs_initial, dropout=0.1)
    fit(learner, method, 1, chosen)
    between, kept = learner.weights(), through_files(method.state_dict(), tmp_path / "state")
    log, saved = fit(learner, method, 2, chosen)

    resumed, again = make_learner("gpt2", adapter, method.needs_initial, dropout=0.1), started(chosen)
    resumed.load_weights(between)
    again.load_state_dict(kept)
    checkpoint.publish(saved[0], tmp_path / "step")
    begun = checkpoint.read(checkpoint.find(tmp_path / "step"))
    tail, _ = fit(resumed, again, 2, chosen, begun)
    assert begun.update == 2 and tail == log[2:]
    assert equal_weights(resumed.weights(), learner.weights())
    assert equal_states(again.state_dict(), method.state_dict())


@pytest.mark.parametrize(
    ("name", "adapter", "tables", "message"),
    [
        ("lm_cocktail", True, {}, "model.adapter"),
        ("o_lora", False, {}, "model.adapter"),
        ("o_lora", True, {"train": {"weight_decay": 0.1}}, "train.weight_decay = 0.1"),
        ("migu", False, {"train": {"row_tokens": 512}}, "train.row_tokens = 0"),
    ],
)
def test_what_a_method_cannot_do_is_refused_before_any_model_loads(name, adapter, tables, message):
    with pytest.raises(ConfigError, match=message):
        create(configured(name, adapter, **tables))


def test_a_rank_too_small_for_the_steps_is_refused_with_the_rank_that_is_needed():
    with pytest.raises(ConfigError, match=r"lora_rank = 2 over 3 steps.*at least 3.*24"):
        started(configured("o_lora", True, rank=2))


# DARE


def dropped(weight, reference, drop, seed):
    return dare.drop_and_rescale(weight, reference, drop, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("drop", [0.2, 0.9])
def test_dare_drops_the_share_asked_for_and_keeps_the_mean(drop):
    generator = torch.Generator().manual_seed(5)
    reference, change = (torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = reference + change
    draws = torch.stack([dropped(weight, reference, drop, seed) for seed in range(4000)])
    is_dropped = draws == reference
    errors = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - weight).abs() <= 4 * errors).all()
    assert abs(float(is_dropped.double().mean()) - drop) <= 4 * math.sqrt(drop * (1 - drop) / draws.numel())
    kept = (reference + change / (1 - drop)).expand_as(draws)
    torch.testing.assert_close(draws[~is_dropped], kept[~is_dropped], rtol=1e-12, atol=0)


def test_dare_refuses_lora_on_an_embedding_which_it_would_not_thin(tokenizer, make_learner):
    model = get_peft_model(make_learner("gpt2").model, LoraConfig(r=2, target_modules=["wte"]))
    learner = Learner(model, tokenizer, Encoder(tokenizer, 64))
    with pytest.raises(
        ConfigError, match=r"dare thins LoRA on linear layers only.*lora_embedding.*lora_targets"
    ):
        started(configured("dare", True)).begin_step(Step(1, TASKS[:1], 3), learner)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("reference", ["previous", "initial"])
def test_dare_thins_what_the_step_changed_and_nothing_else(reference, adapter, make_learner):
    """Two steps without an optimizer: weights are moved by hand, so what is kept can be told."""
    method = started(configured("dare", adapter, settings={"drop": 0.4, "reference": reference}))
    learner = make_learner("llama", adapter, keep_initial=method.needs_initial)
    begin = learner.weights()
    for number, seed in ((1, 11), (2, 12)):
        before = learner.weights()
        step = Step(number, (TASKS[number - 1],), 3)
        method.begin_step(step, learner)
        scatter(learner.model, seed, 0.1)
        tuned = learner.weights()
        method.end_step(step, learner)
        num_dropped = total = 0
        for name, weight in learner.weights().items():
            start = before[name] if reference == "previous" else begin[name]
            if adapter and "lora_A" in name:
                assert torch.equal(weight, tuned[name])
                continue
            moved = tuned[name] != start
            assert torch.equal(weight[~moved], start[~moved])
            is_dropped = moved & (weight == start)
            kept = moved & ~is_dropped
            expected = start + (tuned[name] - start) / 0.6
            torch.testing.assert_close(weight[kept], expected[kept], rtol=1e-5, atol=1e-6)
            num_dropped, total = num_dropped + int(is_dropped.sum()), total + int(moved.sum())
        assert total > 1000
        assert abs(num_dropped / total - 0.4) <= 4 * math.sqrt(0.4 * 0.6 / total)


def test_dare_with_nothing_to_drop_is_sequential_tuning_to_the_bit(make_learner):
    found = []
    for method in ({"name": "dare", "dare": {"drop": 0.0}}, {"name": "sequential"}):
        chosen = config.build(configured("dare").model_dump() | {"method": method})
        learner = make_learner("llama")
        fit(learner, started(chosen), 1, chosen)
        found.append(learner.weights())
    assert equal_weights(*found)


def test_dare_draws_by_seed_step_and_weight_alone(make_learner):
    def end(seed=0, number=1):
        method = started(configured("dare", seed=seed, settings={"drop": 0.5}))
        learner, step = make_learner("llama"), Step(number, TASKS[:1], 3)
        method.begin_step(step, learner)
        scatter(learner.model, 3, 0.1)
        method.end_step(step, learner)
        return learner.weights()

    assert equal_weights(end(), end())
    first = end()
    masks = [{name: first[name] == other[name] for name in first} for other in (end(seed=1), end(number=2))]
    for mask in masks:
        matrix = next(one for one in mask.values() if one.dim() > 1)
        assert not matrix.all()


# LM-Cocktail


class TwoWeights(torch.nn.Module):
    """A model of two numbers whose logits are [u, v] at every position: the loss is known in closed form."""

    def __init__(self):
        super().__init__()
        self.u = torch.nn.Parameter(torch.tensor(0.0))
        self.v = torch.nn.Parameter(torch.tensor(0.0))


class TwoWeightLearner:
    """As much of a learner as LM-Cocktail needs, around TwoWeights; responses are token 0 throughout."""

    is_adapter, device, pad_id, _width = False, torch.device("cpu"), 0, 2
    weights, load_weights, parameters = Learner.weights, Learner.load_weights, Learner.parameters
    batches, training_batches = Learner.batches, Learner.training_batches
    mean_loss, per_batch, _forward = Learner.mean_loss, Learner.per_batch, Learner._forward

    def __init__(self):
        self.model = TwoWeights()
        self.network = Network(self.model)
        self.initial = self.weights()
        self.encoder = self

    def _shares(self, encoded, layout):
        return False

    def encode_all(self, examples):
        return (Encoded(one, (1,), None, (0,) * len(one.response.split())) for one in examples)

    def forward_logits(self, rows, weights):
        return torch.stack([weights["u"], weights["v"]]).double().expand(len(rows.target), 2)

    def set(self, u, v):
        self.load_weights({"u": torch.tensor(u), "v": torch.tensor(v)})


def plain_task(name, num_train=9):
    instruction = Instruction("Say it.", (), "seed")
    made = tuple(
        Example(f"{name}-{k}", name, instruction, "", ("a " * (k % 3 + 1),)) for k in range(num_train)
    )
    return Task(name, (instruction,), made, (), "rouge_l")


def loss_of(u, v):
    """-log softmax([u, v])[0]."""
    return math.log(1 + math.exp(v - u))


@pytest.mark.parametrize("tuned_share", [0.5, 0.3, "softmax"])
def test_lm_cocktail_is_the_weighted_mean_worked_by_hand(tuned_share):
    settings = {"tuned_share": tuned_share, "temperature": 0.7, "num_examples": 4, "max_peers": 2}
    method, learner = started(configured("lm_cocktail", settings=settings)), TwoWeightLearner()
    tuned_of_steps = [(1.5, 0.25), (-0.5, 2.0), (3.0, 1.0), (0.5, 0.75)]
    for number, tuned in enumerate(tuned_of_steps, 1):
        learner.set(*tuned)
        others = [(0.0, 0.0), *tuned_of_steps[: number - 1][-2:]]
        method.end_step(Step(number, (plain_task("one"), plain_task("two")), 1), learner)
        if tuned_share == "softmax":
            shares = special.softmax([-loss_of(*one) / 0.7 for one in [tuned, *others]])
        else:
            rest = special.softmax([-loss_of(*one) / 0.7 for one in others])
            shares = np.array([tuned_share, *((1 - tuned_share) * rest)])
        expected = shares @ np.array([tuned, *others])
        found = [learner.model.u.item(), learner.model.v.item()]
        assert found == pytest.approx(expected, rel=1e-6)
        assert method.shares == pytest.approx(shares) and sum(method.shares) == pytest.approx(1)
        assert len(method.peers) == min(2, number), "the memory is bounded"


def test_equal_losses_give_the_plain_mean():
    method = started(configured("lm_cocktail", settings={"tuned_share": "softmax"}))
    learner = TwoWeightLearner()
    for number, shift in ((1, 3.0), (2, -9.0), (3, 6.0)):
        learner.set(shift, shift)
        method.end_step(Step(number, (plain_task("one"),), 1), learner)
    assert method.shares == pytest.approx([0.25] * 4)
    assert learner.model.u.item() == pytest.approx((6.0 + 0.0 + 3.0 - 9.0) / 4, abs=1e-6)


def test_without_peers_the_tuned_weights_are_mixed_with_the_starting_ones():
    method = started(configured("lm_cocktail", settings={"max_peers": 0, "tuned_share": 0.25}))
    learner = TwoWeightLearner()
    for number, u in ((1, 4.0), (2, 8.0)):
        learner.set(u, 0.0)
        method.end_step(Step(number, (plain_task("one"),), 1), learner)
        assert learner.model.u.item() == pytest.approx(0.25 * u)
        assert method.peers == []


def test_lm_cocktail_measures_the_loss_per_token_on_few_examples_of_the_present_tasks(make_learner):
    chosen = configured("lm_cocktail", settings={"num_examples": 3})
    method, learner = started(chosen), make_learner("llama", keep_initial=True)
    step = Step(1, TASKS[:2], 1)
    picked = method._examples(step)
    assert [one.task for one in picked] == [TASKS[0].name] * 3 + [TASKS[1].name] * 3
    assert len({one.id for one in picked}) == 6 and picked == method._examples(step)
    scatter(learner.model, 1, 0.1)
    expected, num_tokens = 0.0, 0
    for example in picked:
        item = learner.encoder.encode(example)
        with torch.no_grad():
            logits = learner.model(torch.tensor([[*item.prompt, *item.response]])).logits[0]
        predicted = logits[len(item.prompt) - 1 : -1]
        expected += float(cross_entropy_sum(predicted, torch.tensor(item.response)))
        num_tokens += len(item.response)
    batches = learner.training_batches(picked, chosen.train)
    before = learner.ledger.forward_tokens
    found = learner.mean_loss(batches, learner.weights())
    assert found == pytest.approx(expected / num_tokens, rel=1e-5)
    assert learner.ledger.forward_tokens > before, "what a method costs is counted"


def test_lm_cocktail_ends_every_step_between_its_models(make_learner):
    chosen = configured("lm_cocktail", settings={"max_peers": 1})
    method, learner = started(chosen), make_learner("gpt2", keep_initial=True)
    peers = []
    for number in (1, 2):
        fit(learner, method, number, chosen)
        tuned = method.peers[-1]
        for name, weight in learner.weights().items():
            models = [tuned, learner.initial, *peers]
            hand = sum(share * model[name] for share, model in zip(method.shares, models, strict=True))
            torch.testing.assert_close(weight, hand, rtol=1e-5, atol=1e-6)
        peers = [tuned]


# O-LoRA


def pairs(weights):
    """A and B of every adapted layer."""
    return [
        (one, weights[name.replace("lora_A", "lora_B")]) for name, one in weights.items() if "lora_A" in name
    ]


def overlap(weights, step):
    """Sum of the absolute inner products of the step's rows with all earlier ones; one row for each step."""
    return sum(float((a[: step - 1] @ a[step - 1]).abs().sum()) for a, _ in pairs(weights))


def test_each_step_trains_its_own_block_and_leaves_the_others_to_the_bit(make_learner):
    chosen = configured("o_lora", True, settings={"norm": 0.01})
    method, learner = started(chosen), make_learner("llama", adapter=True)
    for number in (1, 2, 3):
        before = pairs(learner.weights())
        fit(learner, method, number, chosen)
        own = number - 1
        others = [row for row in range(RANK) if row != own]
        for (old_a, old_b), (a, b) in zip(before, pairs(learner.weights()), strict=True):
            assert torch.equal(a[others], old_a[others]) and torch.equal(b[:, others], old_b[:, others])
            assert not torch.equal(a[own], old_a[own]) and not torch.equal(b[:, own], old_b[:, own])
            assert not b[:, number:].any(), "later blocks say nothing yet"


@pytest.mark.parametrize("norm", [0.0, 0.3])
def test_the_penalty_is_the_formula_and_only_the_present_block_learns_from_it(norm, make_learner):
    chosen = configured("o_lora", True, rank=7, settings={"orthogonality": 0.5, "norm": norm})
    plain, lora = make_learner("llama"), LoraConfig(r=7, target_modules="all-linear", task_type="CAUSAL_LM")
    learner = Learner(get_peft_model(plain.model, lora), plain.tokenizer, plain.encoder)
    scatter(learner.model, 4, 0.2)
    method = started(chosen)
    method.begin_step(Step(1, TASKS[:1], 1), learner)
    first = method.penalty(learner)
    assert (first is None) == (norm == 0)
    method.begin_step(Step(2, TASKS[1:2], 1), learner)
    found = method.penalty(learner)
    expected = 0.0
    for a, b in pairs(learner.weights()):
        for old in a[:2]:
            expected += 0.5 * sum(abs(float(old @ new)) for new in a[2:4])
        expected += norm * (float((a[2:4] ** 2).sum()) ** 0.5 + float((b[:, 2:4] ** 2).sum()) ** 0.5)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    found.backward()
    for name, weight in learner.parameters().items():
        if weight.grad is None:
            weight.grad = torch.ones_like(weight)
        rows = weight.grad if "lora_A" in name else weight.grad.T
        assert "lora_A" not in name or not rows[:2].any()
    method.shape_gradients(learner, Clock(0, 2, 0, 1, 1))
    for name, weight in learner.parameters().items():
        rows = weight.grad if "lora_A" in name else weight.grad.T
        assert not rows[:2].any() and not rows[4:].any() and rows[2:4].any()


def test_a_strong_penalty_makes_the_new_rows_orthogonal_to_the_old(make_learner):
    chosen = configured(
        "o_lora", True, settings={"orthogonality": 50.0}, train={"learning_rate": 1e-2, "clip": 1e9}
    )
    method, learner = started(chosen), make_learner("llama", adapter=True)
    fit(learner, method, 1, chosen, num_updates=2)
    before = overlap(learner.weights(), 2)
    log, _ = fit(learner, method, 2, chosen, num_updates=60)
    after = overlap(learner.weights(), 2)
    assert after < 0.03 * before
    assert log[0]["penalty"] == pytest.approx(50 * before, rel=1e-4)


def test_the_adapter_is_the_sum_of_a_lora_for_each_step(make_learner, mixed_examples):
    learner, plain = make_learner("llama", adapter=True), make_learner("llama")
    scatter(learner.model, 2, 0.2)
    weights = learner.weights()
    scale = learner.model.peft_config["default"].lora_alpha / RANK
    with torch.no_grad():
        for name, a in weights.items():
            if "lora_A" in name:
                b = weights[name.replace("lora_A", "lora_B")]
                layer = plain.model.get_submodule(
                    name.removeprefix("base_model.model.").removesuffix(".lora_A.default.weight")
                )
                for step in range(RANK):
                    layer.weight += scale * torch.outer(b[:, step], a[step])
        batches = [one.training_batches(mixed_examples, config.TrainSection()) for one in (learner, plain)]
        found, expected = (
            one.forward_logits(batch.rows) for one, (batch,) in zip((learner, plain), batches, strict=True)
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_o_lora_asks_for_the_number_of_steps(make_learner):
    method = create(configured("o_lora", True))
    with pytest.raises(ConfigError, match="arrange"):
        method.begin_step(Step(1, TASKS[:1], 1), make_learner("llama", adapter=True))


# MIGU


def update(learner, method, examples, budget=10_000, step=2):
    """The gradients of one update, after the method has shaped them; and as they were before."""
    method.begin_step(Step(step, TASKS[:1], 1), learner)
    learner.model.zero_grad()
    settings = config.TrainSection(tokens_per_micro_batch=budget, row_tokens=0)
    batches = learner.training_batches(examples, settings)
    for batch in batches:
        method.loss(learner, batch).sum.backward()
    before = {name: weight.grad.clone() for name, weight in learner.parameters().items()}
    method.shape_gradients(learner, Clock(0, step, 0, 1, 1))
    return {name: weight.grad.clone() for name, weight in learner.parameters().items()}, before, len(batches)


def brute_force_magnitudes(learner, examples):
    """Σ |output| of every linear layer with a trained weight, one example at a time and without padding.

    The output layer is left out.
    """
    total, handles = {}, []

    def add(name, _module, _arguments, output):
        size = output.detach().abs().double().reshape(-1, output.shape[-1])
        total[name] = total.get(name, 0) + size.sum(0).numpy()

    for name, module in learner.model.named_modules():
        weight = getattr(module, "weight", None)
        is_matrix = isinstance(weight, torch.Tensor) and weight.requires_grad and weight.dim() == 2
        if is_matrix and not isinstance(module, torch.nn.Embedding) and not name.endswith("lm_head"):
            handles.append(module.register_forward_hook(partial(add, name)))
    for example in examples:
        item = learner.encoder.encode(example)
        with torch.no_grad():
            learner.model(torch.tensor([[*item.prompt, *item.response]]))
    for handle in handles:
        handle.remove()
    return total


def units_first(learner, name, gradient):
    is_transposed = type(learner.model.get_submodule(name)).__name__ == "Conv1D" and gradient.dim() == 2
    return gradient.T if is_transposed else gradient


@pytest.mark.parametrize("threshold", [0.7, 0.25])
@pytest.mark.parametrize(
    ("architecture", "adapter"), [("llama", False), ("llama", True), ("gpt2", False)], ids=str
)
def test_only_the_units_of_largest_summed_magnitude_get_a_gradient(
    architecture, adapter, threshold, make_learner, mixed_examples
):
    learner = make_learner(architecture, adapter)
    scatter(learner.model, 1, 0.1)
    method = started(configured("migu", adapter, settings={"threshold": threshold}))
    found, before, _ = update(learner, method, mixed_examples)
    magnitudes = brute_force_magnitudes(learner, mixed_examples)
    masked = set()
    for name, values in magnitudes.items():
        count = sum(values >= np.quantile(values, threshold) * (1 - 1e-12))
        top = sorted(range(len(values)), key=lambda unit: -values[unit])[:count]
        assert abs(count - (1 - threshold) * len(values)) <= 1
        for part in ("weight", "bias"):
            if f"{name}.{part}" in found:
                masked.add(f"{name}.{part}")
                rows = units_first(learner, name, found[f"{name}.{part}"])
                old = units_first(learner, name, before[f"{name}.{part}"])
                rest = [unit for unit in range(len(values)) if unit not in top]
                assert torch.equal(rows[top], old[top]) and not rows[rest].any()
                assert old[rest].any()
    assert masked
    for name in found.keys() - masked - {"lm_head.weight"}:
        assert torch.equal(found[name], before[name]), "embeddings and norms learn as ever"


def test_an_output_layer_of_its_own_is_ranked_over_response_positions(make_learner, mixed_examples):
    learner = make_learner("llama")
    found, before, _ = update(learner, started(configured("migu")), mixed_examples)
    batch = learner.training_batches(mixed_examples, config.TrainSection(row_tokens=0))[0]
    magnitudes = learner.forward_logits(batch.rows).abs().sum(0)
    count = migu.num_kept(len(magnitudes), 0.7)
    top = magnitudes.topk(count).indices
    assert torch.equal(found["lm_head.weight"][top], before["lm_head.weight"][top])
    assert int(found["lm_head.weight"].any(1).sum()) <= count


def test_an_output_layer_shared_with_the_embedding_learns_as_ever(make_learner, mixed_examples):
    learner = make_learner("gpt2")
    assert "lm_head" not in migu.linear_layers(learner)
    found, before, _ = update(learner, started(configured("migu")), mixed_examples)
    name = "transformer.wte.weight"
    assert torch.equal(found[name], before[name])


def test_the_units_do_not_depend_on_micro_batches_or_padding(make_learner, mixed_examples):
    learner, method = make_learner("llama"), started(configured("migu"))
    together, _, one = update(learner, method, mixed_examples)
    apart, _, several = update(learner, method, mixed_examples, budget=16)
    assert one == 1 and several == len(mixed_examples)
    for name, gradient in together.items():
        torch.testing.assert_close(apart[name], gradient, rtol=1e-3, atol=1e-3)


def test_the_first_step_is_trained_whole_and_hooks_are_gone_after_every_pass(make_learner, mixed_examples):
    learner, method = make_learner("llama"), started(configured("migu"))
    found, before, _ = update(learner, method, mixed_examples, step=1)
    assert equal_weights(found, before)
    update(learner, method, mixed_examples, step=2)
    assert all(not module._forward_hooks for module in learner.model.modules())
    assert method.magnitudes == {}
    broken = learner.training_batches(mixed_examples, config.TrainSection(row_tokens=0))[0]
    bad = dataclasses.replace(broken, rows=dataclasses.replace(broken.rows, column=broken.rows.column + 9999))
    with pytest.raises(IndexError):
        method.loss(learner, bad)
    assert all(not module._forward_hooks for module in learner.model.modules())


@pytest.mark.parametrize("num_units", [1, 2, 3, 8, 10, 11, 31, 64])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_as_many_units_are_kept_as_lie_at_or_above_the_quantile(num_units, threshold):
    values = np.random.default_rng(num_units).permutation(num_units).astype(float)
    at_or_above = int((values >= np.quantile(values, threshold) - 1e-9).sum())
    assert migu.num_kept(num_units, threshold) == max(1, at_or_above)
