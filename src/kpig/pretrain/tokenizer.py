"""A byte-level BPE tokenizer trained on the tasks' own text."""

from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kpig.records import Task

END, PAD = "<|end|>", "<|pad|>"
TEMPLATE_WORDS = ("\n\nInput: ", "\nOutput: ")
"""What the plain prompt puts before input and response (kpig.model.encoding), so that it is spelled in few
tokens."""


def train_tokenizer(tasks: Iterable[Task], vocabulary: int) -> PreTrainedTokenizerFast:
    """Lossless on any text; digits stay apart, so that numbers are spelled alike wherever they stand.

    Only training examples are read, each wording and its examples once. The same tasks in the same
    order give the same tokenizer.
    """
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(tasks), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def _texts(tasks: Iterable[Task]) -> Iterator[str]:
    for task in tasks:
        yield from (instruction.text for instruction in (*task.instructions, *task.own_instructions))
        for example in task.train:
            yield f"{TEMPLATE_WORDS[0]}{example.input}{TEMPLATE_WORDS[1]}{example.response}"
