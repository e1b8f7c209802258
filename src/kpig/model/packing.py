"""Several examples in one row: what their prompts begin with is held and computed once.

The prompts of a row are the paths of a tree, without the tree being written down: in sorted order, what a
prompt shares with any earlier one it shares with the one before it. So each goes on from that one's columns,
at the positions it would have alone, and attends to these and to its own; its response follows it. Every
response token gets the logits that it would get in a row of its own. Shape letters as in rows.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from kpig.config.section import AUTO
from kpig.model.rows import Rows

Ids = Sequence[int]
Pair = tuple[Ids, Ids]

RowTokens = int | Literal["auto"]
"""How long shared rows may be, in tokens; "auto" leaves it to counting what each length would cost."""

LENGTHS = (128, 192, 256, 320, 384, 448, 512)
"""Lengths of rows that counting tries. In longer ones attention costs more than what is shared saves."""


@dataclass(frozen=True)
class Costs:
    """What passes of a model cost on a machine, in tokens of a very short row.

    `reach` is the length of a row at which attention costs as much as everything else; one more forward and
    backward pass costs `further_pass` beside its rows.
    """

    reach: int = 2048
    further_pass: int = 0

    def rows(self, num_rows: int, length: int) -> float:
        """What a pass over so many rows of one length costs, padding included."""
        return num_rows * length * (1 + length / self.reach)


COSTS = Costs()
"""Where neither model nor machine is known."""


@dataclass(frozen=True)
class Block:
    """Pairs by their numbers, in the order of their prompts, that share what these begin with.

    Member n would have `lengths[n]` tokens alone, and takes `shared[n]` of them from the member before it.
    """

    members: tuple[int, ...]
    lengths: tuple[int, ...]
    shared: tuple[int, ...]

    @cached_property
    def size(self) -> int:
        """Tokens of the block in a row."""
        return sum(self.lengths) - sum(self.shared)

    def part(self, start: int, stop: int) -> "Block":
        """Some of the members as a block of their own; its first shares nothing."""
        shared = (0, *self.shared[start + 1 : stop])
        return Block(self.members[start:stop], self.lengths[start:stop], shared)


@dataclass(frozen=True)
class Plan:
    """Which blocks stand in which row, how long every row is, and what a pass over them costs."""

    rows: tuple[tuple[Block, ...], ...]
    length: int
    cost: float = 0.0


def plan(pairs: Sequence[Pair], row_tokens: RowTokens, costs: Costs = COSTS) -> Plan:
    """Rows of (prompt, response) pairs of ids in which equal beginnings of prompts stand once.

    Rows have up to `row_tokens` tokens; with "auto" whatever length costs least. A pair that is longer gets
    a row of its length, and a beginning of more than half a row gets one twice as long as that beginning.
    """
    trees = list(_trees(pairs))
    if row_tokens != AUTO:
        return _placed([block for tree in trees for block in _cut(tree, row_tokens)], row_tokens, costs)
    longest = max(len(prompt) + len(response) for prompt, response in pairs)
    whole = sum(tree.size for tree in trees)
    tried = {min(length, whole) for length in (longest, *LENGTHS, longest_row(longest)) if length >= longest}
    plans = []
    for length in sorted(tried):
        blocks = [block for tree in trees for block in _cut(tree, length)]
        plans += [_placed(blocks, room, costs) for room in (0, length)]
    return min(plans, key=lambda one: one.cost)


def longest_row(longest: int) -> int:
    """How long shared rows may be, as "auto" has them, where the longest example has so many tokens."""
    return max(LENGTHS[-1], 2 * longest)


def pack(pairs: Sequence[Pair], pad_id: int, row_tokens: RowTokens, costs: Costs = COSTS) -> Rows:
    """The rows of `plan`, padded to the longest.

    `attention_mask` is [R, 1, L, L], True where the first position attends to the second. Targets come in
    the order of the pairs, whatever their places.
    """
    return laid_out(pairs, plan(pairs, row_tokens, costs), pad_id)


def laid_out(pairs: Sequence[Pair], planned: Plan, pad_id: int, read_from: Sequence[int] = ()) -> Rows:
    """The rows of a plan.

    With `read_from`, a number for each pair, the tokens of its prompt from that place on, and after the
    first, are further targets behind those of all responses.
    """
    shape = (len(planned.rows), planned.length)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    position_ids = torch.zeros(shape, dtype=torch.long)
    # Padding, at the end, attends to padding: no position may be left with nothing to attend to.
    positions = torch.arange(planned.length)
    backwards = torch.ones(planned.length, planned.length, dtype=torch.bool).tril()
    mask = torch.zeros((*shape, planned.length), dtype=torch.bool)
    places: dict[int, tuple[int, list[int]]] = {}
    for row, blocks in enumerate(planned.rows):
        start = 0
        for one, columns, shared in _columns(pairs, blocks):
            ids = (*pairs[one][0], *pairs[one][1])
            stop = start + len(ids) - shared
            input_ids[row, start:stop] = torch.tensor(ids[shared:], dtype=torch.long)
            position_ids[row, start:stop] = positions[shared : len(ids)]
            if shared:
                mask[row, start:stop] = mask[row, columns[shared - 1]]
            mask[row, start:stop, start:stop] = backwards[: stop - start, : stop - start]
            places[one] = (row, columns)
            start = stop
        mask[row, start:, start:] = backwards[start:, start:]
    num_tokens = sum(len(prompt) + len(response) for prompt, response in pairs)
    return Rows(input_ids, mask.unsqueeze(1), position_ids, *_targets(pairs, places, read_from), num_tokens)


def places(pairs: Sequence[Pair], planned: Plan) -> list[tuple[int, list[int]]]:
    """Row and column of every token of each pair in the rows of a plan."""
    found = {
        one: (row, columns)
        for row, blocks in enumerate(planned.rows)
        for one, columns, _ in _columns(pairs, blocks)
    }
    return [found[number] for number in range(len(pairs))]


def families(prompts: Sequence[Ids]) -> list[list[int]]:
    """The numbers of the prompts, together where neighbours share half of the shorter one or more.

    In each family in the order of the ids; the family with the longest prompt comes first.
    """
    order = sorted(range(len(prompts)), key=lambda number: (tuple(prompts[number]), number))
    found: list[list[int]] = []
    for number in order:
        last = prompts[found[-1][-1]] if found else ()
        if 2 * num_shared(last, prompts[number]) >= min(len(last), len(prompts[number])) > 0:
            found[-1].append(number)
        else:
            found.append([number])
    return sorted(found, key=lambda family: -max(len(prompts[number]) for number in family))


def share_in_common(prompts: Sequence[Ids]) -> float:
    """The share of all tokens that a prompt has in common with one before it, in sorted order."""
    ordered = sorted(map(tuple, prompts))
    shared = sum(num_shared(one, other) for one, other in pairwise(ordered))
    return shared / max(1, sum(map(len, ordered)))


def num_shared(one: Ids, other: Ids) -> int:
    """How many ids both begin with."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def common_beginning(prompts: Sequence[Ids]) -> tuple[int, ...]:
    """The longest run of ids that all prompts begin with."""
    first, last = (tuple(found) for found in (min(prompts, key=tuple), max(prompts, key=tuple)))
    return first[: num_shared(first, last)]


def read_after_shared(pairs: Sequence[Pair], groups: Sequence[Hashable]) -> list[int]:
    """For each pair how many tokens all prompts of its group begin with; 0 where it is alone in its group."""
    prompts: dict[Hashable, list[Ids]] = {}
    for (prompt, _), group in zip(pairs, groups, strict=True):
        prompts.setdefault(group, []).append(prompt)
    shared = {
        group: len(common_beginning(found)) if len(found) > 1 else 0 for group, found in prompts.items()
    }
    return [shared[group] for group in groups]


def _trees(pairs: Sequence[Pair]) -> Iterator[Block]:
    """All pairs in blocks, such that prompts of different blocks share nothing."""
    prompts = [tuple(prompt) for prompt, _ in pairs]
    order = sorted(range(len(pairs)), key=lambda number: (prompts[number], number))
    shared = (0, *(num_shared(prompts[one], prompts[other]) for one, other in pairwise(order)))
    lengths = tuple(len(pairs[one][0]) + len(pairs[one][1]) for one in order)
    whole = Block(tuple(order), lengths, shared)
    starts = [at for at, count in enumerate(shared) if not count]
    for start, stop in pairwise((*starts, len(order))):
        yield whole.part(start, stop)


def _cut(tree: Block, row_tokens: int) -> list[Block]:
    """The tree in blocks that fit into rows, in as few tokens as can be: each repeats its own beginning."""
    if tree.size <= row_tokens:
        return [tree]
    least, starts = [0], [0]
    for stop in range(1, len(tree.members) + 1):
        size, common = tree.lengths[stop - 1], tree.lengths[stop - 1]
        found = [(least[stop - 1] + size, stop - 1)]
        for start in range(stop - 2, -1, -1):
            size += tree.lengths[start] - tree.shared[start + 1]
            common = min(common, tree.shared[start + 1])
            if size > max(row_tokens, 2 * common):
                break
            found.append((least[start] + size, start))
        # Of equals the shortest, found first: short blocks leave fewer holes in rows.
        tokens, start = min(found, key=lambda one: one[0])
        least.append(tokens)
        starts.append(start)
    blocks = []
    stop = len(tree.members)
    while stop:
        blocks.append(tree.part(starts[stop], stop))
        stop = starts[stop]
    return blocks


def _placed(blocks: Sequence[Block], row_tokens: int, costs: Costs) -> Plan:
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
    length = capacity - min(room)
    return Plan(tuple(map(tuple, rows)), length, costs.rows(len(rows), length))


def _columns(pairs: Sequence[Pair], blocks: Sequence[Block]) -> Iterator[tuple[int, list[int], int]]:
    """For each pair of a row its number, the column of each of its tokens, and how many are not its own."""
    start = 0
    for block in blocks:
        columns: list[int] = []
        for one, shared in zip(block.members, block.shared, strict=True):
            num_own = len(pairs[one][0]) + len(pairs[one][1]) - shared
            columns = [*columns[:shared], *range(start, start + num_own)]
            yield one, columns, shared
            start += num_own


def _targets(
    pairs: Sequence[Pair], places: Mapping[int, tuple[int, list[int]]], read_from: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column before each target, and the target: all responses, then the prompts that are read."""
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    spans = [
        (number, len(prompt), len(prompt) + len(response)) for number, (prompt, response) in enumerate(pairs)
    ]
    spans += [(number, max(1, start), len(pairs[number][0])) for number, start in enumerate(read_from)]
    for number, start, stop in spans:
        row, columns_of = places[number]
        ids = (*pairs[number][0], *pairs[number][1])
        rows += [row] * max(0, stop - start)
        columns += [columns_of[position - 1] for position in range(start, stop)]
        targets += ids[start:stop]
    found = [torch.tensor(values, dtype=torch.long) for values in (rows, columns, targets)]
    return found[0], found[1], found[2]
