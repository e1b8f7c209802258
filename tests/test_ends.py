"""Where an answer begins and ends: chat templates, ends of turns, ids of the natural text, the clock."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from kpig.config import EvaluateSection
from kpig.errors import ModelError
from kpig.model import chat
from kpig.model.encoding import Encoder
from kpig.model.learner import Learner
from kpig.records import SEEN, Example, Instruction, KeySpan, Task
from kpig.scoring import answers, probing
from kpig.tasks import suite
from kpig.testing.models import scatter

ODD_TEXTS = (
    "ant, box",
    "",
    " two  blanks ",
    "\n\nlines\n",
    ")!",
    "ünïcødé 漢字 🦜",
    "<|end|> spelled out",
    "\t- a\r\n",
)
"""Responses and inputs that begin, end or go on in ways that tokenizers treat specially."""


def shipped(name: str) -> str:
    """The folder of a shipped model."""
    return str(
        files("kpig") / "tiny" if name == "tiny" else Path(__file__).parents[1] / "models" / "superni-base"
    )


def known_examples() -> list[Example]:
    tasks = [
        suite.task(pair, 4, 2, seed=0)
        for pair in (("reverse", "upper"), ("count", "period"), ("sort", "commas"))
    ]
    odd = [
        Example(
            f"odd-{number}",
            "odd",
            Instruction(f"Say {text} now.", (KeySpan(0, 3, "operation"),)),
            text,
            (text,),
        )
        for number, text in enumerate(ODD_TEXTS)
    ]
    return [example for task in tasks for example in (*task.train, *task.test)] + odd


# The shipped models keep their ids


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tiny", "3474db5a9e63e6ed"), ("superni-base", "42ec69e3fa52b1bb")],
)
def test_the_shipped_models_keep_their_token_ids_to_the_bit(name: str, expected: str) -> None:
    """The digests were made from the ids of version 0.1, when prompt and response were encoded apart."""
    encoder = Encoder(AutoTokenizer.from_pretrained(shipped(name)), 256)
    encoded = [encoder.encode(example) for example in known_examples()]
    ids = [[one.prompt, one.masked_prompt, one.response] for one in encoded]
    assert hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16] == expected


# Tokenizers and models made here


@cache
def cached_sentencepiece(prepend: str) -> PreTrainedTokenizerFast:
    return sentencepiece(prepend)


@cache
def shipped_encoder(name: str) -> Encoder:
    return Encoder(AutoTokenizer.from_pretrained(shipped(name)), 256)


def sentencepiece(prepend: str, **changes: Any) -> PreTrainedTokenizerFast:
    """A byte-fallback tokenizer as sentencepiece models have it; `prepend` is when it puts a blank first.

    "legacy" is the normalizer of Llama 2, which knows no words; the others are schemes of Metaspace.
    """
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if prepend == "legacy":
        first = normalizers.Prepend("▁")
        trained.normalizer = normalizers.Sequence([first, normalizers.Replace(" ", "▁")])
    else:
        trained.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=prepend, split=True)
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words = (
        "Say the word twice. Input: ant box river Output: ant, box, river [INST] count [/INST] answer no " * 3
    )
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=specials, limit_alphabet=80, show_progress=False
    )
    if prepend == "legacy":
        trained.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="never", split=True)
        trained.train_from_iterator([words], trainer)
        trained.pre_tokenizer = None
    else:
        trained.train_from_iterator([words], trainer)
    saved = json.loads(trained.to_str())
    saved["added_tokens"] = [one for one in saved["added_tokens"] if not one["content"].startswith("<0x")]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(saved)),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        **changes,
    )


STYLES = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
        "<|im_end|>",
        "<|endoftext|>",
    ),
    "llama3": (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>"),
        "<|eot_id|>",
        "<|end_of_text|>",
    ),
    "gemma": (
        "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ("<start_of_turn>", "<end_of_turn>", "<eos>"),
        "<end_of_turn>",
        "<eos>",
    ),
    "zephyr": (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        ("</s>", "<|other|>"),
        "</s>",
        "<|other|>",
    ),
    "phi3": (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|close|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        ("<|user|>", "<|assistant|>", "<|close|>", "<|endoftext|>"),
        "<|close|>",
        "<|endoftext|>",
    ),
}
"""Chat templates in the manner of well-known models: their tokens, that which ends a turn, another eos."""

ENDLESS_TURNS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


def styled(style: str, eos: str | None = None) -> PreTrainedTokenizerFast:
    """The shipped tokenizer with the template and tokens of a style; eos is its end of a turn or `eos`."""
    template, tokens, end, _ = STYLES[style]
    made = AutoTokenizer.from_pretrained(shipped("tiny"))
    made.add_special_tokens({"additional_special_tokens": list(tokens)})
    made.chat_template = template
    made.eos_token = eos or end
    return made


def random_model(tokenizer: PreTrainedTokenizerFast, **settings: Any) -> LlamaForCausalLM:
    """A small model of random weights with a row for each token; equal for equal sizes."""
    size = {
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
    }
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=1, **size, **ends, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return scatter(LlamaForCausalLM(config).eval(), 0, 0.3)


def learner_of(tokenizer: PreTrainedTokenizerFast, **settings: Any) -> Learner:
    return Learner(random_model(tokenizer, **settings), tokenizer, Encoder(tokenizer, 256))


def continuation(learner: Learner, example: Example, count: int) -> list[int]:
    """The ids that a model goes on with, whatever would end an answer."""
    prompt = torch.tensor([learner.encoder.encode(example).prompt])
    with torch.no_grad():
        output = learner.model.generate(prompt, max_new_tokens=count, do_sample=False, eos_token_id=None)
    ids: list[int] = output[0, prompt.shape[1] :].tolist()
    return ids


def say(word: str, text: str = "", response: str = "ant box") -> Example:
    return Example(
        word, "say", Instruction(f"Please say {word} now.", (KeySpan(7, 10, "operation"),)), text, (response,)
    )


EXAMPLES = tuple(say(f"word{number}", "box " * number, "ant " * (number + 1)) for number in range(7))


# Where a response ends


@pytest.mark.parametrize("eos", ["own", "other"])
@pytest.mark.parametrize("style", STYLES)
def test_a_response_ends_as_the_template_ends_a_turn_whatever_the_eos_is(style: str, eos: str) -> None:
    _, _, end, other = STYLES[style]
    tokenizer = styled(style, other if eos == "other" else None)
    encoder = Encoder(tokenizer, 256)
    assert encoder.response_ids("ant box")[-1] == tokenizer.convert_tokens_to_ids(end)
    assert tokenizer.decode(encoder.response_ids("ant box")) == f"ant box{end}"
    ends = Learner(random_model(tokenizer), tokenizer, encoder).ends
    assert set(ends) == {tokenizer.convert_tokens_to_ids(end), tokenizer.eos_token_id}


@pytest.mark.parametrize("style", STYLES)
def test_without_the_template_a_response_ends_with_the_eos(style: str) -> None:
    other = STYLES[style][3]
    encoder = Encoder(styled(style, other), 256, use_chat_template=False)
    assert encoder.tokenizer.decode(encoder.response_ids("ant box")) == f" ant box{other}"


@pytest.mark.parametrize(
    "template",
    [
        ENDLESS_TURNS,
        ENDLESS_TURNS.replace("{{ m.content }}", "{{ m.content }}."),
        "{% for m in messages %}{% if m.role == 'user' %}U: {{ m.content }} A:{% endif %}{% endfor %}",
        "{{ raise_exception('users only') if messages | length > 1 }}{{ messages[0].content }}",
        "{% for m in messages %}{{ m.content | upper if loop.index > 1 else m.content }}<|pad|>{% endfor %}",
    ],
    ids=["no end", "a full stop", "no assistant", "refused", "changed"],
)
def test_a_template_that_names_no_end_leaves_it_to_the_eos(template: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shipped("tiny"))
    tokenizer.chat_template = template
    assert Encoder(tokenizer, 256).end_id == tokenizer.eos_token_id


@pytest.mark.parametrize("style", STYLES)
def test_a_copy_with_another_eos_answers_scores_and_gains_as_the_original(style: str) -> None:
    """Some answers end by themselves: the end of a turn has the row of a token that is predicted there."""
    _, _, end, other = STYLES[style]
    learners = [learner_of(styled(style)), learner_of(styled(style, other))]
    predicted = continuation(learners[0], EXAMPLES[1], 5)[3]
    with torch.no_grad():
        row = learners[0].tokenizer.convert_tokens_to_ids(end)
        for learner in learners:
            head = learner.model.lm_head.weight
            head[row] = 1.01 * head[predicted]
    task = Task("say", (EXAMPLES[0].instruction,), EXAMPLES, EXAMPLES, "rougeL")
    probes = probing.probes({SEEN: [task]}, EvaluateSection())
    original, copied = (answers.score(one, probes, EvaluateSection(max_new_tokens=5)) for one in learners)
    assert original == copied
    assert {one.finished for one in original} == {True, False}
    assert not any(token in one.response for one in copied for token in (end, other))


def test_every_end_that_the_generation_config_names_ends_an_answer() -> None:
    learner = learner_of(styled("chatml"))
    prompt, ids = learner.encoder.encode(EXAMPLES[0]).prompt, continuation(learner, EXAMPLES[0], 6)
    whole, finished = learner.generate([prompt], 6)[0]
    assert not finished
    learner.model.generation_config.eos_token_id = [learner.tokenizer.eos_token_id, ids[3]]
    kept = learner.tokenizer.decode(ids[: ids.index(ids[3])], skip_special_tokens=True).strip()
    assert learner.generate([prompt], 6) == [(kept, True)] and whole.startswith(kept)


def test_a_number_that_a_config_has_by_default_ends_nothing_where_it_is_a_word() -> None:
    learner = learner_of(styled("chatml"))
    learner.model.generation_config = GenerationConfig.from_model_config(LlamaConfig())
    assert learner.model.generation_config.eos_token_id == 2
    assert learner.ends == (learner.tokenizer.eos_token_id,)


def test_a_saved_chat_model_ends_its_answers_under_transformers_too(tmp_path: Path) -> None:
    learner = learner_of(styled("chatml", "<|endoftext|>"))
    learner.save(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == list(learner.ends)
    plain = learner_of(styled("chatml"))
    plain.save(tmp_path / "plain")
    assert GenerationConfig.from_pretrained(tmp_path / "plain").eos_token_id == plain.tokenizer.eos_token_id


# The ids of the natural text


@given(
    response=st.text("ant box,\n é漢", max_size=20) | st.sampled_from(ODD_TEXTS),
    prepend=st.sampled_from(["always", "first", "never", "legacy"]),
)
def test_prompt_and_response_have_the_ids_of_the_whole_text(response: str, prepend: str) -> None:
    tokenizer = cached_sentencepiece(prepend)
    encoded = Encoder(tokenizer, 512).encode(say("it", "ant box", response))
    whole = tokenizer.encode(f"{encoded.text} {response}", split_special_tokens=True)
    assert [*encoded.prompt, *encoded.response[:-1]] == whole
    assert tokenizer.decode(encoded.response[:-1]).strip() == response.strip()


LLAMA2 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} "
    "{{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
ZEPHYR = STYLES["zephyr"][0]
TIGHT = (
    "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
)


@pytest.mark.parametrize("response", ["ant box", "box, ant é", "no"])
@pytest.mark.parametrize("prepend", ["always", "first", "never", "legacy"])
@pytest.mark.parametrize("template", [LLAMA2, ZEPHYR, TIGHT], ids=["llama2", "zephyr", "tight"])
def test_in_a_chat_template_too(template: str, prepend: str, response: str) -> None:
    """The natural text is that of a conversation in which the assistant has answered."""
    tokenizer = sentencepiece(prepend, chat_template=template)
    encoded = Encoder(tokenizer, 512).encode(say("it", "ant box", response))
    user = {"role": "user", "content": "Please say it now.\n\nInput: ant box"}
    text = tokenizer.apply_chat_template([user, {"role": "assistant", "content": response}], tokenize=False)
    whole = tokenizer.encode(text[: text.rindex("</s>")].rstrip(" "), add_special_tokens=False)
    assert [*encoded.prompt, *encoded.response[:-1]] == whole
    assert encoded.response[-1] == tokenizer.eos_token_id


def test_a_special_token_spelled_out_in_a_chat_response_stays_text() -> None:
    for tokenizer in (styled("chatml"), sentencepiece("legacy", chat_template=LLAMA2)):
        end = tokenizer.eos_token
        ids = Encoder(tokenizer, 256).response_ids(f"yes {end} no")
        assert ids.count(tokenizer.eos_token_id) == 1
        assert tokenizer.decode(ids[:-1]).strip() == f"yes {end} no"


def test_both_twins_share_the_response_of_a_sentencepiece_model() -> None:
    encoded = Encoder(sentencepiece("first"), 256).encode(say("it"))
    assert encoded.masked_prompt is not None and encoded.masked_prompt != encoded.prompt


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=30), name=st.sampled_from(["tiny", "superni-base"]))
def test_any_response_keeps_the_ids_that_it_has_apart_where_nothing_is_put_first(
    text: str, name: str
) -> None:
    encoder = shipped_encoder(name)
    apart = encoder.tokenizer.encode(f" {text}", add_special_tokens=False, split_special_tokens=True)
    assert encoder.response_ids(text) == (*apart, encoder.tokenizer.eos_token_id)


def test_a_prompt_of_no_tokens_is_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(shipped("tiny"))
    tokenizer.chat_template = "{{ messages[0].content }}"
    whole = Instruction("Go", (KeySpan(0, 2, "operation"),))
    encoder = Encoder(tokenizer, 256, mask_text="")
    with pytest.raises(ModelError, match="no token for the prompt ''"):
        encoder.encode(Example("x", "go", whole, "", ("yes",)))


# Chat templates that fail


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ 'a' + 1 }}", "TypeError: can only concatenate"),
        ("{{ 'x' | int(base=99) }}{{ [].index(3) }}", "ValueError: "),
        ("{{ messages[0].content.encode('ascii').decode('nope') }}", "LookupError: unknown encoding"),
        ("{{ messages.x.y }}", "has no attribute 'x'"),
        ("{{ raise_exception('users only') }}", "users only"),
        ("{% for %}", "Expected|expected|unexpected"),
        ("\ud83d{{ messages[0].content }}", "UnicodeEncodeError"),
        ("{{ foo() }}", "'foo' is undefined"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ({"rag": "a", "tool_use": "b"}, "several, rag and tool_use, and none is named default"),
        ({"default": 3}, "of type int"),
        (["a"], "of type list"),
        ("{{ messages[0].content * 9000000 }}", "writes [0-9,]+ characters|too much memory"),
        (
            "{% set n = namespace(s='x') %}{% for i in range(80) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
            "too much memory",
        ),
        ("{{ 'x' | center(20000000000) }}", "too much memory"),
    ],
)
def test_a_template_that_fails_is_refused_with_its_name_its_words_and_what_to_do(
    template: Any, said: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shipped("tiny"))
    tokenizer.chat_template = template
    expected = rf"model .*tiny: its chat template cannot be used \(.*(?:{said}).*model\.chat_template = false"
    with pytest.raises(ModelError, match=expected):
        Encoder(tokenizer, 256)
    assert not Encoder(tokenizer, 256, use_chat_template=False).chat


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 9 ** (9 ** 9) }}{{ messages[0].content }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    ],
    ids=["loops", "a power", "a macro"],
)
def test_an_endless_template_is_ended_also_in_a_thread_and_the_next_one_is_rendered(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "MOST_CPU_SECONDS", 1)
    monkeypatch.setattr(chat, "RENDERER", chat.Renderer())
    tokenizer = AutoTokenizer.from_pretrained(shipped("tiny"))
    tokenizer.chat_template = template
    with (
        ThreadPoolExecutor() as pool,
        pytest.raises(ModelError, match=r"still at work after 1 seconds.*for ever"),
    ):
        pool.submit(Encoder, tokenizer, 256).result()
    tokenizer.chat_template = ENDLESS_TURNS
    assert Encoder(tokenizer, 256).prompt_text(EXAMPLES[0]).endswith("assistant:")
    chat.RENDERER.close()


def test_a_template_that_begins_to_loop_with_one_example_is_ended_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat, "MOST_CPU_SECONDS", 1)
    monkeypatch.setattr(chat, "RENDERER", chat.Renderer())
    tokenizer = AutoTokenizer.from_pretrained(shipped("tiny"))
    long = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    tokenizer.chat_template = f"{{% if 'word3' in messages[0].content %}}{long}{{% endif %}}{ENDLESS_TURNS}"
    encoder = Encoder(tokenizer, 256)
    encoder.encode(EXAMPLES[2])
    with pytest.raises(ModelError, match="for ever"):
        encoder.encode(EXAMPLES[3])
    chat.RENDERER.close()


@pytest.mark.parametrize("style", STYLES)
def test_a_conversation_is_rendered_as_transformers_renders_it(style: str) -> None:
    tokenizer = styled(style)
    messages = [{"role": "user", "content": " é {{ x }} <b> "}, {"role": "assistant", "content": "\n1 "}]
    for number in (1, 2):
        for prompted in (True, False):
            expected = tokenizer.apply_chat_template(
                messages[:number], tokenize=False, add_generation_prompt=prompted
            )
            assert chat.ChatTemplate(tokenizer).render(messages[:number], prompted) == expected


def test_of_several_templates_the_default_is_used() -> None:
    tokenizer = styled("chatml")
    single = Encoder(tokenizer, 256).encode(EXAMPLES[1])
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": "nothing"}
    assert Encoder(tokenizer, 256).encode(EXAMPLES[1]) == single


# The clock


def test_the_clock_of_a_template_stands_and_chance_repeats() -> None:
    tokenizer = AutoTokenizer.from_pretrained(shipped("tiny"))
    tokenizer.chat_template = (
        "{{ strftime_now('%d %b %Y %H:%M:%S') }} {{ range(99) | random }} " + ENDLESS_TURNS
    )
    one, other = (Encoder(tokenizer, 256, clock="2024-02-29T23:59:58") for _ in range(2))
    assert one.prompt_text(EXAMPLES[0]).startswith("29 Feb 2024 23:59:58 ")
    assert one.encode(EXAMPLES[0]) == other.encode(EXAMPLES[0])
    assert one.prompt_text(EXAMPLES[0]) == one.encode(EXAMPLES[0]).text
