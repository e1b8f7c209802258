"""Policies that choose what to replay. They see plain numbers, so a choice can be checked by hand. No torch.

Chance comes from the caller's Random.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key")


def lowest(signals: Mapping[str, float], ties: Mapping[str, float], count: int) -> list[str]:
    """The `count` tasks with the lowest signal; of equal signals the lower tie value comes first."""
    return sorted(signals, key=lambda name: (signals[name], ties[name], name))[:count]


def chances(signals: Mapping[str, float], floor: float, temperature: float) -> dict[str, float]:
    """floor/n + (1 - floor) · softmax(-signal/temperature) by task, sum 1 (docs/method.md, section 5)."""
    least = min(signals.values())
    weights = {name: math.exp((least - value) / temperature) for name, value in signals.items()}
    total = sum(weights.values())
    return {name: floor / len(weights) + (1 - floor) * weight / total for name, weight in weights.items()}


def proportional(probability: Mapping[Key, float], count: int, rng: random.Random) -> list[Key]:
    """`count` different tasks (all where there are fewer), drawn one after the other by their chances.

    Tasks whose chances have all rounded to 0 are equally likely. The chances need not sum to 1.
    """
    left = dict(probability)
    chosen: list[Key] = []
    while left and len(chosen) < count:
        weights = list(left.values()) if sum(left.values()) > 0 else None
        name = rng.choices(list(left), weights=weights)[0]
        chosen.append(name)
        del left[name]
    return chosen


def leading(ranked: Sequence[str], num_tasks: int, sizes: Mapping[str, int], count: int) -> list[str]:
    """The first `num_tasks` of a ranking; more of it where those hold fewer than `count` examples in all."""
    chosen: list[str] = []
    for name in ranked:
        if len(chosen) >= num_tasks and sum(sizes[one] for one in chosen) >= count:
            break
        chosen.append(name)
    return chosen


def split(count: int, weights: Mapping[Key, float], available: Mapping[Key, int]) -> dict[Key, int]:
    """`count` in whole parts proportional to `weights`, none above what is available, by largest remainder.

    The parts sum to min(count, all available); what a full one cannot take goes to the others by their
    weights, evenly where these are 0. Of equal remainders the first comes first.
    """
    counts = dict.fromkeys(weights, 0)
    room = {name: weight for name, weight in weights.items() if available[name] > 0}
    left = min(count, sum(available[name] for name in room))
    while full := [name for name, part in _parts(left, room).items() if part >= available[name]]:
        for name in full:
            counts[name] = available[name]
            left -= available[name]
            del room[name]
    parts = _parts(left, room)
    counts |= {name: math.floor(part) for name, part in parts.items()}
    rest = left - sum(counts[name] for name in room)
    for name in sorted(room, key=lambda one: counts[one] - parts[one])[:rest]:
        counts[name] += 1
    return counts


def _parts(count: int, weights: Mapping[Key, float]) -> dict[Key, float]:
    total = sum(weights.values())
    return {
        name: count * (weight / total if total > 0 else 1 / len(weights)) for name, weight in weights.items()
    }
