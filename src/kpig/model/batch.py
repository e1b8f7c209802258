"""Encoded examples to batches that carry an example and its masked twin.

Shape letters: N response tokens of all examples together, M those of their masked twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kpig.config import TrainSection
from kpig.model import portions
from kpig.model.encoding import Encoded
from kpig.model.packing import common_beginning, pack
from kpig.model.rows import Rows, pad
from kpig.records import Example

if TYPE_CHECKING:
    from kpig.model.learner import Learner


@dataclass(frozen=True)
class Batch:
    """Examples as rows: all originals, then the masked twin of every example that has one.

    `twin_of` [M] gives for each twin response token the index of its original token among the first N.
    `example` [N] gives the example of each original token.
    """

    examples: tuple[Example, ...]
    rows: Rows
    twins: Rows | None
    num_tokens: int
    example: Tensor
    twin_of: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        twins = None if self.twins is None else self.twins.to(device)
        rows, example, twin_of = self.rows.to(device), self.example.to(device), self.twin_of.to(device)
        return Batch(self.examples, rows, twins, self.num_tokens, example, twin_of)


def collate(
    encoded: Sequence[Encoded],
    pad_id: int,
    twins: bool = False,
    pad_side: str = "right",
    row_tokens: int = 0,
    reading: bool = False,
) -> Batch:
    """One batch of examples; with `twins`, the masked twins follow as rows of their own.

    An example without key parts has no twin. `pad_side` changes nothing but the place of the padding.
    With `row_tokens`, examples under one instruction share rows of up to that many tokens; `reading`
    adds the prompt tokens that are not shared to the targets, after the response tokens.
    """
    annotated = [item for item in encoded if twins and item.masked_prompt is not None]
    token_ranges = _token_ranges(encoded)
    example = [number for number, tokens in enumerate(token_ranges) for _ in tokens]
    twin_of = [
        index
        for item, tokens in zip(encoded, token_ranges, strict=True)
        if twins and item.masked_prompt is not None
        for index in tokens
    ]

    def rows(pairs: list, items: Sequence[Encoded], read: bool = False) -> Rows:
        if not row_tokens:
            return pad(pairs, pad_id, pad_side)
        return pack(pairs, [item.example.instruction.text for item in items], pad_id, row_tokens, read)

    return Batch(
        examples=tuple(item.example for item in encoded),
        rows=rows([(item.prompt, item.response) for item in encoded], encoded, reading),
        twins=rows([(item.masked_prompt, item.response) for item in annotated], annotated)
        if annotated
        else None,
        num_tokens=len(example),
        example=torch.tensor(example, dtype=torch.long),
        twin_of=torch.tensor(twin_of, dtype=torch.long),
    )


def micro_batches(
    learner: Learner,
    examples: Sequence[Example],
    paired: bool,
    settings: TrainSection,
    reading: bool = False,
) -> list[Batch]:
    """The examples of one update in groups within the token budget: of similar length, or sharing rows."""
    encoded = [learner.encoder.encode(example) for example in examples]
    budget = portions.training(learner, settings.tokens_per_micro_batch)
    if settings.row_tokens:
        groups = packed_batches(encoded, budget, paired)
    else:
        lengths = [item.num_tokens * (2 if paired else 1) for item in encoded]
        groups = token_batches(lengths, budget)
    layout = {"twins": paired, "row_tokens": settings.row_tokens, "reading": reading}
    return [collate([encoded[index] for index in group], learner.pad_id, **layout) for group in groups]


def packed_batches(encoded: Sequence[Encoded], max_tokens: int, paired: bool) -> list[list[int]]:
    """Indices in groups for `collate` with `row_tokens`, short instructions first.

    About `max_tokens` per group, when what neighbours share counts once.
    """
    groups: list[list[int]] = []
    size, last = 0, None
    texts = [item.example.instruction.text for item in encoded]
    for index in sorted(range(len(encoded)), key=lambda i: (len(texts[i]), texts[i], i)):
        item = encoded[index]
        shared = 0 if last is None else len(common_beginning([last.prompt, item.prompt]))
        own = (item.num_tokens - shared) * (2 if paired else 1)
        if not groups or size + own > max_tokens:
            groups.append([])
            size, own = 0, item.num_tokens * (2 if paired else 1)
        groups[-1].append(index)
        size, last = size + own, item
    return groups


def token_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices grouped by similar length so that rows × longest row stays within `max_tokens` per group.

    A row longer than the budget makes a group of its own. Longest first, so that memory runs out early.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[groups[-1][0]] if groups else 0
        if groups and (len(groups[-1]) + 1) * longest <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _token_ranges(encoded: Sequence[Encoded]) -> list[range]:
    ranges, start = [], 0
    for item in encoded:
        ranges.append(range(start, start + len(item.response)))
        start += len(item.response)
    return ranges
