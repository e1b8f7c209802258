"""Many examples encoded at once: what one by one gives, in few exchanges, and each text once."""

import copy
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpig.errors import DataError, KpigError, ModelError
from kpig.model import chat, encoded, encoding
from kpig.model.encoded import Encoded
from kpig.model.encoding import Encoder
from kpig.model.token_ids import ids_of
from kpig.records import Example, Instruction, KeySpan, Message

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FUSSY = (
    "{% for message in messages %}{% if 'forbidden' in message.content %}{{ raise_exception('not that') }}"
    "{% endif %}{{ message.content }}{% endfor %}>"
)
DRAWN = "{% for message in messages %}{{ message.content }} {{ range(1000) | random }}{% endfor %}>"
INSTRUCTIONS = (
    Instruction("Name the colour."),
    Instruction("Sort the words, please.", (KeySpan(0, 4), KeySpan(9, 14))),
)


@pytest.fixture
def make_encoder(tokenizer):
    """make_encoder(template): an encoder of its own; without a template its prompts are plain."""

    def make(template=None, max_length=256, **more):
        changed = copy.deepcopy(tokenizer)
        changed.chat_template = template
        return Encoder(changed, max_length, **more)

    return make


def example(number, words=3, response="plum", instruction=1, context=()):
    text = " ".join(f"box{number}" for _ in range(words))
    return Example(str(number), "t", INSTRUCTIONS[instruction], text, (response,), context)


@st.composite
def examples(draw):
    """Some examples, of which several may be of the same texts."""
    texts = st.text("ab c.\n<|end>é", max_size=120)
    chosen = []
    for number in range(draw(st.integers(0, 9))):
        context = draw(st.sampled_from([(), (Message("system", "Be kind."),)]))
        instruction, response = draw(st.sampled_from(INSTRUCTIONS)), draw(texts.filter(str.strip))
        chosen.append(Example(str(number), "t", instruction, draw(texts), (response,), context))
    return chosen + [replace(one, id=f"again {one.id}") for one in chosen[:2]]


@pytest.mark.parametrize("template", [None, CHATML, DRAWN])
@settings(deadline=None, max_examples=30)
@given(found=examples(), in_batch=st.integers(1, 5), num_reserved=st.integers(0, 20))
def test_many_are_encoded_as_one_by_one(tokenizer, template, found, in_batch, num_reserved):
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    one_by_one, together = (Encoder(changed, 160, clock="2026-01-02T03:04:05") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "IN_BATCH", in_batch)
        expected = [one_by_one.encode(one, num_reserved) for one in found]
        assert list(together.encode_all(found, num_reserved)) == expected
    assert [one.example for one in expected] == found


@pytest.mark.parametrize("max_length", [16, 21, 40])
def test_inputs_are_cut_as_one_by_one(make_encoder, max_length):
    found = [example(number, words=number) for number in range(7)]
    expected = [make_encoder(max_length=max_length).encode(one, 5) for one in found]
    assert list(make_encoder(max_length=max_length).encode_all(found, 5)) == expected


@pytest.mark.parametrize("place", [0, 3, 6])
@pytest.mark.parametrize("template", [None, FUSSY])
def test_the_first_that_is_refused_is_told_as_one_by_one(make_encoder, template, place):
    found = [example(number) for number in range(8)]
    found[place] = replace(found[place], references=("plum " * 300,))
    found[6] = replace(found[6], input="forbidden") if place != 6 else found[6]
    encoder = make_encoder(template)
    with pytest.raises(KpigError) as one_by_one:
        for one in found:
            encoder.encode(one)
    with pytest.raises(DataError) as together:
        list(make_encoder(template).encode_all(found))
    assert str(together.value) == str(one_by_one.value) and f"'{place}'" in str(together.value)


def test_a_template_that_refuses_one_of_many_is_told_in_its_own_words(make_encoder):
    found = [example(number) for number in range(5)]
    found[3] = replace(found[3], input="forbidden")
    with pytest.raises(ModelError, match="not that"):
        list(make_encoder(FUSSY).encode_all(found))


def test_a_template_that_never_ends_for_one_of_many_is_ended(make_encoder, monkeypatch):
    monkeypatch.setattr(chat, "MOST_CPU_SECONDS", 1)
    chat.RENDERER.close()
    endless = "{% for one in range(10**5) %}{% for other in range(10**5) %}{% endfor %}{% endfor %}"
    template = FUSSY.replace("{{ raise_exception('not that') }}", endless)
    encoder = make_encoder(template)
    found = [example(0), replace(example(1), input="forbidden")]
    with pytest.raises(ModelError, match="at work after"):
        list(encoder.encode_all(found))
    chat.RENDERER.close()
    assert encoder.encode(example(2)).text


def test_conversations_are_rendered_many_in_an_exchange(make_encoder, monkeypatch):
    encoder, asked = make_encoder(CHATML), []
    ask = chat.RENDERER.ask
    monkeypatch.setattr(chat.RENDERER, "ask", lambda request: asked.append(request) or ask(request))
    found = list(encoder.encode_all(example(number) for number in range(600)))
    assert len(found) == 600 and len(asked) <= 4


def test_what_fits_is_encoded_once_however_much_room_an_answer_is_given(make_encoder):
    encoder = make_encoder()
    counted = Counter()
    encode = encoder.tokenizer.encode

    def counting(text, **arguments):
        counted[text] += 1
        return encode(text, **arguments)

    encoder.tokenizer.encode = counting
    first = encoder.encode(example(1), 32)
    for num_reserved in (0, 7, 32, 48):
        assert encoder.encode(example(1), num_reserved).prompt is first.prompt
    assert max(counted.values()) == 1


def test_an_input_that_is_cut_for_an_answer_is_whole_without_one(make_encoder):
    encoder, long = make_encoder(max_length=40), example(1, words=6)
    for num_reserved in (25, 0, 25, 22, 0):
        assert encoder.encode(long, num_reserved) == make_encoder(max_length=40).encode(long, num_reserved)
    assert encoder.encode(long, 25).num_cut > 0 == encoder.encode(long).num_cut


@pytest.mark.parametrize("texts", [["a"], ["", "a b", "<|end|> é 語 \ud7ff", "plum " * 99, ""]])
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_ids_of_many_texts_are_those_of_each(tokenizer, texts, special, split):
    told = {"add_special_tokens": special, "split_special_tokens": split}
    assert ids_of(tokenizer, texts, **told) == [tuple(tokenizer.encode(text, **told)) for text in texts]


def test_a_tokenizer_of_a_class_of_its_own_is_asked_text_by_text(tokenizer):
    class Own:
        backend_tokenizer = tokenizer.backend_tokenizer

        def _encode_plus(self):
            raise AssertionError

        def encode(self, text, **told):
            return [len(text)]

    told = {"add_special_tokens": False, "split_special_tokens": False}
    assert ids_of(Own(), ["a", "bcd"], **told) == [(1,), (3,)]


def ids_at_most(largest):
    return st.lists(st.integers(0, largest), min_size=1, max_size=12).map(tuple)


@given(
    parts=st.sampled_from([9, 2**16 - 1, 2**16, 10**6]).flatmap(
        lambda most: st.lists(st.tuples(*[ids_at_most(most)] * 3, st.booleans()), max_size=40)
    ),
    most=st.integers(1, 20),
    unpacked=st.integers(1, 5),
)
def test_what_is_kept_comes_back_as_it_was(parts, most, unpacked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoded, "MAX_UNPACKED", unpacked)
        shelf, kept = encoded.Shelf(most, range(100)), {}
        for number, (prompt, masked, response, has_twin) in enumerate(parts):
            twin = masked if has_twin else None
            kept[number] = Encoded(example(number), prompt, twin, response, number, f"text {number}")
            shelf.put(number, kept[number])
        assert len(shelf) <= most and len(shelf) == sum(shelf.get(one) is not None for one in kept)
        for number in [*kept, *reversed(kept)]:
            assert shelf.get(number) in (None, kept[number])
        if kept:
            assert shelf.get(max(kept)) is not None


def test_an_example_from_long_ago_is_encoded_as_it_was_without_a_tokenizer(make_encoder, monkeypatch):
    monkeypatch.setattr(encoded, "MAX_UNPACKED", 3)
    encoder, found = make_encoder(), [example(number, instruction=number % 2) for number in range(20)]
    first = list(encoder.encode_all(found, 7))
    monkeypatch.setattr(encoding, "ids_of", None)
    assert list(encoder.encode_all(found[::-1], 3)) == first[::-1]
    assert all(one.example is two for one, two in zip(encoder.encode_all(found), found, strict=True))
