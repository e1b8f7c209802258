"""Which architectures may learn, which are refused and why; shared rows beyond an attention window."""

import json

import pytest
import torch
import transformers as hf

from architectures import CAUSAL, ENDS, IGNORES_MASK, MASKLESS, SEES_LATER, SIZE, WINDOW, WINDOWED, build
from kpig import config
from kpig.errors import ModelError
from kpig.model import loading, probe
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.records import Task
from kpig.runs.check import model_problem
from kpig.training import loop


@pytest.fixture
def folder_of(tmp_path, tokenizer):
    """folder_of(model): it is saved with the shipped tokenizer."""

    def save(model):
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return save


def load(path, **settings):
    return loading.load(config.ModelSection(path=str(path), **settings))


def refuse(path, *words, **settings):
    with pytest.raises(ModelError) as caught:
        load(path, **settings)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("scale", [0.0, 0.3], ids=["as drawn", "scattered"])
@pytest.mark.parametrize("name", CAUSAL)
def test_causal_language_models_load_whole_and_nothing_is_counted(name, scale, folder_of):
    model = build(CAUSAL[name](), scale)
    folder = folder_of(model)
    torch.manual_seed(5)
    hf.AutoModelForCausalLM.from_pretrained(folder)
    state = torch.random.get_rng_state()
    torch.manual_seed(5)
    learner = load(folder)
    assert torch.equal(torch.random.get_rng_state(), state), "no more random numbers than transformers takes"
    assert learner.ledger.forward_tokens == learner.ledger.train_tokens == 0
    found = dict(learner.model.named_parameters())
    assert all(torch.equal(weight, found[key]) for key, weight in model.named_parameters())


@pytest.mark.parametrize("scale", [0.0, 0.3], ids=["as drawn", "scattered"])
@pytest.mark.parametrize("name", SEES_LATER)
def test_models_that_see_later_tokens_are_refused(name, scale, folder_of):
    refuse(folder_of(build(SEES_LATER[name](), scale)), "sees later tokens", "nats", "such as Llama")


@pytest.mark.parametrize("adapter", ["none", "lora"])
@pytest.mark.parametrize("name", IGNORES_MASK)
def test_models_whose_batched_rows_differ_from_single_ones_are_refused(name, adapter, folder_of):
    folder = folder_of(build(IGNORES_MASK[name]()))
    refuse(folder, "padded on the left", "attention mask", adapter=adapter)


def whole(model_class, **settings):
    return model_class(model_class.config_class(**ENDS, **settings))


T5 = {"d_model": 32, "d_ff": 32, "num_layers": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: whole(hf.T5ForConditionalGeneration, **T5), ["encoder-decoder", "T5ForConditional"]),
        (
            lambda: whole(
                hf.BartForConditionalGeneration,
                d_model=32,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=32,
                decoder_ffn_dim=32,
            ),
            ["encoder-decoder", "BartForConditionalGeneration"],
        ),
        (lambda: whole(hf.BertForMaskedLM, **SIZE), ["masked language model", "BertForMaskedLM"]),
        (lambda: whole(hf.GPT2ForSequenceClassification, n_embd=32, n_layer=1, n_head=2), ["another task"]),
    ],
    ids=["t5", "bart", "bert", "classifier"],
)
def test_check_tells_from_the_config_what_no_causal_model_is(model, words, folder_of):
    folder = folder_of(model())
    refuse(folder, *words, "causal language model")
    assert all(word in model_problem(str(folder)) for word in words)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"vision_config": {"hidden_size": 3}}, "images"),
        ({"audio_config": {}}, "images or sound"),
        ({"is_encoder_decoder": True}, "encoder-decoder"),
        ({"architectures": ["DistilBertForMaskedLM"]}, "masked"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"quant_method": "awq"}}, "awq"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": []}, "quantized"),
        ({"_attn_implementation": "flash_attention_2"}, "flash_attention_2"),
        ({"attn_implementation": "kernels-community/flash-attn"}, "Remove that key"),
        ({"num_hidden_layers": 10**9}, "layers"),
        ({"hidden_size": 64}, "another shape"),
        ({"hidden_size": 10**6}, "belong together"),
        ({"vocab_size": 10**9}, "belong together"),
        ({"num_hidden_layers": 1}, "in the files but not in the model"),
        ({"num_hidden_layers": 3}, "missing from the files"),
        ({"num_attention_heads": 0}, "cannot be loaded"),
        ({"model_type": "llamma"}, "llamma"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_config_that_cannot_be_meant_is_refused_in_words(given, word, model_folder):
    folder = model_folder()
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(settings | given), encoding="utf-8")
    refuse(folder, str(folder), word)


@pytest.mark.parametrize(
    "content", ["[]", "3", "null", "[" * 9000, '{"a":', "\ud800".encode("utf-8", "surrogatepass")]
)
def test_a_config_that_is_no_json_object_is_refused(content, model_folder):
    folder = model_folder()
    (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    refuse(folder, str(folder), "config.json", "copy it anew")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_give_no_numbers_are_refused(value, make_learner, folder_of):
    model = make_learner("llama", seed=3).model
    with torch.no_grad():
        model.get_output_embeddings().weight[7, 5] = value
    refuse(folder_of(model), "not numbers")


def test_a_model_without_an_output_layer_is_refused(make_learner, monkeypatch):
    learner = make_learner()
    monkeypatch.setattr(learner.model, "get_output_embeddings", lambda: None)
    with pytest.raises(ModelError, match="no output layer"):
        probe.require_causal(learner, "somewhere")


# Shared rows


@pytest.fixture
def examples(make_example):
    """Three short examples, then longer ones, the longest well beyond the window."""
    words = ["ant", "box", "river", "moon", "tree", "egg"]
    return [make_example("Sort.", " ".join(words[:number] * 3), "ant") for number in (1, 1, 1, 3, 5, 6)]


def learner_of(name, tokenizer, scale=0.3):
    return Learner(build(CAUSAL[name](), scale), tokenizer, Encoder(tokenizer, 200))


def gaps(learner, examples, row_tokens):
    """For each example the largest difference in log p between a row of its own and shared rows."""
    alone, shared = (
        learner.per_example(examples, log_probs, max_tokens=9999, row_tokens=tokens)
        for tokens in (0, row_tokens)
    )
    return [float((one - other).abs().max()) for one, other in zip(alone, shared, strict=True)]


def log_probs(batch, logits):
    """For each example its log-probabilities at the response tokens."""
    own = logits.rows.float().log_softmax(-1)
    return [own[batch.example == number] for number in range(len(batch.examples))]


def lengths(learner, examples):
    return [learner.encoder.encode(one).num_tokens for one in examples]


@pytest.mark.parametrize("scale", [0.0, 0.3], ids=["as drawn", "scattered"])
@pytest.mark.parametrize("name", WINDOWED)
def test_shared_rows_are_refused_where_any_example_is_longer_than_the_window(
    name, scale, tokenizer, examples
):
    learner = learner_of(name, tokenizer, scale)
    settings = config.TrainSection(row_tokens=128)
    assert max(lengths(learner, examples[:3])) <= WINDOW < max(lengths(learner, examples))
    loop.require_packable(learner, examples[:3], settings)
    with pytest.raises(ModelError, match=r"set train.row_tokens = 0"):
        loop.require_packable(learner, examples, settings)


@pytest.mark.parametrize("name", [name for name in CAUSAL if name not in (*WINDOWED, *MASKLESS)])
def test_what_may_share_rows_gives_every_example_its_own_logits(name, tokenizer, examples):
    learner = learner_of(name, tokenizer)
    loop.require_packable(learner, examples, config.TrainSection(row_tokens=128))
    assert max(gaps(learner, examples, 128)) <= 1e-3
    assert learner.ledger.forward_tokens > 0, "counted here, but not by the probe"


@pytest.mark.parametrize("name", MASKLESS)
def test_models_that_take_no_mask_between_examples_are_refused_shared_rows_in_words(
    name, tokenizer, examples
):
    learner = learner_of(name, tokenizer)
    with pytest.raises(ModelError, match=r"set train.row_tokens = 0"):
        loop.require_packable(learner, examples, config.TrainSection(row_tokens=128))
    assert learner.ledger.forward_tokens == 0


def test_what_a_step_reads_in_shared_rows_is_all_its_tasks_under_all_lengths(make_example, make_instruction):
    short, long = make_instruction("Sort."), make_instruction("Please be so kind as to sort the words now.")
    one = make_example("Sort.")
    tasks = [
        Task(f"t{number}", (short, long), (one,), (make_example("Sort."),), "rougeL") for number in (1, 2)
    ]
    found = loop._read_in_rows(tasks, config.TrainSection(row_tokens=64))
    assert [example.instruction for example in found] == [short, short, long, long]
    tested = loop._read_in_rows(tasks, config.TrainSection(row_tokens=64, held_out_loss_every=1))
    assert tested[:4] == found and len(tested) == 6
