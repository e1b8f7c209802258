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

COARSE_TOLERANCE, COARSE_MEAN = 1.0, 0.15
"""The same for other weights, and for the root of the mean square. Measured on SmolLM2-135M held in bfloat16,
64 to 384 tokens: 0.34 to 0.40, and 0.04 to 0.07. Rows of their own that are padded on the other side are no
closer: 0.34 to 0.54, and 0.07 to 0.08."""

COARSE_LEAK = 1e-2
"""What may change with other weights where nothing does but the examples beside, in a row of the same shape.
What a mask hides is multiplied by 0, so that rounding is no excuse: 0 was measured. Chosen."""

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
            alone = self._log_probs(pad(pairs, pad_id))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
            return f"it does not go on from a cache that is made for it ({type(error).__name__})"
        gap = found.flatten(0, 1).float().log_softmax(-1) - alone
        if self._is_rounding(gap):
            return ""
        return (
            f"its log-probabilities change by {float(gap.abs().max()):.2g} when it goes on from a cache that "
            "is made for it"
        )

    def _shown(self, branches: Sequence[Pair], pad_id: int) -> str:
        ends = (branches[0], branches[-1])
        rows = (laid_out(branches, _one_row(branches), pad_id), pad(ends, pad_id))
        try:
            shared, alone = map(self._log_probs, rows)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return f"it takes no mask of which examples share a row ({type(error).__name__})"
        gap = _of_ends(shared, branches) - alone
        if self._is_rounding(gap) and not self._leaks(branches, shared, pad_id):
            return ""
        return (
            f"its log-probabilities change by {float(gap.abs().max()):.2g} when examples share a row, so its "
            "attention is not a plain causal one"
        )

    @property
    def _is_coarse(self) -> bool:
        return next(self._model.parameters()).dtype not in TOLERANCE

    def _is_rounding(self, gap: Tensor) -> bool:
        """Whether differences in log p may be rounding, with weights of the model's kind."""
        most, mean = float(gap.abs().max()), float(gap.square().mean().sqrt())
        if self._is_coarse:
            return most <= COARSE_TOLERANCE and mean <= COARSE_MEAN
        return most <= TOLERANCE[next(self._model.parameters()).dtype]

    def _leaks(self, branches: Sequence[Pair], shared: Tensor, pad_id: int) -> bool:
        """Whether the ends of a row change with what is between them; asked of coarse weights alone."""
        if not self._is_coarse or len(branches) < 3:
            return False
        turned = [(prompt[::-1], response[::-1]) for prompt, response in branches[1:-1]]
        begin = branches[0][0][: len(branches[0][1])]
        between = [((*begin, *prompt[: len(prompt) - len(begin)]), response) for prompt, response in turned]
        others = [branches[0], *between, branches[-1]]
        changed = self._log_probs(laid_out(others, _one_row(others), pad_id))
        gap = _of_ends(changed, branches) - _of_ends(shared, branches)
        return float(gap.abs().max()) > COARSE_LEAK

    def _log_probs(self, rows: Rows) -> Tensor:
        device = next(self._model.parameters()).device
        with torch.autocast(device.type, enabled=False):
            return self._logits(rows.to(device)).float().log_softmax(-1)


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


def _of_ends(log_probs: Tensor, branches: Sequence[Pair]) -> Tensor:
    """Those of the responses of the first and the last branch."""
    first, last = (len(branch[1]) for branch in (branches[0], branches[-1]))
    return torch.cat([log_probs[:first], log_probs[-last:]])


def _one_row(branches: Sequence[Pair]) -> Plan:
    lengths = tuple(len(prompt) + len(response) for prompt, response in branches)
    num_ends = len(branches[0][1])
    shared = (0, *(num_ends for _ in branches[1:]))
    block = Block(tuple(range(len(branches))), lengths, shared)
    return Plan(((block,),), block.size)
