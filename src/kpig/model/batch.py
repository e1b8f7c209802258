"""Encoded examples to batches that carry an example and its masked twin.

Shape letters: E examples of a batch, N response tokens of all of them together, M those of their masked
twins, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kpig.config.section import AUTO
from kpig.model import packing, portions
from kpig.model.encoding import Encoded
from kpig.model.packing import COSTS, Costs, Pair, RowTokens, num_shared
from kpig.model.rows import Rows, join, pad
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

    both: Rows | None
    """Originals and masked twins for one pass: the N targets of the responses, then the M of the twins.

    Where rows are shared, a twin shares the beginning of its prompt with its original. None where `twins` is.
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

    @property
    def with_twins(self) -> tuple[int, ...]:
        """The numbers of the examples whose masked twins it has, rising."""
        return tuple(sorted(set(self.example[self.twin_of].tolist())))

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return replace(
            self,
            rows=self.rows.to(device),
            twins=None if self.twins is None else self.twins.to(device),
            both=None if self.both is None else self.both.to(device),
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
    and `reading` as in `collate`. By `costs` it is counted what pays. A learner makes "auto" into 0 where
    rows of their own cost no more, or where its model cannot share rows.
    """

    max_tokens: int = 0
    twins: bool = False
    row_tokens: RowTokens = 0
    reading: bool = False
    costs: Costs = COSTS


PLAIN = Layout()
"""Originals only, a row for each."""

LEAST_REAL = 0.85
"""The share of real tokens below which padded rows of further examples make a batch of their own. Chosen."""


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
            costs=layout.costs,
            places=places,
            replayed=[place >= first_replayed for place in places],
        )


def collate(
    encoded: Sequence[Encoded],
    pad_id: int,
    twins: bool = False,
    pad_side: str = "right",
    row_tokens: RowTokens = 0,
    reading: bool = False,
    costs: Costs = COSTS,
    places: Sequence[int] | None = None,
    replayed: Sequence[bool] | None = None,
) -> Batch:
    """One batch of examples, on the CPU; with `twins`, the masked twins follow as rows of their own.

    An example without key parts has no twin. `pad_side` changes nothing but the place of the padding.
    With `row_tokens`, examples share rows as in `packing.plan`; `reading` then adds the tokens of each prompt
    behind what all prompts under its instruction begin with to the targets, after the response tokens.
    `places` are 0 to E - 1 and `replayed` is False throughout where not given.
    """
    token_ranges = _token_ranges(encoded)
    example = [number for number, tokens in enumerate(token_ranges) for _ in tokens]
    twin_of = [
        index
        for item, tokens in zip(encoded, token_ranges, strict=True)
        if twins and item.masked_prompt is not None
        for index in tokens
    ]
    own, masked = _originals(encoded), _masked(encoded) if twins else []
    twin_rows = one_layout(masked, pad_id, row_tokens, costs, pad_side) if masked else None
    if row_tokens:
        groups = [item.example.instruction.text for item in encoded]
        read_from = packing.read_after_shared(own, groups) if reading else ()
        rows = packing.laid_out(own, packing.plan(own, row_tokens, costs), pad_id, read_from)
        both = packing.pack([*own, *masked], pad_id, row_tokens, costs) if masked else None
    else:
        rows = pad(own, pad_id, pad_side)
        both = None if twin_rows is None else join(rows, twin_rows, pad_id)
    return Batch(
        examples=tuple(item.example for item in encoded),
        places=tuple(range(len(encoded)) if places is None else places),
        rows=rows,
        twins=twin_rows,
        both=both,
        num_tokens=len(example),
        example=torch.tensor(example, dtype=torch.long),
        twin_of=torch.tensor(twin_of, dtype=torch.long),
        replayed=torch.tensor([False] * len(encoded) if replayed is None else replayed, dtype=torch.bool),
    )


def one_layout(
    pairs: Sequence[Pair], pad_id: int, row_tokens: RowTokens, costs: Costs = COSTS, pad_side: str = "right"
) -> Rows:
    """The pairs in shared rows, as in `packing.plan`, or with 0 `row_tokens` in a row for each."""
    return packing.pack(pairs, pad_id, row_tokens, costs) if row_tokens else pad(pairs, pad_id, pad_side)


def packed_batches(encoded: Sequence[Encoded], max_tokens: int, twins: bool) -> list[list[int]]:
    """Indices in groups for `collate` with `row_tokens`: neighbours are those whose prompts share most.

    About `max_tokens` per group, when what neighbours share counts once.
    """
    groups: list[list[int]] = []
    size = 0
    for index in sorted(range(len(encoded)), key=lambda one: (encoded[one].prompt, one)):
        item, last = encoded[index], encoded[groups[-1][-1]] if groups else None
        own = _num_new(item, last, twins)
        if last is None or size + own > max_tokens:
            groups.append([])
            size, own = 0, _num_new(item, None, twins)
        groups[-1].append(index)
        size += own
    return groups


def _num_new(item: Encoded, last: Encoded | None, twins: bool) -> int:
    """The tokens that an example adds to shared rows in which the last one stands, None for none."""
    own = len(item.prompt) + len(item.response)
    own -= 0 if last is None else num_shared(last.prompt, item.prompt)
    if not twins or item.masked_prompt is None:
        return own
    beginning = item.prompt if last is None or last.masked_prompt is None else last.masked_prompt
    return own + len(item.masked_prompt) + len(item.response) - num_shared(beginning, item.masked_prompt)


def sharing_pays(encoded: Sequence[Encoded], layout: Layout) -> bool:
    """Whether shared rows of a layout cost less than a row for each example, by the count of their tokens."""
    shared, alone = replace(layout, row_tokens=AUTO), replace(layout, row_tokens=0)
    return _cost(encoded, shared) < _cost(encoded, alone)


def _cost(encoded: Sequence[Encoded], layout: Layout) -> float:
    """What the passes over all batches cost, in tokens."""
    groups = _grouped(encoded, layout)
    total: float = layout.costs.further_pass * len(groups)
    for group in groups:
        items = [encoded[index] for index in group]
        pairs = [*_originals(items), *(_masked(items) if layout.twins else ())]
        if layout.row_tokens:
            total += packing.plan(pairs, layout.row_tokens, layout.costs).cost
        else:
            total += layout.costs.rows(
                len(pairs), max(len(prompt) + len(response) for prompt, response in pairs)
            )
    return total


def _grouped(encoded: Sequence[Encoded], layout: Layout) -> list[list[int]]:
    if layout.row_tokens:
        return packed_batches(encoded, layout.max_tokens, layout.twins)
    twins = [layout.twins and item.masked_prompt is not None for item in encoded]
    lengths = [item.num_tokens * (1 + has) for item, has in zip(encoded, twins, strict=True)]
    return portions.token_batches(lengths, layout.max_tokens, LEAST_REAL, layout.costs.further_pass)


def _originals(encoded: Sequence[Encoded]) -> list[Pair]:
    return [(item.prompt, item.response) for item in encoded]


def _masked(encoded: Sequence[Encoded]) -> list[Pair]:
    """The masked twins, of the examples that have key parts."""
    return [(item.masked_prompt, item.response) for item in encoded if item.masked_prompt is not None]


def _token_ranges(encoded: Sequence[Encoded]) -> list[range]:
    ranges: list[range] = []
    start = 0
    for item in encoded:
        ranges.append(range(start, start + len(item.response)))
        start += len(item.response)
    return ranges
