"""Text to ids: what masking, truncation, padding and chat templates may change, and what they may not."""

import copy
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from conftest import ARCHITECTURES
from kpig.errors import DataError, ModelError
from kpig.model.batch import collate
from kpig.model.encoding import Encoder
from kpig.model.portions import token_batches
from kpig.model.rows import join, pad
from kpig.records import Example, Instruction, KeySpan

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRIMMED = "{% for message in messages %}[{{ message.role }}] {{ message.content | trim }}[end]{% endfor %}"
SHOUTED = "{% for message in messages %}{{ message.content | upper }}{% endfor %}"
# A system prompt that happens to quote the body's first words must not be mistaken for the instruction.
WITH_SYSTEM = "System: You must obey. {% for message in messages %}{{ message.content }}{% endfor %} Reply:"


@pytest.fixture
def chat_encoder(tokenizer):
    """chat_encoder(template): an encoder whose tokenizer has that chat template."""

    def make(template, max_length=256, **more):
        changed = copy.deepcopy(tokenizer)
        changed.chat_template = template
        return Encoder(changed, max_length, **more)

    return make


@pytest.fixture
def encoder(tokenizer):
    return Encoder(tokenizer, 256)


def text_of(encoder, ids):
    return encoder.tokenizer.decode(ids)


@st.composite
def examples(draw):
    """Examples whose instruction has key parts anywhere."""
    text = draw(st.text("ab cd.,\n", min_size=1, max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    spans = tuple(KeySpan(*pair) for pair in zip(cuts[::2], cuts[1::2], strict=False))
    words = st.lists(st.sampled_from(["ant", "box", "egg", "river"]), max_size=7)
    response = draw(words.filter(bool))
    return Example("x", "random", Instruction(text, spans), " ".join(draw(words)), (" ".join(response),))


@given(example=examples(), mask_text=st.sampled_from(["_", "", "...", "a"]))
def test_masking_changes_nothing_outside_key_parts_and_both_twins_share_the_response(
    tokenizer, example, mask_text
):
    encoder = Encoder(tokenizer, 256, mask_text)
    encoded = encoder.encode(example)
    text, masked = encoder.prompt_text(example), encoder.prompt_text(example, masked=True)
    spans = example.instruction.key_parts
    assert text.startswith(example.instruction.text)
    assert masked.endswith(text[len(example.instruction.text) :])
    for start, end in zip(
        [0, *(span.end for span in spans)], [*(span.start for span in spans), None], strict=True
    ):
        kept = text[start:end]
        assert masked.startswith(kept)
        masked = masked[len(kept) :]
        if end is not None:
            assert masked.startswith(mask_text)
            masked = masked[len(mask_text) :]
    assert masked == ""
    batch = collate([encoded], 1, twins=True)
    assert batch.rows.target.tolist() == list(encoded.response)
    if spans:
        assert batch.twins.target.tolist() == list(encoded.response)
        assert batch.twin_of.tolist() == list(range(len(encoded.response)))
    else:
        assert encoded.masked_prompt is None and batch.twins is None


def test_an_instruction_masked_by_hand(make_instruction):
    one = make_instruction("Please {sort} the {words}.")
    assert one.text == "Please sort the words."
    assert one.masked() == "Please _ the _."
    assert one.masked("") == "Please  the ."
    assert make_instruction("Nothing marked.").masked() == "Nothing marked."


def test_the_mask_text_setting_stands_in_every_key_part(tokenizer, make_example):
    example = make_example("Please {sort} the {words}.", "ant box")
    encoder = Encoder(tokenizer, 256, mask_text="...")
    assert encoder.prompt_text(example, masked=True).startswith("Please ... the ....\n\nInput: ant box")
    assert text_of(encoder, encoder.encode(example).masked_prompt) == encoder.prompt_text(
        example, masked=True
    )


def test_the_plain_prompt_is_instruction_input_and_output_mark(encoder, make_example):
    example = make_example("Please {sort} them.", "ant box", "ant box")
    assert encoder.prompt_text(example) == "Please sort them.\n\nInput: ant box\nOutput:"
    assert text_of(encoder, encoder.encode(example).response) == " ant box<|end|>"


def test_an_empty_input_leaves_no_input_line(encoder, make_example):
    example = make_example("Please {sort} them.", "")
    assert encoder.prompt_text(example) == "Please sort them.\nOutput:"
    assert encoder.prompt_text(example, masked=True) == "Please _ them.\nOutput:"


def test_the_response_ends_with_one_end_of_sequence(encoder, mixed_examples):
    for example in mixed_examples:
        response = encoder.encode(example).response
        assert response[-1] == encoder.tokenizer.eos_token_id
        assert response.count(encoder.tokenizer.eos_token_id) == 1


def test_equal_texts_are_encoded_once_and_keep_their_own_example(encoder, make_example):
    one, other = make_example(task="one"), make_example(task="other")
    assert encoder.encode(one).example is one
    assert encoder.encode(other).example is other
    assert encoder.encode(other).prompt is encoder.encode(one).prompt


# Truncation


@settings(deadline=None, max_examples=60)
@given(example=examples(), max_length=st.integers(4, 40), num_reserved=st.integers(0, 12))
def test_only_the_input_is_shortened_and_no_more_than_needed(tokenizer, example, max_length, num_reserved):
    long, encoder = Encoder(tokenizer, 10_000), Encoder(tokenizer, max_length)
    response = long.encode(example).response
    room = max_length - max(len(response), num_reserved)

    def longest_twin(num_cut):
        twins = (example.instruction.text, example.instruction.masked())
        kept = example.input[: len(example.input) - num_cut]
        middle = f"\n\nInput: {kept}" if kept else ""
        return max(len(tokenizer.encode(f"{twin}{middle}\nOutput:")) for twin in twins)

    if longest_twin(0) > room and longest_twin(len(example.input)) > room:
        with pytest.raises(DataError, match="without the input"):
            encoder.encode(example, num_reserved)
        return
    encoded = encoder.encode(example, num_reserved)
    assert encoded.response == response
    assert text_of(encoder, encoded.prompt) == encoder.prompt_text(example, num_cut=encoded.num_cut)
    assert longest_twin(encoded.num_cut) == max(len(encoded.prompt), len(encoded.masked_prompt or ())) <= room
    assert encoded.num_cut == 0 or longest_twin(encoded.num_cut - 1) > room


def test_a_long_input_loses_its_end_and_the_loss_is_counted(tokenizer, make_example):
    example = make_example("Please {sort} them.", "ant box egg river moon tree", "ant")
    encoder = Encoder(tokenizer, 18)
    encoded = encoder.encode(example)
    kept = example.input[: len(example.input) - encoded.num_cut]
    assert 0 < encoded.num_cut < len(example.input)
    assert text_of(encoder, encoded.prompt) == f"Please sort them.\n\nInput: {kept}\nOutput:"
    assert text_of(encoder, encoded.masked_prompt) == f"Please _ them.\n\nInput: {kept}\nOutput:"
    assert encoded.num_tokens <= 18
    assert Encoder(tokenizer, 256).encode(example).num_cut == 0


def test_an_example_that_cannot_fit_is_refused_with_the_length_that_it_needs(tokenizer, make_example):
    example = make_example("Please {sort} them.", "ant box egg", "ant box egg river", task="long one")
    with pytest.raises(DataError, match=r"'long one'.*the limit is 5: model.*at least \d+") as caught:
        Encoder(tokenizer, 5).encode(example)
    needed = int(re.search(r"at least (\d+)", str(caught.value))[1])
    assert Encoder(tokenizer, needed).encode(example).num_cut == len(example.input)
    with pytest.raises(DataError):
        Encoder(tokenizer, needed - 1).encode(example)


# Batches


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_gathered_position_stands_before_its_target(side, encoder, mixed_examples):
    encoded = [encoder.encode(example) for example in mixed_examples]
    batch = collate(encoded, encoder.tokenizer.pad_token_id, twins=True, pad_side=side)
    for rows, items, name in (
        (batch.rows, encoded, "prompt"),
        (batch.twins, [item for item in encoded if item.masked_prompt is not None], "masked_prompt"),
    ):
        assert rows.target.tolist() == [token for item in items for token in item.response]
        assert rows.input_ids[rows.row, rows.column + 1].equal(rows.target)
        assert rows.num_tokens == sum(len(getattr(item, name)) + len(item.response) for item in items)
        for number, item in enumerate(items):
            real = rows.attention_mask[number].bool()
            assert rows.input_ids[number][real].tolist() == [*getattr(item, name), *item.response]
            assert rows.position_ids[number][real].tolist() == list(range(int(real.sum())))
            assert (rows.input_ids[number][~real] == encoder.tokenizer.pad_token_id).all()


def test_the_padding_side_changes_only_the_place_of_the_padding(encoder, mixed_examples):
    encoded = [encoder.encode(example) for example in mixed_examples]
    left, right = (collate(encoded, 1, twins=True, pad_side=side) for side in ("left", "right"))
    for name in ("example", "twin_of"):
        assert getattr(left, name).equal(getattr(right, name))
    for one, other in ((left.rows, right.rows), (left.twins, right.twins)):
        assert one.row.equal(other.row) and one.target.equal(other.target)
        assert one.num_tokens == other.num_tokens
        assert not one.column.equal(other.column)


def test_every_token_of_a_batch_knows_its_example_and_every_twin_token_its_original(encoder, mixed_examples):
    encoded = [encoder.encode(example) for example in mixed_examples]
    batch = collate(encoded, 1, twins=True)
    owners = [number for number, item in enumerate(encoded) for _ in item.response]
    assert batch.example.tolist() == owners
    assert batch.num_tokens == len(owners)
    assert batch.rows.target[batch.twin_of].equal(batch.twins.target)
    assert batch.example[batch.twin_of].tolist() == [number for number in owners if number != 2]
    assert collate(encoded, 1).twins is None and collate(encoded, 1).twin_of.numel() == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_joined_rows_give_the_logits_of_both_apart(architecture, make_learner, mixed_examples):
    learner = make_learner(architecture)
    encoded = [learner.encoder.encode(example) for example in mixed_examples]
    for sides in (("right", "right"), ("left", "right"), ("right", "left")):
        one = pad([(item.prompt, item.response) for item in encoded[:2]], 1, sides[0])
        other = pad([(item.prompt, item.response) for item in encoded[2:]], 1, sides[1])
        for first, second in ((one, other), (other, one)):
            together = join(first, second, 1)
            apart = torch.cat([learner.forward_logits(first), learner.forward_logits(second)])
            found = learner.forward_logits(together)
            torch.testing.assert_close(found, apart, rtol=1e-4, atol=1e-5)
            assert together.num_tokens == first.num_tokens + second.num_tokens
            assert together.target.tolist() == first.target.tolist() + second.target.tolist()


@given(lengths=st.lists(st.integers(1, 40), max_size=20), budget=st.integers(1, 100))
def test_token_batches_hold_every_index_once_within_the_budget(lengths, budget):
    groups = token_batches(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= budget
    longest = [max(lengths[index] for index in group) for group in groups]
    assert longest == sorted(longest, reverse=True)


# Chat templates


@pytest.mark.parametrize("template", [CHATML, TRIMMED, WITH_SYSTEM])
@pytest.mark.parametrize("text", ["ant box river", "", " outer space \n"])
def test_the_masked_twin_is_the_template_applied_to_the_masked_body(
    template, text, chat_encoder, make_example
):
    encoder = chat_encoder(template)
    example = make_example("You must {sort} the {words}.", text)
    masked_body = "You must _ the _." + (f"\n\nInput: {text}" if text else "")
    message = [{"role": "user", "content": masked_body}]
    expected = encoder.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    assert encoder.prompt_text(example, masked=True) == expected
    assert "You must sort the words." in encoder.prompt_text(example)


@pytest.mark.parametrize("text", ["You must sort the words. ", "Say: You must sort the words. Now\n"])
def test_key_parts_are_masked_in_the_instruction_also_where_the_input_quotes_it(
    text, chat_encoder, make_example
):
    encoder = chat_encoder(TRIMMED)
    example = make_example("You must {sort} the words.", text)
    expected = f"[user] You must _ the words.\n\nInput: {text.rstrip()}[end]"
    assert encoder.prompt_text(example, masked=True) == expected


def test_a_system_prompt_that_quotes_the_instruction_is_not_masked(chat_encoder, make_example):
    encoder = chat_encoder("Never sort. {% for message in messages %}User: {{ message.content }}{% endfor %}")
    example = make_example("{sort}", "")
    assert encoder.prompt_text(example, masked=True) == "Never sort. User: _"


def test_a_template_that_changes_the_instruction_is_refused_with_the_setting_that_helps(
    chat_encoder, make_example
):
    example = make_example("You must {sort} the words.")
    with pytest.raises(ModelError, match=r"chat template changes the instruction.*chat_template = false"):
        chat_encoder(SHOUTED).encode(example)
    plain = chat_encoder(SHOUTED, use_chat_template=False)
    assert plain.prompt_text(example).startswith("You must sort the words.\n\nInput:")


def test_a_chat_response_follows_the_generation_prompt_without_a_space(chat_encoder, make_example):
    encoder = chat_encoder(CHATML)
    encoded = encoder.encode(make_example("You must {sort} them.", "box ant", "ant box"))
    assert text_of(encoder, encoded.prompt).endswith("<|im_start|>assistant\n")
    assert text_of(encoder, encoded.response) == "ant box<|end|>"


def test_truncation_keeps_the_template_whole(chat_encoder, make_example):
    example = make_example("You must {sort} them.", "ant box egg river moon tree", "ant")
    whole = chat_encoder(CHATML).encode(example)
    shorter = chat_encoder(CHATML, max_length=whole.num_tokens - 3)
    encoded = shorter.encode(example)
    assert encoded.num_cut > 0
    kept = example.input[: len(example.input) - encoded.num_cut]
    expected = f"<|im_start|>user\nYou must sort them.\n\nInput: {kept}<|im_end|>\n<|im_start|>assistant\n"
    assert text_of(shorter, encoded.prompt) == expected


# Special tokens


@pytest.fixture
def with_special_tokens(tokenizer):
    """with_special_tokens("<|pad|> $A"): the tokenizer with a post-processor that adds them."""

    def make(single):
        changed = copy.deepcopy(tokenizer)
        ids = [
            (name, changed.convert_tokens_to_ids(name)) for name in ("<|pad|>", "<|end|>") if name in single
        ]
        changed.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=ids)
        return changed

    return make


def test_a_tokenizers_first_token_stands_once_before_both_prompts_and_not_before_the_response(
    with_special_tokens, encoder, make_example
):
    example = make_example()
    bare = encoder.encode(example)
    encoded = Encoder(with_special_tokens("<|pad|> $A"), 256).encode(example)
    assert encoded.prompt == (1, *bare.prompt)
    assert encoded.masked_prompt == (1, *bare.masked_prompt)
    assert encoded.response == bare.response


def test_an_end_of_sequence_that_the_tokenizer_adds_does_not_end_the_prompt(
    with_special_tokens, encoder, make_example
):
    example = make_example()
    bare = encoder.encode(example)
    encoded = Encoder(with_special_tokens("$A <|end|>"), 256).encode(example)
    assert (encoded.prompt, encoded.masked_prompt) == (bare.prompt, bare.masked_prompt)
    assert encoded.response == bare.response


@pytest.mark.parametrize("template", ["{{ broken[", "{{ raise_exception('no system turn') }}"])
def test_a_chat_template_that_cannot_be_used_is_refused_with_what_to_do(template, make_example, chat_encoder):
    with pytest.raises(ModelError, match=r"chat template cannot be used.*model\.chat_template = false"):
        chat_encoder(template).encode(make_example())


def test_a_chat_template_brings_its_own_special_tokens(with_special_tokens, make_example):
    tokenizer = with_special_tokens("<|pad|> $A")
    tokenizer.chat_template = "<|pad|>" + CHATML
    encoded = Encoder(tokenizer, 256).encode(make_example())
    assert encoded.prompt.count(1) == 1
    assert encoded.prompt[0] == 1


def test_a_special_token_spelled_out_in_a_task_stays_text(tokenizer, make_example):
    end = tokenizer.eos_token
    example = make_example(f"Say {{it}} twice {end}.", input=f"a {end} b", response=f"yes {end} no")
    encoded = Encoder(tokenizer, 256).encode(example)
    assert tokenizer.eos_token_id not in encoded.prompt + encoded.masked_prompt
    assert (
        encoded.response.count(tokenizer.eos_token_id) == 1 and encoded.response[-1] == tokenizer.eos_token_id
    )
    assert tokenizer.decode(encoded.response[:-1]) == f" yes {end} no"
