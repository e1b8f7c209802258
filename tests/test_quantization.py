"""A base in 4 bits: what it asks of a config and of a machine, and what transformers is told.

No GPU is at hand where these run: that a quantized base learns is not tested.
"""

import pytest
import torch
from transformers import BitsAndBytesConfig

from kpig import config
from kpig.config import ModelSection
from kpig.errors import ConfigError, ModelError, RunError
from kpig.model import loading, quantized
from kpig.runs import export, job
from kpig.runs.served import step_of
from test_cli import kpig
from test_job import SHORT, small

FOUR_BITS = {"quantization": "nf4", "adapter": "lora"}


@pytest.mark.parametrize(
    ("model", "train", "words"),
    [
        ({"quantization": "nf4"}, {}, r'adapter = "none" cannot learn.*set model\.adapter = "lora"'),
        (FOUR_BITS, {"device": "cpu"}, r"train\.device is 'cpu'.*model\.quantization = \"none\""),
        (FOUR_BITS, {"device": "mps"}, r"train\.device is 'mps'"),
        ({**FOUR_BITS, "quantization": "int8"}, {}, r"quantization"),
    ],
)
def test_what_cannot_be_is_refused_with_the_config(model, train, words):
    with pytest.raises(ConfigError, match=words):
        config.build({"model": model, "train": train})


def test_both_faults_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        config.build({"model": {"quantization": "nf4"}, "train": {"device": "cpu"}})
    assert "cannot learn" in str(caught.value) and "train.device is 'cpu'" in str(caught.value)


def test_without_a_gpu_a_run_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("kpig.runs.machine.has_cuda", lambda: False)
    chosen = small(model=FOUR_BITS, train={"device": "auto"})
    with pytest.raises(RunError, match=r"needs a GPU.*'cpu'.*export"):
        job.run(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    path = tmp_path / "my.toml"
    path.write_text(config.dump(chosen))
    found = kpig("check", path)
    assert found.returncode == 1 and "needs a GPU" in found.stderr


def test_without_the_library_the_extra_is_named(monkeypatch):
    section = ModelSection(**FOUR_BITS)
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    assert "pip install 'kpig[quantization]'" in quantized.problem(section, "cuda")
    monkeypatch.setattr(quantized, "find_spec", lambda name: object())
    assert quantized.problem(section, "cuda") == ""
    assert "'mps'" in quantized.problem(section, "mps")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_plain_weights_ask_for_nothing(device):
    plain = ModelSection()
    assert quantized.problem(plain, device) == "" and quantized.arguments(plain, device) == {}


def test_a_model_is_never_loaded_in_four_bits_where_it_cannot_be():
    with pytest.raises(ModelError, match="needs a GPU"):
        loading.load(ModelSection(**FOUR_BITS))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_is_told_of_nf4_and_the_dtype_to_compute_in(dtype, monkeypatch):
    monkeypatch.setattr(BitsAndBytesConfig, "post_init", lambda self: None)
    found = quantized.arguments(ModelSection(**FOUR_BITS, dtype=dtype), "cuda")
    settings = found["quantization_config"]
    assert found["device_map"] == {"": "cuda"} and isinstance(settings, BitsAndBytesConfig)
    assert settings.load_in_4bit and settings.bnb_4bit_quant_type == "nf4"
    assert settings.bnb_4bit_use_double_quant and settings.bnb_4bit_compute_dtype == getattr(torch, dtype)


@pytest.mark.parametrize("merge", [False, True])
def test_a_run_on_4_bits_is_exported_on_its_plain_base_with_a_note(merge, tmp_path):
    run = tmp_path / "run"
    job.run(small("sequential", model={"adapter": "lora"}, **SHORT), run)
    path = run / "config.toml"
    said = path.read_text()
    path.write_text(said.replace('quantization = "none"', 'quantization = "nf4"').replace('"cpu"', '"auto"'))
    plain = export.export(step_of(run), tmp_path / "out", merge)
    assert plain.is_adapter != merge and len([one for one in plain.notes if "base in 4 bits" in one]) == 1
    path.write_text(said)
    assert not any("4 bits" in one for one in export.export(step_of(run), tmp_path / "as", merge).notes)


def test_the_version_of_the_library_is_recorded_where_it_is_used():
    assert quantized.packages(ModelSection(**FOUR_BITS)) == ("bitsandbytes",)
    assert quantized.packages(ModelSection()) == ()
