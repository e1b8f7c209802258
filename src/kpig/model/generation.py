"""Greedy answers of a Hugging Face causal LM to one batch of prompts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig


@dataclass(frozen=True)
class Answer:
    """A greedy answer, and whether it ended by itself before the token limit.

    `num_tokens` are those of the text, encoded once more, and the end of sequence; the limit where it was
    cut off.
    """

    text: str
    finished: bool
    num_tokens: int


def greedy(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, pad_id: int
) -> list[tuple[str, bool]]:
    """The texts that continue prompts of token ids, with whether each ended before the token limit.

    The batch is made where the weights of `model` are, a transformers model that is no adapter.
    """
    width = max(map(len, prompts))
    ids = torch.tensor([[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    device, end = next(model.parameters()).device, tokenizer.eos_token_id
    with _plain_settings(model):
        output = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=pad_id,
        )
    return [_decoded(tokenizer, row, end) for row in output[:, width:].tolist()]


def answer(tokenizer: Any, text: str, finished: bool, max_new_tokens: int) -> Answer:
    """A text of `greedy` with its tokens counted."""
    num_tokens = len(tokenizer.encode(text, add_special_tokens=False)) + 1
    return Answer(text, finished, num_tokens if finished else max_new_tokens)


@contextmanager
def _plain_settings(model: Any) -> Iterator[None]:
    """Put aside generation settings that came with the model, such as a repetition penalty.

    Transformers fills whatever a call leaves open from them, and greedy would no longer mean greedy.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = own


def _decoded(tokenizer: Any, ids: list[int], end: int) -> tuple[str, bool]:
    finished = end in ids
    kept = ids[: ids.index(end)] if finished else ids
    return tokenizer.decode(kept, skip_special_tokens=True).strip(), finished
