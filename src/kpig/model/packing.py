"""Several examples in one row: what their prompts begin with is held and computed once.

Each example attends to the shared beginning of its group and to itself, at the positions it would have
alone, so every response token gets the logits it would get in a row of its own. Shape letters as in rows.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kpig.model.rows import Rows

Pair = tuple[Sequence[int], Sequence[int]]
PADDING = -1


@dataclass(frozen=True)
class Block:
    """Examples of one group, by their numbers, with the `prefix` of ids that all their prompts begin with."""

    prefix: tuple[int, ...]
    members: tuple[int, ...]
    size: int


def pack(
    pairs: Sequence[Pair], groups: Sequence[Hashable], pad_id: int, row_tokens: int, reading: bool = False
) -> Rows:
    """Rows of (prompt, response) pairs of ids, filled up to `row_tokens` and padded to the longest.

    Pairs with the same entry in `groups` share the longest common beginning of their prompts. A pair
    longer than `row_tokens` gets a row of that length. `attention_mask` is [R, 1, L, L], True where the
    first position attends to the second. Targets come in the order of the pairs, whatever their places;
    with `reading`, the prompt tokens after the shared beginning follow as further targets.
    """
    placed = _placed(_blocks(pairs, groups, row_tokens), row_tokens)
    length = max(sum(block.size for block in row) for row in placed)
    shape = (len(placed), length)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    position_ids = torch.zeros(shape, dtype=torch.long)
    group = torch.full(shape, PADDING, dtype=torch.long)
    member = torch.full(shape, PADDING, dtype=torch.long)
    is_shared = torch.zeros(shape, dtype=torch.bool)
    places: dict[int, tuple[int, list[int]]] = {}
    for row, blocks in enumerate(placed):
        start = 0
        for number, block in enumerate(blocks):
            shared = range(start, start + len(block.prefix))
            group[row, start : start + block.size] = number
            input_ids[row, start : shared.stop] = torch.tensor(block.prefix, dtype=torch.long)
            position_ids[row, start : shared.stop] = torch.arange(len(block.prefix))
            is_shared[row, start : shared.stop] = True
            start = shared.stop
            for one in block.members:
                ids = (*pairs[one][0], *pairs[one][1])[len(shared) :]
                stop = start + len(ids)
                input_ids[row, start:stop] = torch.tensor(ids, dtype=torch.long)
                position_ids[row, start:stop] = torch.arange(len(shared), len(shared) + len(ids))
                member[row, start:stop] = one
                places[one] = (row, [*shared, *range(start, stop)])
                start = stop
    num_shared = {one: len(block.prefix) for row in placed for block in row for one in block.members}
    row_of, column_of, target = _targets(pairs, places, num_shared, reading)
    attention_mask = _mask(group, member, is_shared)
    num_tokens = int((group != PADDING).sum())
    return Rows(input_ids, attention_mask, position_ids, row_of, column_of, target, num_tokens)


def common_beginning(prompts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The longest run of ids that all prompts begin with."""
    first, last = min(prompts, key=tuple), max(prompts, key=tuple)
    pairs = enumerate(zip(first, last, strict=False))
    length = next((place for place, (one, other) in pairs if one != other), min(len(first), len(last)))
    return tuple(first[:length])


def _blocks(pairs: Sequence[Pair], groups: Sequence[Hashable], row_tokens: int) -> list[Block]:
    """The groups, cut so that a block fits into a row where that is possible.

    Where the shared beginning takes more than half a row, a block may be twice as long as that beginning.
    """
    members: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    blocks = []
    for numbers in members.values():
        prefix = common_beginning([pairs[number][0] for number in numbers]) if len(numbers) > 1 else ()
        taken: list[int] = []
        size = len(prefix)
        for number in numbers:
            own = len(pairs[number][0]) + len(pairs[number][1]) - len(prefix)
            if taken and size + own > max(row_tokens, 2 * len(prefix)):
                blocks.append(Block(prefix, tuple(taken), size))
                taken, size = [], len(prefix)
            taken.append(number)
            size += own
        blocks.append(Block(prefix, tuple(taken), size))
    return blocks


def _placed(blocks: Sequence[Block], row_tokens: int) -> list[list[Block]]:
    """The blocks in rows, largest first, each in the first row with room for it.

    All rows are as long as the longest block needs, since they are padded to that length anyway.
    """
    capacity = max(row_tokens, *(block.size for block in blocks))
    rows: list[list[Block]] = []
    room: list[int] = []
    for block in sorted(blocks, key=lambda one: (-one.size, one.members)):
        fits = next((number for number, left in enumerate(room) if left >= block.size), None)
        if fits is None:
            fits = len(rows)
            rows.append([])
            room.append(capacity)
        rows[fits].append(block)
        room[fits] -= block.size
    return rows


def _targets(
    pairs: Sequence[Pair],
    places: dict[int, tuple[int, list[int]]],
    num_shared: dict[int, int],
    reading: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    spans = [
        (number, len(prompt), len(prompt) + len(response)) for number, (prompt, response) in enumerate(pairs)
    ]
    if reading:
        spans += [
            (number, max(1, num_shared[number]), len(prompt)) for number, (prompt, _) in enumerate(pairs)
        ]
    for number, start, stop in spans:
        row, columns_of = places[number]
        ids = (*pairs[number][0], *pairs[number][1])
        rows += [row] * max(0, stop - start)
        columns += [columns_of[position - 1] for position in range(start, stop)]
        targets += ids[start:stop]
    found = [torch.tensor(values, dtype=torch.long) for values in (rows, columns, targets)]
    return found[0], found[1], found[2]


def _mask(group: Tensor, member: Tensor, is_shared: Tensor) -> Tensor:
    """[R, 1, L, L]: backwards only, within a group, to its shared beginning or to the same member.

    Padding attends to padding, so that no position is left with nothing to attend to.
    """
    length = group.shape[1]
    same_group = group.unsqueeze(2) == group.unsqueeze(1)
    same_member = member.unsqueeze(2) == member.unsqueeze(1)
    backwards = torch.ones(length, length, dtype=torch.bool).tril()
    return (same_group & (same_member | is_shared.unsqueeze(1)) & backwards).unsqueeze(1)
