"""Laws of shared rows: the same loss and gradient as a row for each example, and only where that is shown."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GemmaConfig

from architectures import CAUSAL, MASKLESS, WINDOW, WINDOWED, build
from conftest import architecture_config
from kpig import config
from kpig.methods.base import Step
from kpig.methods.chosen import create
from kpig.model import internals, portions, sharing
from kpig.model.batch import Layout, sharing_pays
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.model.portions import token_batches
from kpig.records import Gain
from kpig.tasks import suite
from kpig.testing import models
from kpig.training import loop

TASKS = tuple(
    suite.task(pair, 9, 2, seed=0) for pair in (("reverse", "upper"), ("count", "period"), ("sort", "upper"))
)
MODELS = ("llama", "qwen3", "gpt2", "gemma")
TOLERANCE = 1e-5


def learner_of(name, adapter=False, spread=0.05):
    """A learner around a small random model; Gemma's attention has no window."""
    if name == "gemma":
        size = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4}
        shape = GemmaConfig(
            **models.ENDS, **size, num_key_value_heads=2, head_dim=8, max_position_embeddings=256
        )
    else:
        shape = architecture_config(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = models.AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
    model = models.scatter(drawn.eval(), 0, spread)
    learner = models.as_learner(model, models.tokenizer(), adapter, keep_initial=True)
    models.scatter(learner.model, 1, spread)  # away from where it started
    return learner


def prepared(name, **train):
    """A method in the middle of a step whose gains are known."""
    method = create(config.build({"method": {"name": name}, "train": train}))
    method.gains = {
        task.name: Gain(gain, gain, 0.5, 0.5 - gain)
        for task, gain in zip(TASKS, (0.25, -0.5, 0.7), strict=True)
    }
    return method


def update(learner, method, examples):
    """Loss per token, and the gradient of an update as one vector."""
    batches = learner.training_batches(examples, method.config.train, method.paired)
    num_tokens = sum(batch.num_tokens for batch in batches)
    learner.model.zero_grad()
    total = 0.0
    for batch in batches:
        loss = method.loss(learner, batch).sum / num_tokens
        loss.backward()
        total += float(loss.detach())
    found = [
        torch.zeros_like(weight).flatten() if weight.grad is None else weight.grad.flatten()
        for weight in learner.parameters().values()
    ]
    return total, torch.cat(found), batches


def shares(batches):
    """Whether the batches have masks that tell tokens of one row apart."""
    return {batch.rows.attention_mask.dim() == 4 for batch in batches}


def agree(one, other):
    """Whether two updates are the same to 1e-5."""
    assert one[0] == pytest.approx(other[0], rel=TOLERANCE)
    assert (one[1] - other[1]).norm() <= TOLERANCE * other[1].norm()


@pytest.mark.parametrize("method", ["sequential", "kpig", "lwf"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradient_are_those_of_a_row_for_each_example(name, adapter, method):
    learner = learner_of(name, adapter)
    examples = [one for task in TASKS for one in task.train[:3]]
    plain = update(learner, prepared(method, row_tokens=0), examples)
    shared = update(learner, prepared(method), examples)
    assert shares(plain[2]) == {False} and shares(shared[2]) == {True}
    agree(shared, plain)
    assert float(plain[1].norm()) > 0


@settings(max_examples=15, deadline=None)
@given(
    picks=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=1, max_size=9),
    row_tokens=st.sampled_from(["auto", 24, 60, 200]),
    budget=st.sampled_from([1, 90, 300, 5000]),
    name=st.sampled_from(["llama", "gpt2"]),
)
def test_any_choice_order_and_split_of_the_examples_gives_the_same_update(picks, row_tokens, budget, name):
    learner = CACHED[name]
    examples = [TASKS[task].train[number] for task, number in picks]
    plain = update(learner, prepared("kpig", row_tokens=0), examples)
    shared = update(learner, prepared("kpig", row_tokens=row_tokens, tokens_per_micro_batch=budget), examples)
    agree(shared, plain)


CACHED = {name: learner_of(name) for name in ("llama", "gpt2")}


@pytest.mark.parametrize("method", ["sequential", "kpig"])
def test_tokens_shown_do_not_depend_on_the_layout_and_tokens_computed_are_fewer(method):
    found = []
    for row_tokens in (0, "auto"):
        learner = learner_of("llama")
        update(
            learner, prepared(method, row_tokens=row_tokens), [one for task in TASKS for one in task.train]
        )
        found.append(learner.ledger)
    plain, shared = found
    assert (plain.train_tokens, plain.forward_tokens) == (shared.train_tokens, shared.forward_tokens)
    assert shared.computed_tokens < plain.train_tokens + plain.forward_tokens <= plain.computed_tokens


def test_evaluation_pays_no_tokens_computed_either():
    learner = learner_of("llama")
    with learner.ledger.unspent():
        learner.per_example(TASKS[0].train, lambda batch, logits: batch.examples)
    assert learner.ledger.computed_tokens == 0


def test_a_ledger_that_did_not_count_what_was_computed_says_so():
    ledger = learner_of("llama").ledger
    ledger.restore({"updates": 3, "train_tokens": 100})
    ledger.add_computed(7)
    assert ledger.computed_tokens is None
    ledger.restore({"updates": 3, "computed_tokens": 5})
    ledger.add_computed(7)
    assert ledger.computed_tokens == 12


# Where rows are shared


def layouts_of(learner, examples, **train):
    return shares(learner.training_batches(examples, config.TrainSection(**train), True))


@pytest.mark.parametrize("name", [*WINDOWED, *MASKLESS])
def test_models_with_a_window_or_without_such_a_mask_keep_rows_of_their_own(name):
    learner = Learner(build(CAUSAL[name](), 0.3), models.tokenizer(), Encoder(models.tokenizer(), 200))
    examples = TASKS[0].train
    assert max(learner.encoder.encode(one).num_tokens for one in examples) > WINDOW
    assert layouts_of(learner, examples) == {False}
    (batch, *_) = learner.batches(examples, Layout(twins=True, row_tokens="auto"))
    assert batch.both is not None and batch.both.attention_mask.dim() == 2
    assert learner.ledger.forward_tokens == 0


@pytest.mark.parametrize("name", ["gemma2", "mistral", "qwen2"])
def test_a_window_longer_than_every_example_is_no_doubt(name):
    shape = CAUSAL[name]()
    shape.sliding_window = 4096
    learner = Learner(build(shape, 0.3), models.tokenizer(), Encoder(models.tokenizer(), 200))
    assert layouts_of(learner, TASKS[0].train) == {True}


def test_a_doubt_holds_for_longer_examples_and_what_was_shown_for_shorter_ones_without_a_pass():
    learner = learner_of("llama")
    passes = []
    forward = learner.forward_logits
    learner.forward_logits = lambda rows, weights=None: passes.append(rows) or forward(rows, weights)
    assert [learner.sharing_doubt(length) for length in (40, 12, 40, 3)] == [""] * 4
    assert len(passes) == 2
    assert learner.sharing_doubt(41) == "" and len(passes) == 4
    assert passes[0].input_ids.shape[1] > 400, "as long as shared rows may be, so that a local window shows"


def test_a_local_attention_that_no_setting_names_is_seen_in_the_row(monkeypatch):
    """Branches that lie far apart in a row see less than alone: what GPT-Neo's local layers do."""
    learner = learner_of("llama")
    logits = learner.forward_logits

    def local(rows, weights=None):
        if rows.attention_mask.dim() == 4:
            places = torch.arange(rows.input_ids.shape[1])
            near = (places.unsqueeze(1) - places) < 64
            rows = dataclasses.replace(rows, attention_mask=rows.attention_mask & near)
        return logits(rows, weights)

    monkeypatch.setattr(learner, "forward_logits", local)
    assert "log-probabilities change" in learner.sharing_doubt(40)
    assert layouts_of(learner, TASKS[0].train) == {False}


def test_positions_that_a_model_does_not_take_are_seen(monkeypatch):
    learner = learner_of("llama")
    monkeypatch.setattr(learner.network, "takes_positions", False)
    assert "log-probabilities change" in learner.sharing_doubt(40)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_proof_holds_whatever_arithmetic_it_is_asked_for_in(dtype):
    learner = learner_of("llama")
    learner.model.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert learner.sharing_doubt(40) == ""


@pytest.mark.parametrize(
    ("noise", "leak", "told"),
    [(0.07, 0.0, ""), (0.4, 0.0, "log-probabilities change"), (0.07, 0.5, "log-probabilities change")],
)
def test_with_coarse_weights_rounding_is_told_from_what_leaks(noise, leak, told):
    """Rounding hangs on the shape of the rows; what leaks hangs on what stands in them."""
    learner = learner_of("llama")
    learner.model.to(torch.bfloat16)
    exact = learner._probed

    def rounded(rows):
        rng = torch.Generator().manual_seed(rows.input_ids.numel())
        logits = exact(rows)
        is_shared = len(rows.input_ids) == 1
        seen = leak * float(rows.input_ids.double().std() % 1) if is_shared else 0.0
        logits = logits + noise * torch.randn(logits.shape, generator=rng)
        return logits + seen * torch.arange(logits.shape[-1]).remainder(2)

    ids = sharing.plain_ids(learner.model, learner.tokenizer, learner.pad_id)
    found = sharing.Sharing(learner.model, rounded).doubt(60, ids, learner.pad_id)
    assert (told in found) if told else not found


def test_dropout_is_drawn_for_every_example_of_its_own():
    """Rows that are shared would share what is dropped: other numbers than the plain way can give."""
    for learner in (models.learner(dropout=0.1), models.learner(adapter=True, dropout=0.1)):
        assert sharing.has_dropout(learner.model)
        assert layouts_of(learner, TASKS[0].train) == {True}, "nothing is dropped while evaluating"
        learner.model.train()
        assert layouts_of(learner, TASKS[0].train) == {False}
        assert layouts_of(learner, TASKS[0].train, row_tokens=200) == {True}
    for name in MODELS:
        assert not sharing.has_dropout(learner_of(name, adapter=True).model)
    attention = build(dataclasses.replace(CAUSAL["llama"](), attention_dropout=0.2))
    assert sharing.has_dropout(attention)


def test_examples_without_anything_in_common_and_of_one_length_keep_rows_of_their_own():
    learner = learner_of("llama")
    encoded = [
        dataclasses.replace(learner.encoder.encode(TASKS[0].train[0]), prompt=(first, *[9] * 30))
        for first in range(20, 28)
    ]
    assert not sharing_pays(encoded, Layout(max_tokens=1000, row_tokens="auto"))
    assert sharing_pays([encoded[0]] * 8, Layout(max_tokens=1000, row_tokens="auto"))


def test_a_method_that_looks_at_every_token_gets_rows_of_their_own_from_the_loop():
    seen = []

    class Looking(type(create(config.build({"method": {"name": "sequential"}})))):
        shares_rows = False

        def loss(self, learner, batch):
            seen.append(batch)
            return super().loss(learner, batch)

    for shares_rows in (False, True):
        Looking.shares_rows = shares_rows
        settings = config.build({"train": {"device": "cpu", "batch_size": 27}})
        seen.clear()
        loop.fit_step(
            learner_of("llama"),
            Looking(settings),
            Step(1, TASKS, 1),
            settings,
            lambda _: None,
            lambda _: None,
        )
        assert shares(seen) == {shares_rows}


# Padding


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    budget=st.integers(1, 4000),
    pass_tokens=st.integers(0, 200),
)
def test_padded_groups_hold_mostly_real_tokens_and_every_row_once(lengths, budget, pass_tokens):
    groups = token_batches(lengths, budget, 0.85, pass_tokens)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        padded, real = len(group) * max(lengths[index] for index in group), sum(lengths[i] for i in group)
        assert len(group) == 1 or padded <= budget
        assert real >= 0.85 * padded or padded - real <= pass_tokens


def test_a_further_pass_costs_more_on_a_gpu():
    cpu, gpu = (portions.costs(torch.device(name), 64).further_pass for name in ("cpu", "cuda"))
    assert 0 < cpu < gpu


def test_evaluation_of_the_model_inside_a_wrapper_outlasts_that_of_the_wrapper():
    """PEFT's wrapper trains while its model is asked; the proof for shared rows evaluates both."""
    inner = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(2, 2))
    wrapper = torch.nn.Sequential(inner).train()
    inner[1].eval()
    before = [one.training for one in wrapper.modules()]
    with internals.evaluating(inner):
        with internals.evaluating(wrapper):
            assert not any(one.training for one in wrapper.modules())
        assert not any(one.training for one in inner.modules()) and wrapper.training
    assert [one.training for one in wrapper.modules()] == before
