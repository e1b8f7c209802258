"""Greedy answers of a Hugging Face causal LM to one batch of prompts."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor

from kpig.errors import ModelError

NOT_FINITE = (
    "the model predicts what is no finite number: its weights hold NaN or infinity, or overflow in their "
    "precision. Look at the weights, load them in another precision (model.dtype), or take a sound model."
)
"""What whoever reads the predictions of a model says where they cannot be read."""


@dataclass(frozen=True)
class Answer:
    """A greedy answer, and whether it ended by itself before the token limit.

    `num_tokens` are those of the text, encoded once more, and the token that ended it; the limit where it
    was cut off.
    """

    text: str
    finished: bool
    num_tokens: int


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: by a seed for each prompt, beside whichever others it is answered, above 0."""

    seeds: tuple[int, ...]
    temperature: float

    def of(self, places: Sequence[int]) -> "Sampling":
        """That of some prompts, by their numbers."""
        return Sampling(tuple(self.seeds[place] for place in places), self.temperature)


def all_ends(model: Any, tokenizer: Any, own: Iterable[int]) -> tuple[int, ...]:
    """Ids of which any ends an answer: `own` first, then those that the model's generation config names.

    A single number that only stands in the model's config counts where the tokenizer knows a token added to
    the vocabulary by it: some configs have one by default (Llama: 2), which may be another tokenizer's word.
    """
    config = getattr(model, "generation_config", None)
    stated = getattr(config, "eos_token_id", None)
    named = stated if isinstance(stated, list | tuple) else [] if stated is None else [stated]
    by_default = getattr(config, "_from_model_config", False) and not isinstance(stated, list | tuple)
    kept = (int(one) for one in named if not by_default or one in tokenizer.added_tokens_decoder)
    return tuple(dict.fromkeys((*own, *kept)))


def name_ends(model: Any, ends: Sequence[int]) -> None:
    """Name the ends of an answer in the model's generation config: so a saved model ends as it learned to.

    Nothing changes where it names them already.
    """
    config = getattr(model, "generation_config", None)
    stated = getattr(config, "eos_token_id", None)
    named = stated if isinstance(stated, list | tuple) else [stated]
    if config is not None and not set(ends) <= set(named):
        config.eos_token_id = list(ends)


def greedy(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    pad_id: int,
    ends: Sequence[int],
    sampling: Sampling | None = None,
) -> list[tuple[str, bool]]:
    """The texts that continue prompts of token ids, with whether each ended before the token limit.

    With `sampling`, drawn instead of the likeliest. Any id of `ends` ends a text, and is no part of it. The
    batch is made where the weights of `model` are, a transformers model that is no adapter. Raises
    ModelError where the model predicts what is no number.
    """
    width = max(map(len, prompts))
    ids = torch.tensor([[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    device = next(model.parameters()).device
    with _plain_settings(model):
        output = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=list(ends),
            pad_token_id=pad_id,
            logits_processor=[_Numbers(), *([] if sampling is None else [_Drawn(sampling)])],
            synced_gpus=False,  # of divided weights each pass is waited for already (kpig.model.shards)
        )
    return [decoded(tokenizer, row, ends) for row in output[:, width:].tolist()]


def decoded(tokenizer: Any, ids: Sequence[int], ends: Collection[int]) -> tuple[str, bool]:
    """The text of the ids before the first of `ends`, and whether there is one."""
    length = next((place for place, one in enumerate(ids) if one in ends), len(ids))
    return tokenizer.decode(ids[:length], skip_special_tokens=True).strip(), length < len(ids)


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


class _Numbers(LogitsProcessor):
    """Passes scores on as they are: the largest of some that are NaN is an answer made of nothing."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if scores.isnan().any():
            raise ModelError(NOT_FINITE)
        return scores


class _Drawn(LogitsProcessor):
    """Adds Gumbel's noise to scores, so that the largest is a draw from their softmax (Gumbel-max).

    Each prompt has a generator of its own, on the CPU: so a draw hangs on no neighbour and on no device.
    """

    def __init__(self, sampling: Sampling):
        self.temperature = sampling.temperature
        self.chance = [torch.Generator().manual_seed(seed) for seed in sampling.seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        drawn = torch.stack([torch.rand(scores.shape[-1], generator=one) for one in self.chance])
        noise = -torch.log(-torch.log(drawn))
        return scores.float() / self.temperature + noise.to(scores.device)
