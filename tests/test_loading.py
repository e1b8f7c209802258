"""Weights read whole or refused, adapters from elsewhere, lengths, vocabularies, and broken folders."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from peft import (
    IA3Config,
    LoHaConfig,
    LoraConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, MptConfig, XLNetConfig

from kpig import config
from kpig.errors import ConfigError, KpigError, ModelError
from kpig.model import kind, loading
from kpig.model.batch import collate
from kpig.model.learner import Learner
from kpig.records import Stream
from kpig.runs import check
from kpig.runs.check import model_problem
from kpig.testing.models import scatter
from kpig.training import loop


def load(path, **more):
    settings = {key: more.pop(key) for key in list(more) if key in config.ModelSection.model_fields}
    return loading.load(config.ModelSection(path=str(path), **settings), **more)


def refuse(path, *words, **more):
    with pytest.raises(ModelError) as caught:
        load(path, **more)
    for word in words:
        assert word in str(caught.value)


def change(file, **values):
    """Write other values into a JSON file; None takes a key away."""
    found = json.loads(file.read_text(encoding="utf-8")) | values
    file.write_text(
        json.dumps({key: value for key, value in found.items() if value is not None}), encoding="utf-8"
    )


# Weights made of nothing


def edit(folder, changed, name="model.safetensors"):
    save_file(changed(load_file(folder / name)), folder / name, metadata={"format": "pt"})


def without(part):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def with_prefix(prefix):
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def cut(part):
    def changed(tensors):
        return {name: t[..., :-1].contiguous() if part in name else t for name, t in tensors.items()}

    return changed


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (without("lm_head"), ["1 tensor is missing", "lm_head.weight", "drawn at random"]),
        (without("layers.1."), ["missing", "model.layers.1."]),
        (without("embed_tokens"), ["1 tensor is missing", "embed_tokens"]),
        (without("q_proj"), ["2 tensors are missing", "q_proj"]),
        (without("norm"), ["missing"]),
        (with_prefix("module."), ["missing", "in the files but not in the model", "module."]),
        (with_prefix("base_model.model."), ["missing", "base_model.model."]),
        (
            lambda tensors: tensors | {"score.weight": torch.zeros(2, 32)},
            ["score.weight", "not in the model"],
        ),
        (
            lambda tensors: tensors | {"model.layers.2.mlp.up_proj.weight": torch.zeros(56, 32)},
            ["model.layers.2", "1 tensor is in the files"],
        ),
        (cut("down_proj"), ["another shape", "32 x 55 instead of 32 x 56"]),
    ],
    ids=["head", "layer", "embedding", "matrix", "norms", "prefix", "peft prefix", "score", "more", "shape"],
)
def test_weights_that_do_not_fit_are_named_and_refused_at_loading_and_at_restoring(
    changed, words, model_folder
):
    learner = load(model_folder())
    before = learner.weights()
    folder = model_folder(name="broken", seed=1)
    edit(folder, changed)
    refuse(folder, str(folder), *words, "save_pretrained")
    with pytest.raises(ModelError) as caught:
        learner.restore(folder)
    assert all(word in str(caught.value) for word in words)
    assert all(torch.equal(before[name], weight) for name, weight in learner.weights().items())


def test_a_missing_shard_is_refused(make_learner, tokenizer, tmp_path):
    make_learner().model.save_pretrained(tmp_path, max_shard_size="200KB")
    tokenizer.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    load(tmp_path)
    shards[1].unlink()
    refuse(tmp_path, "cannot be loaded")


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_tied_weights_and_tables_of_earlier_versions_are_no_fault(architecture, model_folder):
    folder = model_folder(architecture)
    layer = "transformer.h.0.attn" if architecture == "gpt2" else "model.layers.0.self_attn.rotary_emb"
    tables = {
        "gpt2": {f"{layer}.bias": torch.ones(1, 1, 8, 8), f"{layer}.masked_bias": torch.tensor(-1e4)},
        "llama": {f"{layer}.inv_freq": torch.ones(4)},
    }
    edit(folder, lambda tensors: tensors | tables[architecture])
    assert ("lm_head.weight" in load_file(folder / "model.safetensors")) == (architecture == "llama")
    learner = load(folder)
    learner.restore(folder)


def test_no_report_of_transformers_stands_beside_the_refusal(model_folder, capsys, caplog):
    folder = model_folder()
    edit(folder, without("lm_head"))
    refuse(folder, "lm_head")
    told = capsys.readouterr()
    assert "LOAD REPORT" not in told.err + told.out + caplog.text


# Half precision


def test_full_tuning_in_float16_is_refused_by_check_and_loop_but_lora_and_evaluation_are_not(model_folder):
    table = {"model": {"dtype": "float16"}}
    with pytest.raises(ConfigError, match=r'model.dtype = "float32".*adapter = "lora"'):
        config.build(table)
    config.build({"model": {"dtype": "float16", "adapter": "lora"}})
    config.build({"model": {"dtype": "bfloat16"}})
    folder = model_folder()
    learner = load(folder, dtype="float16")
    with pytest.raises(ModelError, match="float16"):
        loop._optimizer(learner, config.TrainSection())
    loop._optimizer(load(folder, dtype="float16", adapter="lora"), config.TrainSection())


def test_full_tuning_in_bfloat16_is_told_with_what_it_costs():
    def told(**model):
        return check.cautions(
            config.build({"model": model, "train": {"learning_rate": 3e-5}}), Stream((), ())
        )

    assert any("3e-05" in one and "rounding" in one for one in told(dtype="bfloat16"))
    assert not any("rounding" in one for one in told(dtype="bfloat16", adapter="lora"))
    assert told() == []


# Adapters from elsewhere


@pytest.fixture
def adapter_folder(model_folder, tmp_path):
    """adapter_folder(settings, base): an adapter with random weights as PEFT saves it, the base beside it."""

    def make(settings=None, base="base", name="adapter"):
        folder = model_folder(name="base")
        given = settings or LoraConfig(r=3, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), given)
        scatter(model, 1, 0.2)
        model.save_pretrained(tmp_path / name)
        change(tmp_path / name / "adapter_config.json", base_model_name_or_path=base)
        return tmp_path / name, model.eval()

    return make


def logits_of(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 9, 77, 300]])).logits


@pytest.mark.parametrize(
    "given_settings",
    [
        LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        LoHaConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"),
        IA3Config(
            target_modules=["v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
        ),
        LoraConfig(r=2, target_modules=["v_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM"),
        LoraConfig(r=2, target_modules=["embed_tokens", "v_proj"], task_type="CAUSAL_LM"),
    ],
    ids=["lora", "loha", "ia3", "whole head", "embedding"],
)
def test_adapters_that_change_the_model_are_evaluated_as_peft_does(given_settings, adapter_folder):
    folder, model = adapter_folder(given_settings)
    learner = load(folder)
    assert torch.equal(logits_of(learner.model), logits_of(model))
    assert torch.equal(logits_of(learner.model.get_base_model()), logits_of(model))


@pytest.mark.parametrize(
    "given_settings",
    [
        PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=8, task_type="CAUSAL_LM"),
    ],
    ids=["prompt", "prefix", "p-tuning"],
)
def test_adapters_of_virtual_tokens_are_refused(given_settings, adapter_folder):
    folder, _ = adapter_folder(given_settings)
    refuse(folder, given_settings.peft_type.value, "bare model", "LoRA")


@pytest.mark.parametrize("base", ["base", "./base", "../base", "deep/../base"])
def test_a_relative_base_is_sought_beside_the_adapter(base, adapter_folder, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    if base == "../base":
        monkeypatch.chdir("/")
    folder, model = adapter_folder(base=base)
    assert torch.equal(logits_of(load(folder).model), logits_of(model))
    monkeypatch.chdir(folder.parent)
    assert torch.equal(logits_of(load(folder.name).model), logits_of(model))


@pytest.mark.parametrize("base", [None, 3, "", []])
def test_an_adapter_that_names_no_base_is_refused(base, adapter_folder):
    folder, _ = adapter_folder(base=base)
    refuse(folder, "does not name the model", "base_model_name_or_path")
    raw = (folder / "adapter_config.json").read_text(encoding="utf-8")
    (folder / "adapter_config.json").write_text(
        json.dumps(json.loads(raw) | {"base_model_name_or_path": None}), encoding="utf-8"
    )
    refuse(folder, "does not name the model")


def test_an_adapter_whose_base_is_gone_or_an_adapter_is_refused(adapter_folder, tmp_path):
    folder, _ = adapter_folder(base=str(tmp_path / "gone"))
    refuse(folder, "belongs to", "gone", "does not exist", "adapter_config.json")
    change(folder / "adapter_config.json", base_model_name_or_path=str(folder))
    refuse(folder, "adapter too", "merge")


def test_an_adapter_in_a_pickle_alone_is_refused_in_our_words(adapter_folder):
    folder, _ = adapter_folder()
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    refuse(folder, "pickle weights only", "safetensors")
    (folder / "adapter_model.bin").unlink()
    refuse(folder, "no weights", "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (without("layers.1.self_attn.q_proj.lora_B"), ["missing", "q_proj.lora_B"]),
        (with_prefix("model."), ["missing", "not in the model"]),
        (lambda tensors: tensors | {"base_model.model.extra": torch.ones(2)}, ["extra", "not in the model"]),
        (cut("lora_A"), ["lora_A"]),
    ],
    ids=["missing", "prefix", "more", "shape"],
)
def test_an_adapter_in_part_is_refused_at_loading_and_at_restoring(changed, words, adapter_folder):
    folder, _ = adapter_folder()
    learner = load(folder.parent / "base", adapter="lora", lora_rank=3)
    learner.restore(folder)
    edit(folder, changed, "adapter_model.safetensors")
    refuse(folder, *words)
    with pytest.raises(ModelError):
        learner.restore(folder)


@pytest.mark.parametrize(
    ("targets", "whole"), [(["embed_tokens", "q_proj"], True), (["embed_tokens"], False), (["q_proj"], True)]
)
def test_an_adapter_of_a_resized_base_is_refused_in_words(targets, whole, model_folder, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(model_folder(name="base"))
    model.resize_token_embeddings(4101)
    lora = LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
    get_peft_model(model, lora).save_pretrained(tmp_path / "adapter", save_embedding_layers=whole)
    refuse(tmp_path / "adapter", "4101", "4096", "resized", "merge_and_unload")


def test_an_adapters_own_tokenizer_and_template_are_used(adapter_folder, tokenizer, tmp_path):
    folder, _ = adapter_folder()
    assert load(folder).tokenizer.chat_template == tokenizer.chat_template
    template = "{{ 'Q: ' + messages[0]['content'] + ' A:' }}"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    assert load(folder).tokenizer.chat_template == template
    (folder / "chat_template.jinja").unlink()
    own = AutoTokenizer.from_pretrained(tmp_path / "base")
    own.chat_template = template.upper().replace("MESSAGES", "messages").replace("CONTENT", "content")
    own.eos_token = own.convert_ids_to_tokens(17)
    own.save_pretrained(folder)
    found = load(folder).tokenizer
    assert (found.chat_template, found.eos_token_id) == (own.chat_template, 17)


def test_check_says_of_any_adapter_that_it_cannot_be_trained(adapter_folder):
    folder, _ = adapter_folder(base=None)
    assert "train from a whole model" in model_problem(str(folder))


# Lengths and vocabularies


@pytest.mark.parametrize(
    ("given_keys", "limit"),
    [
        ({"max_position_embeddings": 77}, 77),
        ({"n_positions": 78}, 78),
        ({"n_ctx": 79}, 79),
        ({"max_seq_len": 80}, 80),
        ({"seq_length": 81}, 81),
        ({"max_sequence_length": 82}, 82),
        ({"max_position_embeddings": -1, "n_positions": 83}, 83),
        ({"max_position_embeddings": None, "max_seq_len": 84}, 84),
        ({"max_position_embeddings": -1}, None),
        ({"max_position_embeddings": 0}, None),
        ({}, None),
    ],
)
def test_a_length_limit_is_read_from_whatever_key_names_it(given_keys, limit):
    assert kind.length_limit(SimpleNamespace(**given_keys)) == limit


def test_a_length_limit_is_that_of_the_architecture():
    assert kind.length_limit(MptConfig(max_seq_len=333)) == 333
    assert kind.length_limit(XLNetConfig()) is None


def grown(tokenizer, folder, count):
    """A copy of the tokenizer with tokens that the embedding knows nothing of."""
    tokenizer.save_pretrained(folder)
    own = AutoTokenizer.from_pretrained(folder)
    own.add_special_tokens({"additional_special_tokens": [f"<image_{number}>" for number in range(count)]})
    return own


@pytest.mark.parametrize("count", [1, 7])
def test_a_few_tokens_beyond_the_embedding_matter_only_where_a_text_holds_one(
    count, model_folder, tokenizer, tmp_path, make_example
):
    folder = model_folder()
    own = grown(tokenizer, tmp_path / "grown", count)
    own.chat_template = "{{ messages[0]['content'] }}\n"
    own.save_pretrained(folder)
    learner = load(folder)
    assert len(learner.tokenizer) == 4096 + count
    whole, last = make_example("Sort."), make_example("Sort.", f"ant <image_{count - 1}>")
    assert len(list(learner.batches([whole]))) == 1
    with pytest.raises(ModelError, match=rf"<image_{count - 1}>.*4096 rows.*take it out of the text"):
        learner.encoder.encode(last)
    with pytest.raises(ModelError, match="take it out of the text"):
        learner.encoder.text_ids("<image_0>")
    plain = load(folder, chat_template=False)
    assert plain.encoder.encode(last), "as plain text it is spelled out in tokens that the model knows"


def test_padding_beyond_the_embedding_is_not_used(model_folder, tokenizer, tmp_path, mixed_examples):
    folder = model_folder()
    own = grown(tokenizer, tmp_path / "grown", 2)
    own.pad_token = "<image_1>"
    own.save_pretrained(folder)
    learner = load(folder)
    assert learner.pad_id == learner.tokenizer.eos_token_id
    rows = collate([learner.encoder.encode(one) for one in mixed_examples], learner.pad_id).rows
    assert torch.isfinite(learner.forward_logits(rows)).all()


def test_an_end_of_sequence_beyond_the_embedding_and_many_tokens_are_refused(
    model_folder, tokenizer, tmp_path
):
    folder = model_folder()
    own = grown(tokenizer, tmp_path / "grown", 1)
    own.eos_token = "<image_0>"
    own.save_pretrained(folder)
    refuse(folder, "end of sequence", "<image_0>", "4096 rows", "resize")
    grown(tokenizer, tmp_path / "more", 90).save_pretrained(folder)
    refuse(folder, "4186 tokens", "belong together")


# Broken folders: a Learner or words, never a traceback

NAMES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "adapter_config.json",
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.sampled_from([2**31, -(2**63), 10**30, 0.5, float("nan"), float("inf"), -0.0]),
    st.text(max_size=5),
    st.sampled_from(["llama", "gpt2", "relu", "float16", "sdpa", "PROMPT_TUNING", "LORA", "../base"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory, tokenizer, make_learner):
    """A folder with an adapter and its base, both sound, and a place to break copies of them."""
    place = tmp_path_factory.mktemp("sound")
    make_learner().model.save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    adapter = make_learner(adapter=True)
    adapter.save(place / "adapter")
    change(place / "adapter" / "adapter_config.json", base_model_name_or_path="../base")
    return place


def broken(sound, name, key, value, inside=None):
    """A copy of the folder with one value of one JSON file replaced, or a value within that one."""
    copy = sound / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sound / ("adapter" if name == "adapter_config.json" else "base"), copy)
    found = json.loads((copy / name).read_text(encoding="utf-8"))
    keys = sorted(found)
    chosen = keys[key % len(keys)]
    part = found[chosen]
    if inside is not None and isinstance(part, dict) and part:
        part[sorted(part)[inside % len(part)]] = value
    elif inside is not None and isinstance(part, list) and part:
        part[inside % len(part)] = value
    else:
        found[chosen] = value
    (copy / name).write_text(json.dumps(found), encoding="utf-8")
    return copy


@given(
    name=st.sampled_from(NAMES), key=st.integers(0, 60), value=values, inside=st.none() | st.integers(0, 9)
)
@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_a_json_file_holds_there_is_a_learner_or_words(sound, name, key, value, inside):
    try:
        assert isinstance(load(broken(sound, name, key, value, inside)), Learner)
    except KpigError as error:
        assert len(str(error)) > 20


@given(name=st.sampled_from(NAMES), place=st.floats(0, 1), garbage=st.binary(max_size=9))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(name="tokenizer.json", place=0.0, garbage=b"")
@example(name="config.json", place=1.0, garbage=b"\x00")
def test_whatever_bytes_end_a_json_file_there_is_a_learner_or_words(sound, name, place, garbage):
    copy = broken(sound, name, 0, 0)
    source = sound / ("adapter" if name == "adapter_config.json" else "base") / name
    content = source.read_bytes()
    (copy / name).write_bytes(content[: int(place * len(content))] + garbage)
    try:
        assert isinstance(load(copy), Learner)
    except KpigError as error:
        assert len(str(error)) > 20


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "/" + "y" * 300, "~nobody-at-all/model"])
def test_paths_that_no_system_takes_are_refused(path):
    refuse(path, "model")
