"""Encoded examples to batches that carry an example and its masked twin.

Shape letters: E examples of a batch, N response tokens of all of them together, M those of their masked
twins, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kpig.model.encoding import Encoded
from kpig.model.packing import Pair, common_beginning, pack
from kpig.model.rows import Rows, pad
from kpig.records import Example


@dataclass(frozen=True)
class Batch:
    """E examples as rows of token ids: the originals, and apart from them the masked twins.

    There are two orders. What stands for an example (`examples`, `places`, `replayed`) is in the order of
    `examples`. What stands for a response token (`rows.target`, `example`, and logits) begins with all
    tokens of the first example, end of sequence included, then those of the second, and so on: N in all,
    in this order also where examples share rows. All tensors of a batch are on one device.
    """

    examples: tuple[Example, ...]
    """The E examples. Those of an update come sorted by length or instruction, current and replayed mixed."""

    places: tuple[int, ...]
    """The number that each example had in the sequence from which the batch was cut, E in all."""

    rows: Rows
    """The originals. Example e is row e, unless rows are shared (`train.row_tokens`); `rows.row` tells.

    `rows.target` holds the N response tokens; where `Method.reading` asks for the prompts, their tokens
    follow after these.
    """

    twins: Rows | None
    """The masked twins of the examples with key parts, in the order of `examples`.

    Their M targets are the response tokens of these examples once more. None where no example has key
    parts, and in a batch without twins.
    """

    num_tokens: int
    """N, what the loop divides a sum over response tokens by; prompts that are read do not count."""

    example: Tensor
    """[N] integers: the example of each response token, as its place in `examples`."""

    twin_of: Tensor
    """[M] integers: for each target of `twins` the same token's index among the N of the originals.

    So `example[twin_of]` [M] is the example of each target of `twins`.
    """

    replayed: Tensor
    """[E] booleans: True where the example came from `Method.replay`, False for one of the current step.

    False throughout in batches that the training loop did not make. For each response token:
    `replayed[example]` [N].
    """

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return replace(
            self,
            rows=self.rows.to(device),
            twins=None if self.twins is None else self.twins.to(device),
            example=self.example.to(device),
            twin_of=self.twin_of.to(device),
            replayed=self.replayed.to(device),
        )


@dataclass(frozen=True)
class Logits:
    """What the model predicts in a batch: `rows` [N, V] for originals, `twins` [M, V] for masked twins.

    Row by row they belong to `batch.rows.target` and `batch.twins.target`; `twins` is None where
    `batch.twins` is.
    """

    rows: Tensor
    twins: Tensor | None


@dataclass(frozen=True)
class Layout:
    """How examples are laid out in batches.

    About `max_tokens` padded tokens in each, twins included; 0 leaves it to the device. `twins`, `row_tokens`
    and `reading` as in `collate`.
    """

    max_tokens: int = 0
    twins: bool = False
    row_tokens: int = 0
    reading: bool = False


PLAIN = Layout()
"""Originals only, a row for each."""


def in_batches(
    encoded: Sequence[Encoded], pad_id: int, layout: Layout, num_replayed: int = 0
) -> Iterator[Batch]:
    """All examples in batches, the last `num_replayed` marked as replayed; each is made when it is asked for.

    Examples of a batch are of similar length, or stand under neighbouring instructions where they share rows.
    """
    first_replayed = len(encoded) - num_replayed
    for places in _grouped(encoded, layout):
        yield collate(
            [encoded[place] for place in places],
            pad_id,
            layout.twins,
            row_tokens=layout.row_tokens,
            reading=layout.reading,
            places=places,
            replayed=[place >= first_replayed for place in places],
        )


def collate(
    encoded: Sequence[Encoded],
    pad_id: int,
    twins: bool = False,
    pad_side: str = "right",
    row_tokens: int = 0,
    reading: bool = False,
    places: Sequence[int] | None = None,
    replayed: Sequence[bool] | None = None,
) -> Batch:
    """One batch of examples, on the CPU; with `twins`, the masked twins follow as rows of their own.

    An example without key parts has no twin. `pad_side` changes nothing but the place of the padding.
    With `row_tokens`, examples under one instruction share rows of up to that many tokens; `reading`
    adds the prompt tokens that are not shared to the targets, after the response tokens. `places` are
    0 to E - 1 and `replayed` is False throughout where not given.
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

    def rows(pairs: list[Pair], items: Sequence[Encoded], read: bool = False) -> Rows:
        if not row_tokens:
            return pad(pairs, pad_id, pad_side)
        return pack(pairs, [item.example.instruction.text for item in items], pad_id, row_tokens, read)

    return Batch(
        examples=tuple(item.example for item in encoded),
        places=tuple(range(len(encoded)) if places is None else places),
        rows=rows([(item.prompt, item.response) for item in encoded], encoded, reading),
        twins=rows([(item.masked_prompt or (), item.response) for item in annotated], annotated)
        if annotated
        else None,
        num_tokens=len(example),
        example=torch.tensor(example, dtype=torch.long),
        twin_of=torch.tensor(twin_of, dtype=torch.long),
        replayed=torch.tensor([False] * len(encoded) if replayed is None else replayed, dtype=torch.bool),
    )


def packed_batches(encoded: Sequence[Encoded], max_tokens: int, twins: bool) -> list[list[int]]:
    """Indices in groups for `collate` with `row_tokens`, short instructions first.

    About `max_tokens` per group, when what neighbours share counts once.
    """
    groups: list[list[int]] = []
    size = 0
    last: Encoded | None = None
    texts = [item.example.instruction.text for item in encoded]
    for index in sorted(range(len(encoded)), key=lambda i: (len(texts[i]), texts[i], i)):
        item = encoded[index]
        shared = 0 if last is None else len(common_beginning([last.prompt, item.prompt]))
        own = (item.num_tokens - shared) * (2 if twins else 1)
        if not groups or size + own > max_tokens:
            groups.append([])
            size, own = 0, item.num_tokens * (2 if twins else 1)
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


def _grouped(encoded: Sequence[Encoded], layout: Layout) -> list[list[int]]:
    if layout.row_tokens:
        return packed_batches(encoded, layout.max_tokens, layout.twins)
    return token_batches(
        [item.num_tokens * (2 if layout.twins else 1) for item in encoded], layout.max_tokens
    )


def _token_ranges(encoded: Sequence[Encoded]) -> list[range]:
    ranges: list[range] = []
    start = 0
    for item in encoded:
        ranges.append(range(start, start + len(item.response)))
        start += len(item.response)
    return ranges
