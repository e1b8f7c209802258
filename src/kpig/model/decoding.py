"""Greedy answers to prompts that begin alike: each beginning is read once, and rows that end are left out.

Prompts are read in shared rows (`kpig.model.packing`). The keys and values that this leaves are copied to a
cache with a row for each prompt, in which the answers are written side by side: so every prompt has what it
would have alone. Shape letters: P prompts, of which n go on; T tokens of an answer, W columns for the longest
prompt, V vocabulary.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from kpig.config.section import AUTO
from kpig.errors import ModelError
from kpig.model import internals, packing
from kpig.model.generation import NOT_FINITE
from kpig.model.packing import Costs, Ids, Pair
from kpig.model.rows import Rows


@torch.no_grad()
def written(
    model: Any,
    prompts: Sequence[Ids],
    max_new_tokens: int,
    pad_id: int,
    ends: Collection[int],
    costs: Costs,
    max_tokens: int,
) -> list[list[int]]:
    """Up to `max_new_tokens` ids after each prompt of two ids or more: the likeliest, one after the other.

    The last is one of `ends` where the answer ended. `model` is a transformers model in evaluation mode that
    takes position ids and can share rows. About `max_tokens` of the prompts go through it at once. Raises
    ModelError where it predicts what is no number.
    """
    room = _read(model, [prompt[:-1] for prompt in prompts], max_new_tokens, pad_id, costs, max_tokens)
    found: list[list[int]] = [[] for _ in prompts]
    live, last = list(range(len(prompts))), [prompt[-1] for prompt in prompts]
    while live and len(found[live[0]]) < max_new_tokens:
        last = _likeliest(_predicted(model, room, last))
        for row, one in zip(live, last, strict=True):
            found[row].append(one)
        going_on = [place for place, one in enumerate(last) if one not in ends]
        kept = room.keep(going_on) if len(going_on) < len(live) else going_on
        live, last = [live[place] for place in kept], [last[place] for place in kept]
    return found


@torch.no_grad()
def predicted(model: Any, pairs: Sequence[Pair], pad_id: int, costs: Costs, max_tokens: int) -> Tensor:
    """Logits [P, T, V] for the T tokens of each response, all of one length, as they are while it is written.

    The rest as in `written`.
    """
    num_tokens = len(pairs[0][1])
    room = _read(model, [prompt[:-1] for prompt, _ in pairs], num_tokens, pad_id, costs, max_tokens)
    given = [[prompt[-1], *response[:-1]] for prompt, response in pairs]
    return torch.stack([_predicted(model, room, last) for last in zip(*given, strict=True)], dim=1)


def _read(
    model: Any, prompts: Sequence[Ids], max_new_tokens: int, pad_id: int, costs: Costs, max_tokens: int
) -> "_Room":
    """What the prompts leave in the model's cache, with room for answers of so many tokens."""
    pairs: list[Pair] = [(prompt, ()) for prompt in prompts]
    planned = packing.plan(pairs, AUTO, costs)
    room = _Room(list(map(len, prompts)), max_new_tokens, next(model.parameters()).device)
    rows = packing.laid_out(pairs, planned, pad_id).to(room.device)
    places = packing.places(pairs, planned)
    at_once = max(1, max_tokens // planned.length)
    for start in range(0, len(planned.rows), at_once):
        reading = _Reading()
        _pass(model, rows, slice(start, start + at_once), reading)
        room.fill(reading, start, places)
    return room


def _pass(model: Any, rows: Rows, part: slice, cache: Cache) -> None:
    """One pass over a part of the rows, which have no target: the output layer has nothing to do."""
    with internals.gathered(model, rows):
        model(
            input_ids=rows.input_ids[part],
            attention_mask=internals.attention_mask(model, rows.attention_mask[part]),
            position_ids=rows.position_ids[part],
            past_key_values=cache,
            use_cache=True,
        )


def _predicted(model: Any, room: "_Room", last: Sequence[int]) -> Tensor:
    """Logits [n, V] for what follows in each row, to which `last` are added."""
    output = model(
        input_ids=torch.tensor(last, device=room.device).unsqueeze(1),
        attention_mask=internals.attention_mask(model, room.mask()),
        position_ids=room.positions(),
        past_key_values=room,
        use_cache=True,
    )
    room.num_written += 1
    logits: Tensor = output.logits[:, -1]
    return logits


def _likeliest(logits: Tensor) -> list[int]:
    if logits.isnan().any():
        raise ModelError(NOT_FINITE)
    chosen: list[int] = logits.argmax(-1).tolist()
    return chosen


class _Reading(Cache):
    """Keys and values of one pass, by layer, as the pass leaves them."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.left: dict[int, tuple[Tensor, Tensor]] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep what one layer makes."""
        self.left[layer_idx] = (key_states, value_states)
        return key_states, value_states

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """No token stands before those of the pass."""
        return 0


class _Room(Cache):
    """Keys and values of every layer, a row for each prompt, with room for an answer behind it.

    Row p begins with its `lengths[p]` tokens. Answers begin at column W in all rows, and have `num_written`
    tokens there. The first n rows are in use.
    """

    def __init__(self, lengths: Sequence[int], max_new_tokens: int, device: torch.device):
        super().__init__(layers=[])
        self.device = device
        self.lengths = torch.tensor(lengths, device=device)
        self.width, self.num_columns, self.num_written = max(lengths), max(lengths) + max_new_tokens, 0
        self.held: dict[int, tuple[Tensor, Tensor]] = {}

    def fill(self, reading: _Reading, first_row: int, places: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Copy what a pass over the rows from `first_row` on left of the prompts at these places."""
        num_read = next(iter(reading.left.values()))[0].shape[0]
        own = [p for p, (row, _) in enumerate(places) if first_row <= row < first_row + num_read]
        wanted = (
            [p for p in own for _ in places[p][1]],
            [column for p in own for column in range(len(places[p][1]))],
            [places[p][0] - first_row for p in own for _ in places[p][1]],
            [column for p in own for column in places[p][1]],
        )
        row, column, from_row, from_column = map(self._indices, wanted)
        for layer, left in reading.left.items():
            if layer not in self.held:
                self.held[layer] = (self._empty(left[0]), self._empty(left[1]))
            for room, one in zip(self.held[layer], left, strict=True):
                room[row, :, column] = one[from_row, :, from_column]

    def keep(self, going_on: Sequence[int]) -> list[int]:
        """Leave only these rows in use; the old number of each row, in the new order.

        Rows that stand behind the new end move to the places of those that are left out.
        """
        count = len(going_on)
        behind = iter([place for place in going_on if place >= count])
        staying = set(going_on)
        kept = [place if place in staying else next(behind) for place in range(count)]
        moved = [place for place, old in enumerate(kept) if place != old]
        into, source = (self._indices(one) for one in (moved, [kept[place] for place in moved]))
        end = self.get_seq_length()
        for room in (one for pair in self.held.values() for one in pair):
            room[into, :, :end] = room[source, :, :end]
        self.lengths = self.lengths[self._indices(kept)]
        return kept

    def mask(self) -> Tensor:
        """[n, 1, 1, L], True where the next token of a row attends to: its prompt, its answer and itself."""
        columns = torch.arange(self.get_seq_length() + 1, device=self.device)
        seen = (columns < self.lengths.unsqueeze(1)) | (columns >= self.width)
        return seen[:, None, None]

    def positions(self) -> Tensor:
        """[n, 1]: how many tokens each row has before the next one."""
        return (self.lengths + self.num_written).unsqueeze(1)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Put the next token of every row behind the others; all of them."""
        count, column = len(self.lengths), self.get_seq_length()
        for room, one in zip(self.held[layer_idx], (key_states, value_states), strict=True):
            room[:count, :, column] = one[:, :, 0]
        keys, values = (room[:count, :, : column + 1] for room in self.held[layer_idx])
        return keys, values

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Columns before the next token."""
        return self.width + self.num_written

    def _indices(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self.device)

    def _empty(self, like: Tensor) -> Tensor:
        """Zeros, for what no row attends to is multiplied by 0, and must be a number."""
        return like.new_zeros(len(self.lengths), like.shape[1], self.num_columns, like.shape[3])
