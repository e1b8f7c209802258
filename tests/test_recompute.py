"""Layers that are computed twice give the same losses and gradients, and keep less."""

from functools import partial

import pytest
import torch
from transformers import FalconConfig, GPT2Config, LlamaConfig

import architectures
from kpig import config
from kpig.errors import ConfigError, ModelError, RunError
from kpig.methods.chosen import create
from kpig.model import internals
from kpig.runs import job
from kpig.testing.models import scatter
from test_job import small, weights
from test_train import TASKS, configured, equal_weights, fit, gradient, prepared, step_of, unequal_examples


def kept_by(loss):
    """Bytes that a pass keeps for the way back."""
    seen = {}

    def pack(tensor):
        seen[tensor.untyped_storage().data_ptr()] = (tensor.untyped_storage().nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss()
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("name", ["sequential", "kpig", "migu"])
def test_loss_and_gradient_are_the_same_and_less_is_kept(
    name, architecture, adapter, precision, make_learner, mixed_examples
):
    found = {}
    for wanted in (False, True):
        learner = make_learner(architecture, adapter, keep_initial=True)
        scatter(learner.model, 1, 0.1)
        method = prepared(name, learner) if name == "kpig" else create(configured(name))
        method.begin_step(step_of(2, *TASKS), learner)
        learner.network.recompute(wanted)
        learner.model.train()
        settings = config.TrainSection(tokens_per_micro_batch=160, row_tokens=0)
        batches = learner.training_batches(unequal_examples(mixed_examples), settings, method.paired)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            kept = kept_by(partial(method.loss, learner, batches[0]))
            loss, gradients = gradient(learner, method, batches)
        method.shape_gradients(learner, None)
        found[wanted] = loss, gradients, kept
    (plain, expected, most), (again, changed, least) = found[False], found[True]
    assert again == pytest.approx(plain, rel=1e-6) and least < most
    for key, value in expected.items():
        torch.testing.assert_close(changed[key], value, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_step_ends_with_the_same_weights_dropout_included(dropout, adapter, make_learner):
    ends = []
    for wanted in (False, True):
        learner = make_learner("gpt2", adapter, dropout=dropout)
        settings = configured("sequential", train={"gradient_checkpointing": wanted})
        fit(learner, create(settings), step_of(1, *TASKS), settings)
        ends.append(learner.weights())
    equal_weights(*ends)


def test_a_learner_computes_once_again_where_the_next_step_asks_for_it(make_learner, mixed_examples):
    learner = make_learner("llama")
    batch = learner.training_batches(unequal_examples(mixed_examples), config.TrainSection())[0]
    method = create(configured())
    learner.model.train()
    kept = []
    for wanted in (False, True, False, False):
        learner.network.recompute(wanted)
        kept.append(kept_by(lambda: method.loss(learner, batch)))
    assert kept[0] == kept[2] == kept[3] > kept[1]


@pytest.mark.parametrize("model", [{}, {"adapter": "lora", "lora_rank": 4, "lora_dropout": 0.1}])
def test_a_run_keeps_its_numbers_and_may_go_on_with_it(model, tmp_path):
    usual, chosen = (
        small("kpig", model=model, train={"gradient_checkpointing": one}) for one in (False, True)
    )
    assert job.run(chosen, tmp_path / "twice").matrix == job.run(usual, tmp_path / "once").matrix
    assert weights(tmp_path / "twice", 1) == weights(tmp_path / "once", 1)
    assert config.load(tmp_path / "twice/config.toml").train.gradient_checkpointing is True


def test_an_architecture_that_cannot_is_refused_by_name():
    class Bare:
        supports_gradient_checkpointing = False

    with pytest.raises(ModelError, match=r"Bare cannot compute its layers twice.*tokens_per_micro_batch"):
        internals.recompute(Bare(), True)


@pytest.mark.parametrize("made", [LlamaConfig, GPT2Config, FalconConfig], ids=lambda one: one.model_type)
def test_offloading_is_what_transformers_is_asked_for(made, monkeypatch):
    model, asked = architectures.build(architectures.CAUSAL[made.model_type]()), []
    enable = type(model).activation_checkpointing_enable

    def heard(self, given, every_n_layers=1, offload=False):
        asked.append((given, offload))
        return enable(self, given, every_n_layers)

    monkeypatch.setattr(type(model), "activation_checkpointing_enable", heard)
    for wanted in (True, "offload"):
        internals.recompute(model, wanted)
    assert asked == [({"use_reentrant": False}, False), ({"use_reentrant": False}, True)]


def test_offloading_is_refused_without_a_gpu_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r'gradient_checkpointing = "offload".*set it to true'):
        small(train={"gradient_checkpointing": "offload", "device": "cpu"})
    monkeypatch.setattr("kpig.runs.machine.has_cuda", lambda: False)
    chosen = small(train={"gradient_checkpointing": "offload", "device": "auto"})
    with pytest.raises(RunError, match=r"there is none here; set it to true"):
        job.run(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()
