"""Encoded examples, and what is kept of them: the newest as they are, older ones packed, the oldest gone."""

from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from kpig.records import Example

SHARE_EVICTED = 16
"""One part in so many goes at the bound, the oldest first: one by one, each would be sought behind the gaps
that those before it left. Chosen."""

MAX_UNPACKED = 4_096
"""Examples that stay unpacked, the last that were asked for: those of many updates. Chosen."""

MOST_IN_TWO_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one example. Both twins carry the same `response`, with the token that ends it.

    `masked_prompt` is None for an example without key parts. `num_cut` counts the characters of the
    input that were dropped to make the example fit. `text` is the prompt that `prompt` are the ids of.
    """

    example: Example
    prompt: tuple[int, ...]
    masked_prompt: tuple[int, ...] | None
    response: tuple[int, ...]
    num_cut: int = 0
    text: str = ""

    @property
    def alone(self) -> "Encoded":
        """The same without its masked twin."""
        return self if self.masked_prompt is None else replace(self, masked_prompt=None)

    @property
    def num_tokens(self) -> int:
        """Tokens of the longer twin."""
        return max(len(self.prompt), len(self.masked_prompt or ())) + len(self.response)


@dataclass(frozen=True, slots=True)
class _Packed:
    """An encoded example in one array: 2 or 4 bytes a token, where tuples of numbers that are shared take 8.

    `ids` are those of the prompt, then of its masked twin, then of the response; the counts divide them.
    """

    example: Example
    ids: "array[int]"
    num_prompt: int
    num_masked: int | None
    num_cut: int
    text: str


class Shelf:
    """What was encoded, by a key of its texts. At most `most` examples are kept: a bound on memory.

    `numbers` are 0, 1, 2, ..., so that the ids that are unpacked are objects that are there already.
    """

    def __init__(self, most: int, numbers: Sequence[int]):
        self._most, self._numbers = most, numbers
        self._packed: dict[Hashable, _Packed] = {}
        self._unpacked: dict[Hashable, Encoded] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, key: Hashable) -> Encoded | None:
        """What is kept under a key, if anything."""
        found = self._unpacked.get(key)
        if found is None and (packed := self._packed.get(key)) is not None:
            found = self._unpacked_of(packed)
            self._show(key, found)
        return found

    def put(self, key: Hashable, encoded: Encoded) -> None:
        """Keep an encoded example; at the bound the oldest go first."""
        if len(self._packed) >= self._most:
            for oldest in list(islice(self._packed, -(-self._most // SHARE_EVICTED))):
                del self._packed[oldest]
                self._unpacked.pop(oldest, None)
        self._packed[key] = _packed(encoded)
        self._show(key, encoded)

    def _show(self, key: Hashable, encoded: Encoded) -> None:
        if len(self._unpacked) >= MAX_UNPACKED:
            for oldest in list(islice(self._unpacked, -(-MAX_UNPACKED // SHARE_EVICTED))):
                del self._unpacked[oldest]
        self._unpacked[key] = encoded

    def _unpacked_of(self, packed: _Packed) -> Encoded:
        known = len(self._numbers)
        ids = tuple(self._numbers[one] if one < known else one for one in packed.ids)
        end = packed.num_prompt + (packed.num_masked or 0)
        masked = None if packed.num_masked is None else ids[packed.num_prompt : end]
        return Encoded(
            packed.example, ids[: packed.num_prompt], masked, ids[end:], packed.num_cut, packed.text
        )


def _packed(encoded: Encoded) -> _Packed:
    ids = (*encoded.prompt, *(encoded.masked_prompt or ()), *encoded.response)
    code = "H" if max(ids) < MOST_IN_TWO_BYTES else "I"
    num_masked = None if encoded.masked_prompt is None else len(encoded.masked_prompt)
    return _Packed(
        encoded.example, array(code, ids), len(encoded.prompt), num_masked, encoded.num_cut, encoded.text
    )
