"""The tiny model's tokenizer: byte-level BPE, lossless on any text, one token per word of the suite.

Its merges come from the suite's own texts and from the language reference that ships with CPython
(`pydoc_data.topics`), so that plain English is not spelled out byte by byte.
"""

from collections.abc import Iterator
from pydoc_data.topics import topics

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kpig.tasks import suite

VOCABULARY_SIZE = 4096
SUITE_WEIGHT = 2000
END, PAD = "<|end|>", "<|pad|>"


def build() -> PreTrainedTokenizerFast:
    """Train it; the same bytes each time for one version of CPython and `tokenizers`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )
    _check(fast)
    return fast


def words() -> list[str]:
    """Every form that must be one token: the words and numbers, bare or after a space, in both cases."""
    plain = [*suite.WORDS, *suite.COUNT_WORDS.values()]
    cased = [*plain, *(word.upper() for word in plain)]
    return [space + word for word in cased for space in ("", " ")]


def _corpus() -> Iterator[str]:
    texts = [general.format(operation="", demand="") for general in suite.GENERAL]
    texts += [wording for part in (*suite.OPERATIONS, *suite.DEMANDS) for wording in part.wordings]
    forms = [form for text in texts for word in text.split() for form in (word, f" {word}", f" {word}.")]
    for text in (
        *forms,
        *words(),
        "Input:",
        "Output:",
        "\nInput:",
        "\nOutput:",
        " answer:",
        '["',
        '",',
        ' "',
        '"]',
        " [",
    ):
        yield from [text] * SUITE_WEIGHT
    yield from topics.values()


def _check(tokenizer: PreTrainedTokenizerFast) -> None:
    broken = [word for word in words() if len(tokenizer.encode(word, add_special_tokens=False)) != 1]
    if broken:
        raise RuntimeError(f"more than one token for {broken[:5]}; raise SUITE_WEIGHT or VOCABULARY_SIZE")
