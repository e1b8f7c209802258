"""Which examples of an update come with their masked twins. No torch."""

import math
import random
from collections.abc import Sequence

from kpig.records import Example


def bare(examples: Sequence[Example]) -> list[int]:
    """The places of those without key parts, which can have no twin."""
    return [place for place, example in enumerate(examples) if not example.instruction.key_parts]


def chosen(
    examples: Sequence[Example],
    allowed: Sequence[bool],
    share: float,
    rng: random.Random,
    urgency: Sequence[float] | None = None,
) -> list[bool]:
    """For each example whether its twin is among a `share` of those that are allowed and have key parts.

    A fraction of a twin is a whole one as often as makes the number right on average. Those of highest
    `urgency` are taken, equal ones by chance; without it all by chance.
    """
    places = [
        place
        for place, (example, is_allowed) in enumerate(zip(examples, allowed, strict=True))
        if is_allowed and example.instruction.key_parts
    ]
    count = math.floor(share * len(places) + rng.random())
    mixed = rng.sample(places, len(places))
    if urgency is not None:
        mixed.sort(key=lambda place: -urgency[place])
    taken = set(mixed[:count])
    return [place in taken for place in range(len(examples))]
