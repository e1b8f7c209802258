"""How a causal LM answers prompts of token ids: which side by side, and whether beginnings are read once.

The texts of one batch are written by `kpig.model.decoding` where its beginnings are, else by
`kpig.model.generation`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from kpig import ranks
from kpig.model import decoding, generation, internals, packing, portions
from kpig.model.division import divided
from kpig.model.generation import Answer, Sampling
from kpig.model.ledger import Ledger
from kpig.model.packing import Ids, RowTokens
from kpig.model.sharing import Sharing, plain_ids

LEAST_SHARED = 0.25
"""The share of tokens in common from which on prompts are read in shared rows to be answered. Chosen."""

T = TypeVar("T")
Text = tuple[str, bool]
"""What was written, and whether it ended before the token limit."""


@dataclass(frozen=True)
class Answering:
    """A model with all that its answers hang on; the tokens of what it answers are counted in `ledger`.

    `model` is of transformers, no adapter around one, and of that `width`. Any id of `ends` ends an answer.
    `max_length` are the tokens that the model takes. `row_tokens` are 0 where what prompts begin with is
    never read once.
    """

    model: Any
    tokenizer: Any
    pad_id: int
    ends: tuple[int, ...]
    max_length: int
    width: int
    takes_positions: bool
    sharing: Sharing
    ledger: Ledger

    @torch.no_grad()
    def greedy(self, prompts: Sequence[Ids], max_new_tokens: int, row_tokens: RowTokens) -> list[Text]:
        """Greedy responses to one batch of prompts.

        What the prompts begin with is read once, where that saves enough and the model takes it.
        """
        if row_tokens == 0 or not self.reads_once(prompts, max_new_tokens):
            return self._plain(prompts, max_new_tokens, None)
        costs, at_once = portions.costs(self.device, self.width), portions.forward(self.device)
        with internals.evaluating(self.model):
            found = decoding.written(
                self.model, prompts, max_new_tokens, self.pad_id, self.ends, costs, at_once
            )
        return [generation.decoded(self.tokenizer, ids, self.ends) for ids in found]

    @torch.no_grad()
    def drawn(self, prompts: Sequence[Ids], max_new_tokens: int, sampling: Sampling) -> list[Text]:
        """Drawn responses to one batch of prompts."""
        return self._plain(prompts, max_new_tokens, sampling)

    def batches(
        self, prompts: Sequence[Ids], max_new_tokens: int, tokens_per_batch: int, row_tokens: RowTokens
    ) -> list[list[int]]:
        """Which prompts are answered side by side: their numbers, prompts of similar length together.

        Where beginnings are read once, prompts that share them stay together. `tokens_per_batch` are padded
        tokens, answers included; 0: what suits the device.
        """
        lengths = [len(prompt) + max_new_tokens for prompt in prompts]
        row_tokens = self.worth(prompts, max_new_tokens, row_tokens)
        shared = row_tokens != 0 and ranks.by_main(lambda: self.reads_once(prompts, max_new_tokens))
        most = portions.generation(self.device, tokens_per_batch, shared)
        max_tokens = portions.shared(most, sum(lengths), ranks.num_processes())
        if not shared:
            return portions.token_batches(lengths, max_tokens)
        return portions.in_order(
            itertools.chain.from_iterable(packing.families(prompts)), lengths, max_tokens
        )

    def worth(self, prompts: Sequence[Ids], max_new_tokens: int, row_tokens: RowTokens) -> RowTokens:
        """0 where reading beginnings once saves fewer tokens than the proof that the model takes it.

        Whether that was shown before does not count, so that the same prompts are always answered one way.
        """
        saved = packing.share_in_common(prompts) * sum(map(len, prompts))
        longest = max(map(len, prompts), default=1) + max_new_tokens
        return row_tokens if saved >= self.sharing.reading_cost(longest, self.max_length) else 0

    def reads_once(self, prompts: Sequence[Ids], max_new_tokens: int) -> bool:
        """Whether what prompts begin with is read once: where that saves enough and the model takes it."""
        if not self.takes_positions or min(map(len, prompts), default=0) < 2:
            return False
        if packing.share_in_common(prompts) < LEAST_SHARED:
            return False
        longest = max(map(len, prompts)) + max_new_tokens
        ids = plain_ids(self.model, self.tokenizer, self.pad_id)
        with internals.evaluating(self.model):
            return not self.sharing.reading_doubt(longest, self.max_length, ids, self.pad_id)

    def answers(
        self,
        prompts: Sequence[Ids],
        batches: Iterable[Sequence[int]],
        max_new_tokens: int,
        write: Callable[[Sequence[int]], list[Text]],
    ) -> Iterator[dict[int, Answer]]:
        """Answers by the number of their prompt, a batch at a time; `write` gives the texts for some numbers.

        Processes that share a job answer a batch each at a time.
        """
        for together in _in_runs(batches, ranks.num_processes()):
            work = partial(self._answered, prompts, together, max_new_tokens, write)
            parts = divided(self.ledger, [1] * len(together), work)
            yield {place: one for part in parts for place, one in part.items()}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def _answered(
        self,
        prompts: Sequence[Ids],
        batches: Sequence[Sequence[int]],
        max_new_tokens: int,
        write: Callable[[Sequence[int]], list[Text]],
        own: list[int],
    ) -> dict[int, Answer]:
        """The answers to those of some batches that are one's own: one batch, or none."""
        places = [place for number in own for place in batches[number]]
        if not places:
            return {}
        given = [generation.answer(self.tokenizer, *one, max_new_tokens) for one in write(places)]
        found = dict(zip(places, given, strict=True))
        num_tokens = sum(len(prompts[p]) + found[p].num_tokens for p in places)
        self.ledger.forward_tokens += num_tokens
        self.ledger.add_computed(num_tokens)
        return found

    def _plain(self, prompts: Sequence[Ids], max_new_tokens: int, sampling: Sampling | None) -> list[Text]:
        with internals.evaluating(self.model):
            return generation.greedy(
                self.model, self.tokenizer, prompts, max_new_tokens, self.pad_id, self.ends, sampling
            )


def _in_runs(items: Iterable[T], length: int) -> Iterator[list[T]]:
    """The items in runs of that length, the last of what is left."""
    left = iter(items)
    while run := list(itertools.islice(left, length)):
        yield run
