"""Padded sequences of token ids, and where in them the response tokens are predicted.

Shape letters: R rows, L sequence, N response tokens of all rows together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Padded sequences and where their response tokens are predicted.

    `input_ids`, `position_ids` are [R, L], `attention_mask` too, or [R, 1, L, L] where examples share a
    row (`kpig.model.packing`). Response token n of N is `target[n]`; the position before it, which predicts
    it, is (`row[n]`, `column[n]`). Positions are found row by row, so twins with prompts of different
    lengths need no alignment. `num_tokens` are the tokens that the model is shown: those of each example,
    without padding, the same however the examples are laid out.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    row: Tensor
    column: Tensor
    target: Tensor
    num_tokens: int

    @property
    def num_computed(self) -> int:
        """The tokens that a pass computes: padding included, and once what examples share."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> "Rows":
        """The same rows on another device."""
        return Rows(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.position_ids.to(device),
            self.row.to(device),
            self.column.to(device),
            self.target.to(device),
            self.num_tokens,
        )


def pad(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int, side: str = "right") -> Rows:
    """Rows from (prompt, response) pairs of ids, padded to the longest on one side."""
    length = max(len(prompt) + len(response) for prompt, response in pairs)
    input_ids = torch.full((len(pairs), length), pad_id, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for number, (prompt, response) in enumerate(pairs):
        ids = (*prompt, *response)
        start = length - len(ids) if side == "left" else 0
        input_ids[number, start : start + len(ids)] = torch.tensor(ids)
        attention_mask[number, start : start + len(ids)] = 1
        first = start + len(prompt) - 1
        rows += [number] * len(response)
        columns += range(first, first + len(response))
        targets += response
    position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
    row, column, target = (torch.tensor(values, dtype=torch.long) for values in (rows, columns, targets))
    num_tokens = int(attention_mask.sum())
    return Rows(input_ids, attention_mask, position_ids, row, column, target, num_tokens)


def join(first: Rows, second: Rows, pad_id: int) -> Rows:
    """The rows of both as one, so that one forward pass serves an original and its twin."""
    length = max(first.input_ids.shape[1], second.input_ids.shape[1])
    parts = [_widened(rows, length, pad_id) for rows in (first, second)]
    row = torch.cat([first.row, second.row + first.input_ids.shape[0]])
    column, target = torch.cat([first.column, second.column]), torch.cat([first.target, second.target])
    input_ids, attention_mask, position_ids = (torch.cat(pair) for pair in zip(*parts, strict=True))
    num_tokens = first.num_tokens + second.num_tokens
    return Rows(input_ids, attention_mask, position_ids, row, column, target, num_tokens)


def _widened(rows: Rows, length: int, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    extra = (0, length - rows.input_ids.shape[1])
    widen = torch.nn.functional.pad
    return (
        widen(rows.input_ids, extra, value=pad_id),
        _widened_mask(rows.attention_mask, extra[1]),
        widen(rows.position_ids, extra),
    )


def _widened_mask(mask: Tensor, extra: int) -> Tensor:
    """New positions are padding; in a [R, 1, L, L] mask they attend to themselves, for softmax needs one."""
    if mask.dim() == 2:
        return torch.nn.functional.pad(mask, (0, extra))
    wide = torch.nn.functional.pad(mask, (0, extra, 0, extra))
    new = torch.arange(mask.shape[-1], wide.shape[-1], device=mask.device)
    wide[:, :, new, new] = True
    return wide
