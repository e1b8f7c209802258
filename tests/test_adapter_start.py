"""A run may start from an adapter of PEFT's, which is trained on as it is, or from any run's step."""

import json
import shutil

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kpig.errors import ConfigError, ModelError, RunError
from kpig.model.folder import resolve
from kpig.runs import check, job, unseen
from kpig.runs.folder import RunDir
from kpig.tasks import stream
from test_job import small, weights

ONE = {"num_steps": 1, "tasks_per_step": 1, "num_held_out": 1, "num_train": 8, "num_test": 2}


@pytest.fixture
def adapter(model_folder, tmp_path):
    """A folder with a LoRA of rank 3 on two kinds of layers whose B is not 0 any more."""
    base = model_folder("llama", "base")
    shape = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(1)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), shape)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def started(path, method="sequential", **more):
    return small(method, model={"path": str(path), "adapter": "lora", **more}, suite=ONE)


def test_an_adapter_is_trained_on_with_its_own_rank_and_targets(adapter, tmp_path):
    job.run(started(adapter), tmp_path / "run")
    shape = json.loads((tmp_path / "run/steps/01/adapter/adapter_config.json").read_text())
    assert (shape["r"], shape["lora_alpha"]) == (3, 5)
    assert set(shape["target_modules"]) == {"q_proj", "v_proj"}
    before, after = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (adapter, tmp_path / "run/steps/01/adapter")
    )
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert all(float((before[name] - after[name]).abs().max()) < 0.01 for name in before), "it began there"


def test_the_starting_model_is_the_adapters_not_the_bare_base(adapter, tmp_path):
    """The twins are held to it, so they are where they are to be before the first update."""
    method = started(adapter, "kpig").method
    every = method.holding({**method.given, "twin_share": 1.0})
    job.run(started(adapter, "kpig").model_copy(update={"method": every}), tmp_path / "run")
    first, second, *_ = RunDir(tmp_path / "run").updates()
    assert first["divergence"] < 1e-6 < second["divergence"]


@pytest.mark.parametrize("tuned", ["none", "lora"])
def test_a_run_starts_from_any_step_of_another(tuned, tmp_path):
    chosen = small("sequential", model={"adapter": tuned}, suite=ONE | {"num_steps": 2})
    job.run(chosen, tmp_path / "first")
    step = tmp_path / "first/steps/01"
    again = small(
        "sequential", model={"path": str(step), "adapter": tuned}, suite=ONE, evaluate={"max_new_tokens": 32}
    )
    assert resolve(str(step)) == str(step / ("adapter" if tuned == "lora" else "model"))
    found = job.run(again, tmp_path / "second")
    assert len(found.steps) == 2 and weights(tmp_path / "second", 1) != weights(tmp_path / "first", 1)
    assert check.model_problem(again.model) == ""
    assert unseen.cautions(again, stream.configured(again)) == []


def test_a_run_from_an_adapter_goes_on_to_the_same_bits_and_knows_its_base(adapter, tmp_path, monkeypatch):
    chosen = started(adapter, "kpig")
    job.run(chosen, tmp_path / "straight")
    publish = job.checkpoint.publish

    def killed(state, step_dir):
        publish(state, step_dir)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job.checkpoint, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            job.run(chosen, tmp_path / "run")
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "run", moved)
    job.run(chosen, tmp_path / "run", resume=True)
    assert weights(tmp_path / "run", 1) == weights(tmp_path / "straight", 1)
    settings = tmp_path / "base/generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "top_k": 7}))
    with pytest.raises(RunError, match="another model"):
        job.run(chosen, moved, resume=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lora_rank", 5), ("lora_alpha", 7), ("lora_dropout", 0.5), ("lora_targets", ["q_proj"])],
)
def test_a_shape_that_an_adapter_does_not_have_is_refused_by_key(key, value, adapter, tmp_path):
    chosen = started(adapter, **{key: value})
    assert f"model.{key}" in check.model_problem(chosen.model)
    with pytest.raises(ModelError, match=rf"model\.{key}"):
        job.run(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_trained_on_is_refused_in_words(adapter, tmp_path):
    with pytest.raises(RunError, match=r'model\.adapter = "lora"'):
        job.run(small("sequential", model={"path": str(adapter)}), tmp_path / "run")
    assert 'model.adapter = "lora"' in check.model_problem(str(adapter))
    with pytest.raises(ConfigError, match=r"o_lora.*rows are taken"):
        job.run(started(adapter, "o_lora"), tmp_path / "run")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    kinds = IA3Config(target_modules=["k_proj"], feedforward_modules=[], task_type="CAUSAL_LM")
    get_peft_model(model, kinds).save_pretrained(tmp_path / "ia3")
    with pytest.raises(ModelError, match="kind IA3"):
        job.run(started(tmp_path / "ia3"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
