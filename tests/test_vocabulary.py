"""The tokenizer that is read without transformers gives the ids that transformers gives, or is not used."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig.config import ModelSection
from kpig.errors import KpigError
from kpig.model import loading, vocabulary
from kpig.model.folder import resolve
from kpig.model.vocabulary import Plain, encoder_of
from kpig.records import Example, Instruction, KeySpan

TINY = ModelSection(path="tiny")
QUICK, WHOLE = encoder_of(TINY), loading.load_encoder(TINY)
PIECES = st.sampled_from(
    ["<|end|>", "<|pad|>", " ", "\n", "plum", "Zürich", "数字", "é", "\u200b", "\t\t", "7.50", "🍐"]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=9).map("".join)


def shipped(folder: Path, settings: dict | None = None, **shape: object) -> Path:
    """The shipped model's folder, with some settings of its tokenizer and its config.json changed."""
    folder.mkdir()
    for file in Path(resolve("tiny")).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for name, changes in (("tokenizer_config.json", settings or {}), ("config.json", shape)):
        found = json.loads((folder / name).read_text()) | changes
        kept = {key: value for key, value in found.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))
    return folder


def test_the_shipped_model_needs_no_transformers():
    assert isinstance(QUICK.tokenizer, Plain)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.booleans(), st.booleans())
def test_every_text_has_the_same_ids(text, add_special_tokens, split_special_tokens):
    ways = {"add_special_tokens": add_special_tokens, "split_special_tokens": split_special_tokens}
    assert QUICK.tokenizer.encode(text, **ways) == WHOLE.tokenizer.encode(text, **ways)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from([0, 7, 64]))
def test_every_example_is_encoded_the_same(given_input, response, num_reserved):
    instruction = Instruction("Name the fruit. One word.", (KeySpan(16, 24, "length"),))
    example = Example("1", "fruit", instruction, given_input * 9, (response,))
    assert QUICK.encode(example, num_reserved) == WHOLE.encode(example, num_reserved)


def test_all_else_that_an_encoder_asks_is_the_same():
    quick, whole = QUICK.tokenizer, WHOLE.tokenizer
    assert (QUICK.end_id, QUICK.max_length, len(quick)) == (WHOLE.end_id, WHOLE.max_length, len(whole))
    assert set(quick.all_special_ids) == set(whole.all_special_ids)
    assert [quick.convert_ids_to_tokens(n) for n in (0, 5, 4095)] == [
        whole.convert_ids_to_tokens(n) for n in (0, 5, 4095)
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": {"tokenizer_class": "LlamaTokenizer"}},
        {"settings": {"add_bos_token": True, "bos_token": "<|end|>"}},
        {"settings": {"bos_token": "<s>"}},
        {"settings": {"chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}},
        {"model_type": "gpt2"},
        {"max_position_embeddings": None},
        {"num_key_value_heads": None},
    ],
)
def test_transformers_reads_what_leaves_something_to_it(tmp_path, changed):
    folder = shipped(tmp_path / "model", **changed)
    found = encoder_of(ModelSection(path=str(folder)))
    assert not isinstance(found.tokenizer, Plain)


def test_a_broken_tokenizer_is_told_as_ever(tmp_path):
    folder = shipped(tmp_path / "model")
    (folder / "tokenizer.json").write_text('{"version": ')
    section = ModelSection(path=str(folder))
    with pytest.raises(KpigError) as whole:
        loading.load_encoder(section)
    with pytest.raises(KpigError) as quick:
        encoder_of(section)
    assert str(quick.value) == str(whole.value)


@pytest.mark.parametrize("limit", [96, 4096])
def test_the_shorter_of_the_two_limits_holds(tmp_path, limit):
    section = ModelSection(path=str(shipped(tmp_path / "model", max_position_embeddings=limit)))
    assert encoder_of(section).max_length == loading.load_encoder(section).max_length == min(limit, 1024)


def test_the_shape_is_that_which_transformers_tells():
    quick, whole = vocabulary.shape(TINY), loading.text_config(TINY)
    for name in ("hidden_size", "num_hidden_layers", "num_key_value_heads", "head_dim", "vocab_size"):
        assert getattr(quick, name) == getattr(whole, name)
