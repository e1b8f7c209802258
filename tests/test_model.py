"""The learner against the plain model, for every architecture; folders that load and folders that do not."""

import copy
import json

import pytest
import torch

from conftest import ARCHITECTURES
from kpig import config
from kpig.errors import ModelError
from kpig.model import loading
from kpig.model.batch import collate
from kpig.model.learner import Learner
from kpig.testing.models import scatter


def rows_of(learner, examples, side="right"):
    return collate([learner.encoder.encode(one) for one in examples], learner.pad_id, pad_side=side).rows


def full_logits(plain, rows):
    """The model's own logits over all positions, gathered afterwards."""
    with torch.no_grad():
        logits = plain(
            input_ids=rows.input_ids, attention_mask=rows.attention_mask, position_ids=rows.position_ids
        ).logits
    return logits[rows.row, rows.column]


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_response_logits_are_the_models_own_logits_at_the_response_positions(
    architecture, adapter, side, make_learner, mixed_examples
):
    learner = make_learner(architecture, adapter)
    scatter(learner.model, 1, 0.1)
    rows = rows_of(learner, mixed_examples, side)
    expected = full_logits(learner.model, rows)
    found = learner.forward_logits(rows)
    assert torch.equal(learner.response_logits(rows), found)
    assert found.shape == (len(rows.target), 4096)
    assert_same(found, expected)
    assert expected.std() > 0.5, "the models must be wide enough for this test to tell tokens apart"


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_given_weights_replace_the_learners_own_for_one_pass(
    architecture, adapter, make_learner, mixed_examples
):
    learner, other = make_learner(architecture, adapter), make_learner(architecture, adapter)
    scatter(other.model, 1, 0.1)
    rows = rows_of(learner, mixed_examples)
    before = learner.weights()
    own = learner.forward_logits(rows)
    found = learner.forward_logits(rows, other.weights())
    assert_same(found, full_logits(other.model, rows))
    assert torch.equal(learner.forward_logits(rows), own)
    assert (found - own).abs().max() > 0.1
    assert all(torch.equal(before[name], weight) for name, weight in learner.weights().items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_vocabulary_projection_sees_only_response_positions(architecture, make_learner, mixed_examples):
    learner = make_learner(architecture)
    rows, shapes = rows_of(learner, mixed_examples), []
    head = learner.model.get_output_embeddings()
    head.register_forward_hook(lambda _module, arguments, _output: shapes.append(arguments[0].shape))
    learner.response_logits(rows)
    learner.forward_logits(rows, learner.weights())
    assert shapes == [(1, len(rows.target), 32)] * 2
    learner.model(rows.input_ids)
    assert shapes[2] == (*rows.input_ids.shape, 32), "the gathering must end with the pass"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_through_gathered_logits_equal_those_through_all(
    architecture, make_learner, mixed_examples
):
    learner, plain = make_learner(architecture), make_learner(architecture).model
    rows = rows_of(learner, mixed_examples)
    learner.response_logits(rows).logsumexp(-1).sum().backward()
    logits = plain(rows.input_ids, attention_mask=rows.attention_mask, position_ids=rows.position_ids).logits
    logits[rows.row, rows.column].logsumexp(-1).sum().backward()
    expected = dict(plain.named_parameters())
    for name, weight in learner.parameters().items():
        torch.testing.assert_close(weight.grad, expected[name].grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_lora_the_reference_is_the_model_before_the_adapter(architecture, make_learner, mixed_examples):
    learner, plain = make_learner(architecture, adapter=True), make_learner(architecture)
    scatter(learner.model, 1, 0.3)
    rows = rows_of(learner, mixed_examples)
    found = learner.reference_logits(rows, None)
    assert_same(found, full_logits(plain.model, rows))
    assert (found - full_logits(learner.model, rows)).abs().max() > 0.1
    assert learner.parameters(), "the adapter must be trainable again"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_full_tuning_the_reference_is_the_model_before_training(
    architecture, make_learner, mixed_examples
):
    learner, plain = make_learner(architecture, keep_initial=True), make_learner(architecture)
    optimizer = torch.optim.SGD(learner.parameters().values(), lr=0.1)
    rows = rows_of(learner, mixed_examples)
    learner.response_logits(rows).logsumexp(-1).mean().backward()
    optimizer.step()
    found = learner.reference_logits(rows, None)
    assert_same(found, full_logits(plain.model, rows))
    assert not torch.allclose(found, full_logits(learner.model, rows), atol=1e-3)
    assert not found.requires_grad


def test_the_reference_has_no_dropout_and_leaves_the_mode_alone(make_learner, mixed_examples):
    learner = make_learner("gpt2", keep_initial=True, dropout=0.5)
    learner.model.train()
    rows = rows_of(learner, mixed_examples)
    assert torch.equal(learner.reference_logits(rows, None), learner.reference_logits(rows, None))
    assert not torch.equal(learner.response_logits(rows), learner.response_logits(rows))
    assert all(module.training for module in learner.model.modules())


def test_a_reference_that_was_not_kept_is_refused(make_learner, mixed_examples):
    learner = make_learner()
    with pytest.raises(ModelError, match="keep_initial=True"):
        learner.reference_logits(rows_of(learner, mixed_examples), None)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_the_ledger_counts_real_tokens_by_kind_of_pass(adapter, make_learner, mixed_examples):
    learner = make_learner("llama", adapter, keep_initial=True)
    encoded = [learner.encoder.encode(one) for one in mixed_examples]
    rows = rows_of(learner, mixed_examples)
    real = sum(len(one.prompt) + len(one.response) for one in encoded)
    learner.response_logits(rows)
    assert (learner.ledger.train_tokens, learner.ledger.forward_tokens) == (real, 0)
    learner.reference_logits(rows, None)
    learner.reference_logits(rows, learner.weights())
    assert (learner.ledger.train_tokens, learner.ledger.forward_tokens) == (real, 2 * real)
    learner.forward_logits(rows)
    assert (learner.ledger.train_tokens, learner.ledger.forward_tokens) == (real, 3 * real)


def test_the_pass_that_trains_is_refused_without_gradient_and_the_other_never_has_one(
    make_learner, mixed_examples
):
    learner = make_learner("gpt2", dropout=0.5)
    learner.model.train()
    rows = rows_of(learner, mixed_examples)
    with torch.no_grad(), pytest.raises(ModelError, match="forward_logits"):
        learner.response_logits(rows)
    assert learner.ledger.train_tokens == 0
    assert learner.response_logits(rows).requires_grad
    found = learner.forward_logits(rows)
    assert not found.requires_grad and torch.equal(found, learner.forward_logits(rows)), "no dropout either"
    assert all(module.training for module in learner.model.modules())


# Generation


def greedy(learner, prompt, max_new_tokens):
    """Greedy decoding without cache, padding or `generate`."""
    ids, end = list(prompt), learner.tokenizer.eos_token_id
    with torch.no_grad():
        for _ in range(max_new_tokens):
            ids.append(int(learner.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == end:
                break
    new = ids[len(prompt) :]
    finished = new[-1:] == [end]
    return learner.tokenizer.decode(new[:-1] if finished else new, skip_special_tokens=True).strip(), finished


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generation_is_the_argmax_token_by_token_whatever_the_padding(
    architecture, adapter, make_learner, mixed_examples
):
    learner = make_learner(architecture, adapter)
    scatter(learner.model, 1, 0.1)
    prompts = [learner.encoder.encode(one).prompt for one in mixed_examples]
    expected = [greedy(learner, prompt, 7) for prompt in prompts]
    assert learner.generate(prompts, 7) == expected
    assert [learner.generate([prompt], 7)[0] for prompt in prompts] == expected
    assert len({text for text, _ in expected}) > 1


def test_generation_stops_at_the_end_of_sequence_row_by_row(make_learner, mixed_examples):
    learner = make_learner()
    prompts = [learner.encoder.encode(one).prompt for one in mixed_examples]
    with torch.no_grad():
        end = int(learner.model(torch.tensor([prompts[1]])).logits[0, -1].argmax())
    learner.tokenizer = copy.deepcopy(learner.tokenizer)
    learner.tokenizer.eos_token = learner.tokenizer.convert_ids_to_tokens(end)
    found = learner.generate(prompts, 7)
    assert found == [greedy(learner, prompt, 7) for prompt in prompts]
    assert found[1] == ("", True)
    assert not all(finished for _, finished in found)


@pytest.mark.parametrize(
    "setting",
    [
        {"repetition_penalty": 3.0},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(2, 3000))},
        {"do_sample": True, "temperature": 0.6, "top_p": 0.8, "top_k": 20},
        {"num_beams": 3, "length_penalty": 2.0},
        {"max_length": 5},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_generation_settings_that_came_with_the_model_do_not_change_greedy_answers(
    setting, make_learner, mixed_examples
):
    learner = make_learner()
    prompts = [learner.encoder.encode(one).prompt for one in mixed_examples]
    expected = [greedy(learner, prompt, 15) for prompt in prompts]
    for name, value in setting.items():
        setattr(learner.model.generation_config, name, value)
    assert learner.generate(prompts, 15) == expected


def test_generation_is_without_dropout_and_leaves_the_mode_alone(make_learner, mixed_examples):
    learner = make_learner("gpt2", dropout=0.5)
    prompts = [learner.encoder.encode(one).prompt for one in mixed_examples]
    expected = learner.generate(prompts, 5)
    learner.model.train()
    assert learner.generate(prompts, 5) == expected
    assert all(module.training for module in learner.model.modules())


# Saving and loading


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_restored_weights_are_the_saved_ones_to_the_bit(
    architecture, adapter, make_learner, mixed_examples, tmp_path
):
    learner = make_learner(architecture, adapter)
    scatter(learner.model, 1, 0.1)
    rows, saved = rows_of(learner, mixed_examples), learner.weights()
    expected = learner.response_logits(rows)
    learner.save(tmp_path)
    scatter(learner.model, 2, 0.1)
    learner.restore(tmp_path)
    assert list(learner.parameters()) == list(saved)
    assert all(torch.equal(weight, saved[name]) for name, weight in learner.parameters().items())
    assert torch.equal(learner.response_logits(rows), expected)
    assert not list(tmp_path.glob("*.bin"))


def test_weights_of_another_shape_or_name_are_refused_before_any_is_changed(make_learner):
    learner = make_learner()
    before = learner.weights()
    name = next(iter(before))
    for wrong in (
        make_learner("gpt2").weights(),
        before | {name: torch.zeros(2, 3)},
        {key: value for key, value in before.items() if key != name},
    ):
        with pytest.raises(ModelError, match="do not fit"):
            learner.load_weights(wrong)
    assert all(torch.equal(weight, before[key]) for key, weight in learner.parameters().items())


def load(path, **more):
    settings = {key: more.pop(key) for key in list(more) if key in config.ModelSection.model_fields}
    return loading.load(config.ModelSection(path=str(path), **settings), **more)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_folder_loads_and_answers_the_same(architecture, model_folder, make_learner, mixed_examples):
    learner, expected = load(model_folder(architecture), max_length=999), make_learner(architecture)
    rows = rows_of(expected, mixed_examples)
    assert torch.equal(learner.forward_logits(rows), expected.forward_logits(rows))
    assert isinstance(learner, Learner)
    assert learner.encoder.max_length == 256, "never longer than the model's positions"
    assert learner.initial is None


def test_the_shipped_model_loads_by_its_name_and_keeps_its_start_when_asked():
    learner = load("tiny", keep_initial=True)
    assert learner.encoder.max_length == 1024
    assert set(learner.initial) == set(learner.parameters())


def test_a_fresh_adapter_depends_on_its_seed_alone(model_folder):
    folder = model_folder()
    torch.manual_seed(1)
    one = load(folder, adapter="lora", lora_rank=3, seed=5).weights()
    state = torch.random.get_rng_state()
    same = load(folder, adapter="lora", lora_rank=3, seed=5).weights()
    other = load(folder, adapter="lora", lora_rank=3, seed=6).weights()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert all("lora" in name for name in one)


def test_an_adapter_folder_loads_on_the_base_that_it_names(model_folder, mixed_examples, tmp_path):
    learner = load(model_folder(), adapter="lora", lora_rank=3)
    scatter(learner.model, 1, 0.1)
    learner.save(tmp_path / "adapter")
    rows = rows_of(learner, mixed_examples)
    found = load(tmp_path / "adapter")
    assert torch.equal(found.forward_logits(rows), learner.forward_logits(rows))
    trained = load(tmp_path / "adapter", adapter="lora")
    assert torch.equal(trained.forward_logits(rows), learner.forward_logits(rows)) and trained.parameters()


def refuse(path, *words, **more):
    with pytest.raises(ModelError) as caught:
        load(path, **more)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    refuse(tmp_path / "nothing", "nothing", "does not exist", "model.path")


def test_a_folder_without_config_is_refused(tmp_path):
    refuse(tmp_path, "no config.json", "save_pretrained")


def test_a_folder_without_weights_is_refused(model_folder):
    folder = model_folder()
    (folder / "model.safetensors").unlink()
    refuse(folder, "no weights", "*.safetensors")


def test_pickle_weights_are_refused(model_folder):
    folder = model_folder()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refuse(folder, "pickle weights only", "safetensors")


def test_a_damaged_config_is_refused(model_folder):
    folder = model_folder()
    (folder / "config.json").write_text("{", encoding="utf-8")
    refuse(folder, str(folder), "cannot be loaded")


def test_damaged_weights_are_refused(model_folder):
    folder = model_folder()
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    refuse(folder, str(folder), "cannot be loaded")


@pytest.mark.parametrize("num_rows", [4000, 9000])
def test_a_tokenizer_of_another_vocabulary_is_refused(num_rows, make_learner, tokenizer, tmp_path):
    other = make_learner().model
    other.resize_token_embeddings(num_rows)
    other.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    refuse(tmp_path, "4096 tokens", f"{num_rows} rows", "belong together")


def test_an_embedding_padded_by_a_few_rows_is_accepted(make_learner, tokenizer, tmp_path):
    other = make_learner().model
    other.resize_token_embeddings(4160)
    other.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load(tmp_path).model.config.vocab_size == 4160


def test_a_tokenizer_without_an_end_of_sequence_is_refused(model_folder):
    folder = model_folder()
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    refuse(folder, "no end-of-sequence token", "eos_token")


def test_adapted_layers_that_do_not_exist_are_refused(model_folder):
    refuse(model_folder(), "LoRA", "lora_targets", adapter="lora", lora_targets=("no_such_layer",))
