"""OSF against PEFT's own, and the law it is named after: what a step preserves, it leaves alone."""

import copy

import pytest
import torch
from peft import OSFConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from kpig import config
from kpig.errors import ConfigError
from kpig.methods import osf
from kpig.methods.base import Step
from kpig.methods.chosen import create
from kpig.methods.parts import subspace
from kpig.model.objective import cross_entropy_sum
from kpig.tasks import suite
from kpig.training import loop

TASKS = tuple(
    suite.task(pair, 8, 1, seed=0) for pair in (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
)
KEYS = ("U_low", "S_low", "V_low")
TRAIN = {"batch_size": 2, "updates_per_step": 5, "learning_rate": 3e-3, "device": "cpu"}


def configured(adapter="none", **settings):
    return config.build(
        {"model": {"adapter": adapter}, "train": TRAIN, "method": {"name": "osf", "osf": settings}}
    )


def fitted(learner, settings, number=1):
    """The weights before and after a step."""
    before = learner.weights()
    chosen = configured(**settings)
    step = Step(number, (TASKS[number - 1],), TRAIN["updates_per_step"])
    loop.fit_step(learner, create(chosen), step, chosen, lambda _: None, lambda _: None)
    return before, learner.weights()


def matrices(learner):
    """The names of the weights that OSF may train: of linear layers, the output layer left out."""
    head = learner.model.get_output_embeddings()
    modules = learner.model.named_modules()
    linear = [name for name, one in modules if isinstance(one, nn.Linear | Conv1D) and one is not head]
    return {f"{name}.weight" for name in linear}


def leaks(before, after, share):
    """What of a change of a matrix lies in preserved directions, on either side, as shares of its norm."""
    rank = subspace.num_preserved(before.shape, share)
    left, _, right = torch.linalg.svd(before, full_matrices=False)
    change = (after - before).double()
    parts = (left[:, :rank].T.double() @ change, change @ right[:rank].T.double())
    return [float(one.norm() / change.norm()) for one in parts]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_step_changes_nothing_in_preserved_directions(architecture, share, make_learner):
    learner = make_learner(architecture)
    before, after = fitted(learner, {"preserved": share})
    for name in matrices(learner):
        assert max(leaks(before[name], after[name], share)) < 1e-3, name
        assert not torch.equal(before[name], after[name])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_adamw_leads_into_preserved_directions_where_it_is_left_to(architecture, make_learner):
    learner = make_learner(architecture)
    before, after = fitted(learner, {"preserved": 0.5, "exact": False})
    assert max(max(leaks(before[name], after[name], 0.5)) for name in matrices(learner)) > 0.05


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_all_else_stays_to_the_bit_and_is_trainable_again(architecture, make_learner):
    learner = make_learner(architecture)
    trainable = set(learner.parameters())
    before, after = fitted(learner, {})
    assert set(after) == trainable
    for name in trainable - matrices(learner):
        assert torch.equal(before[name], after[name]), name


def test_only_the_layers_that_are_named_learn(make_learner):
    learner = make_learner("llama")
    before, after = fitted(learner, {"targets": ["q_proj", "down_proj"]})
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "q_proj" in name or "down_proj" in name}


def test_it_learns_what_pefts_own_layers_learn_in_a_plain_loop(make_learner):
    """Five updates by hand: get_peft_model, AdamW, clipping, merge. With `exact = false` ours is the same."""
    learner = make_learner("llama")
    theirs = get_peft_model(
        copy.deepcopy(learner.model), OSFConfig(effective_rank=0.3, target_modules="all-linear")
    )
    chosen = configured(preserved=0.3, exact=False)
    step = Step(1, (TASKS[0],), TRAIN["updates_per_step"])
    trained = [one for one in theirs.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, betas=(0.9, chosen.train.beta2), weight_decay=0.0)
    for update in range(step.num_updates):
        examples = loop.current_examples(step, loop.clock_at(chosen, step, update))
        (batch,) = learner.batches(examples)
        logits = theirs(
            input_ids=batch.rows.input_ids,
            attention_mask=batch.rows.attention_mask,
            position_ids=batch.rows.position_ids,
        ).logits[batch.rows.row, batch.rows.column]
        (cross_entropy_sum(logits, batch.rows.target) / batch.num_tokens).backward()
        nn.utils.clip_grad_norm_(trained, chosen.train.clip)
        optimizer.param_groups[0]["lr"] = loop.learning_rate(chosen.train, update, step.num_updates)
        optimizer.step()
        optimizer.zero_grad()
    merged = dict(theirs.merge_and_unload().named_parameters())
    _, after = fitted(learner, {"preserved": 0.3, "exact": False})
    for name, weight in after.items():
        torch.testing.assert_close(weight, merged[name].detach(), rtol=0, atol=2e-5)


def test_the_layer_on_conv1d_is_pefts_on_the_transposed_weight():
    torch.manual_seed(3)
    plain, turned = nn.Linear(5, 7), Conv1D(7, 5)
    turned.weight.data, turned.bias.data = plain.weight.data.T.clone(), plain.bias.data.clone()
    sides = [nn.Sequential(one) for one in (plain, turned)]
    for side in sides:
        tuner = subspace.put_on(side, 0.4, ["0"])
        factors = next(subspace._layers(tuner)).osf_svd_params["default"]
        generator = torch.Generator().manual_seed(5)
        factors["S_low"].data += torch.rand(factors["S_low"].shape, generator=generator)
    x = torch.randn(4, 3, 5)
    outputs = [side(x) for side in sides]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.square().sum().backward()
    (u, s, v), (u_turned, s_turned, v_turned) = (
        [dict(side.named_parameters())[f"0.osf_svd_params.default.{key}"].grad for key in KEYS]
        for side in sides
    )
    torch.testing.assert_close(s, s_turned)
    torch.testing.assert_close(u.abs(), v_turned.T.abs())  # a singular vector has either sign
    torch.testing.assert_close(v.abs(), u_turned.T.abs())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_learned_step_loads_with_plain_from_pretrained(architecture, make_learner, tmp_path, make_example):
    learner = make_learner(architecture)
    fitted(learner, {})
    learner.save(tmp_path / "step")
    assert not (tmp_path / "step" / "adapter_config.json").exists()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "step")
    ids = torch.tensor([learner.encoder.encode(make_example()).prompt])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, learner.model(ids).logits)


def test_a_later_step_preserves_more_where_it_shall_grow(make_learner):
    learner = make_learner("llama")
    settings = {"preserved": 0.25, "growth": 0.25}
    for number, share in ((1, 0.25), (2, 0.5), (3, 0.75)):
        before, after = fitted(learner, settings, number)
        name = next(iter(sorted(matrices(learner))))
        assert max(leaks(before[name], after[name], share)) < 1e-3
        assert max(leaks(before[name], after[name], min(0.97, share + 0.2))) > 0.05


@pytest.mark.parametrize(
    ("shape", "share", "expected"),
    [((5, 7), 0.5, 2), ((7, 5), 0.01, 1), ((6, 3), 1.75, 2), ((2, 9), 0.99, 1), ((40, 40), 0.9, 36)],
)
def test_one_direction_at_least_is_preserved_and_one_is_left(shape, share, expected):
    assert subspace.num_preserved(shape, share) == expected


@pytest.mark.parametrize("targets", [["nothing_is_called_so"], ["embed_tokens"]])
def test_targets_that_are_no_linear_layer_are_refused(targets, make_learner):
    with pytest.raises(ConfigError, match=r"method\.osf\.targets"):
        fitted(make_learner("llama"), {"targets": targets})


def test_an_adapter_and_an_old_peft_are_refused_before_a_model_loads(monkeypatch):
    with pytest.raises(ConfigError, match=r"model\.adapter"):
        create(configured(adapter="lora"))
    monkeypatch.setattr(osf, "version", lambda package: "0.20.3")
    with pytest.raises(ConfigError, match=r"peft 0\.21 or later, and 0\.20\.3"):
        create(configured())
