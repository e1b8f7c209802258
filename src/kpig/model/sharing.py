"""Whether a model can be told which tokens share a row: shown on the model at hand, whatever its name."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kpig.model import decoding
from kpig.model.packing import COSTS, Block, Pair, Plan, laid_out, longest_row
from kpig.model.rows import Rows, pad

TOLERANCE = {torch.float32: 1e-3}
"""Largest difference in log p, in nats, that counts as rounding. Measured on the shipped model and on random
Llama, Qwen 3 and GPT-2: 2e-5 at most with float32 weights; Gemma 2, whose attention is windowed: 4 to 7."""

COARSE_TOLERANCE = 0.3
"""The same for other weights, for which rows of their own are no closer: see `probe.COARSE_ROUNDING`."""

ENDS = 8
"""Tokens that the rows of the proof begin with in common, and of their ends that are compared, at most."""


class Sharing:
    """Whether rows that examples share give a model's own log-probabilities, as rows of their own do.

    `logits` is the model's pass without gradient. What was shown for examples of one length holds for
    shorter ones, and is not shown again.
    """

    def __init__(self, model: Any, logits: Callable[[Rows], Tensor]):
        self._model, self._logits = model, logits
        self._fine_to = 0
        self._doubt, self._doubted_from = "", 0
        self._writing_doubt: str | None = None

    def doubt(self, longest: int, ids: Sequence[int], pad_id: int) -> str:
        """What speaks against shared rows where the longest example has so many tokens; "" for nothing.

        The proof takes one pass over a row as long as shared rows may be, in which branches part from a
        common beginning, and one over the first and last branch alone, of random `ids`.
        """
        longest = max(longest, 4)
        window = getattr(self._model.config, "sliding_window", None)
        if window and longest > window:
            return f"its attention reaches back {window} tokens, and an example has {longest}"
        if self._doubt and longest >= self._doubted_from:
            return self._doubt
        if longest > self._fine_to:
            if found := self._shown(_branches(longest, ids), pad_id):
                self._doubt, self._doubted_from = found, longest
                return found
            self._fine_to = longest
        return ""

    def reading_doubt(self, longest: int, most: int, ids: Sequence[int], pad_id: int) -> str:
        """What speaks against answers from prompts that are read in shared rows; "" for nothing.

        `longest` are the tokens of a prompt and its answer, `most` those that the model takes. Shown for
        lengths of few steps, so that the next somewhat longer prompt needs no proof of its own.
        """
        if found := self.doubt(self._bound(longest, most), ids, pad_id):
            return found
        if self._writing_doubt is None:
            self._writing_doubt = self._written(ids, pad_id)
        return self._writing_doubt

    def reading_cost(self, longest: int, most: int) -> int:
        """The tokens that the proof for `reading_doubt` computes, if it is not made yet."""
        bound = self._bound(longest, most)
        return longest_row(bound) + 2 * bound

    def _bound(self, longest: int, most: int) -> int:
        """The length that is shown in place of `longest`: within a window where that is within."""
        window = getattr(self._model.config, "sliding_window", None) or most
        return max(longest, min(1 << (longest - 1).bit_length(), most, max(longest, window)))

    def _written(self, ids: Sequence[int], pad_id: int) -> str:
        """What speaks against a cache filled from shared rows: two tokens of three answers tell it."""
        rng = random.Random(0)
        beginning = rng.choices(ids, k=ENDS)
        pairs = [((*beginning, *rng.choices(ids, k=count)), rng.choices(ids, k=2)) for count in (1, 3, 5)]
        device = next(self._model.parameters()).device
        try:
            with torch.autocast(device.type, enabled=False):
                found = decoding.predicted(self._model, pairs, pad_id, COSTS, longest_row(ENDS))
                alone = self._logits(pad(pairs, pad_id).to(device)).float().log_softmax(-1)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
            return f"it does not go on from a cache that is made for it ({type(error).__name__})"
        gap = float((found.flatten(0, 1).float().log_softmax(-1) - alone).abs().max())
        if gap <= TOLERANCE.get(next(self._model.parameters()).dtype, COARSE_TOLERANCE):
            return ""
        return f"its log-probabilities change by {gap:.2g} when it goes on from a cache that is made for it"

    def _shown(self, branches: Sequence[Pair], pad_id: int) -> str:
        device = next(self._model.parameters()).device
        ends = (branches[0], branches[-1])
        rows = (laid_out(branches, _one_row(branches), pad_id), pad(ends, pad_id))
        try:
            with torch.autocast(device.type, enabled=False):
                shared, alone = (self._logits(one.to(device)).float().log_softmax(-1) for one in rows)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return f"it takes no mask of which examples share a row ({type(error).__name__})"
        first, last = (len(branch[1]) for branch in ends)
        gap = float((torch.cat([shared[:first], shared[-last:]]) - alone).abs().max())
        if gap <= TOLERANCE.get(next(self._model.parameters()).dtype, COARSE_TOLERANCE):
            return ""
        return (
            f"its log-probabilities change by {gap:.2g} when examples share a row, so its attention is "
            "not a plain causal one"
        )


def has_dropout(model: nn.Module) -> bool:
    """Whether chance has a part in the passes of a model that is trained: examples that share a row share it.

    Attention keeps its share of dropout as a plain number.
    """
    return any(
        (isinstance(module, nn.Dropout) and module.p > 0)
        or any(
            "dropout" in name and isinstance(value, float) and value > 0
            for name, value in vars(module).items()
        )
        for module in model.modules()
    )


def plain_ids(model: Any, tokenizer: Any, pad_id: int) -> list[int]:
    """Ids among the first of the embedding that stand for text, the same for the same vocabulary."""
    num_ids = min(model.get_input_embeddings().weight.shape[0], len(tokenizer))
    special = {pad_id, tokenizer.eos_token_id}
    return [number for number in range(min(num_ids, 1000)) if number not in special] or [0]


def _branches(longest: int, ids: Sequence[int]) -> list[Pair]:
    """Prompts and responses of `longest` tokens that begin alike, as many as the longest row has room for."""
    rng = random.Random(0)
    num_ends = min(ENDS, longest // 4)
    beginning = rng.choices(ids, k=num_ends)
    num_own = longest - num_ends
    found: list[Pair] = []
    for _ in range((longest_row(longest) - num_ends) // num_own):
        own = rng.choices(ids, k=num_own)
        found.append(((*beginning, *own[:-num_ends]), own[-num_ends:]))
    return found


def _one_row(branches: Sequence[Pair]) -> Plan:
    lengths = tuple(len(prompt) + len(response) for prompt, response in branches)
    num_ends = len(branches[0][1])
    shared = (0, *(num_ends for _ in branches[1:]))
    block = Block(tuple(range(len(branches))), lengths, shared)
    return Plan(((block,),), block.size)
