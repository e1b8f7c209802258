"""Pseudo-skills: which examples to learn, by clusters and the score that tells most in each. No torch.

Following Adapt-∞ (Maharana et al. 2410.10636); departures are in docs/baselines.md. Only standardised scores
are looked at, so a choice does not depend on a score's scale. Shape letters: P examples, D size of a vector.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kpig.methods.parts import clusters, embeddings
from kpig.methods.parts.memory import pick
from kpig.methods.parts.selection import split

BINS = 50
"""Of the histogram whose entropy is taken, and of the range that examples are drawn from (released code)."""

REACH = 4.0
"""Standard deviations on either side of the mean that the histogram's bins divide; what lies farther counts
into the outermost ones."""

TAIL = 0.05
"""The share of a cluster at either end of its score that is drawn from last (released code)."""

LEAST_SPREAD = 1e-5
"""Of values beside the largest of them; less is rounding and tells nothing. Chosen: float32 has 7 digits."""

DECIMALS = 4
"""Of standardised scores and cosines that decide, so that rounding in another batch or process does not."""


@dataclass(frozen=True)
class Cluster:
    """One pseudo-skill: rows of the candidates, and what became of them."""

    members: tuple[int, ...]
    """Rows that may be chosen: those of the cluster without what is pruned."""

    pruned: Mapping[int, int]
    """Rows that are near-duplicates, each with the earlier row of the cluster that it is like."""

    entropies: Mapping[str, float]
    """How far each score spreads over the members, in bits, within [0, log2 BINS]."""

    chosen: tuple[int, ...]

    @property
    def score(self) -> str:
        """The score that tells most: of the highest entropy, of equal ones the first."""
        return max(self.entropies, key=lambda name: self.entropies[name])


def select(
    vectors: np.ndarray,
    scores: Mapping[str, np.ndarray],
    budget: int,
    num_clusters: int,
    near_duplicate: float,
    rng: random.Random,
) -> list[Cluster]:
    """The clusters of P candidates, which in all choose min(budget, P without the pruned) of them.

    From vectors [P, D] and finite scores [P], P at least 1. Every cluster gives as many, small ones all they
    have, and the rest is shared out. Rows with a cosine above `near_duplicate` to an earlier one are pruned.
    """
    vectors = embeddings.unit(vectors)
    found, centroids = clusters.labels(vectors, num_clusters, rng.getrandbits(31))
    groups = [
        rows.tolist() for number in range(len(centroids)) if len(rows := np.flatnonzero(found == number))
    ]
    pruned = [near_duplicates(vectors[rows], near_duplicate) for rows in groups]
    kept = [
        [row for at, row in enumerate(rows) if at not in gone]
        for rows, gone in zip(groups, pruned, strict=True)
    ]
    shares = equal_shares(budget, [len(rows) for rows in kept], rng)
    return [
        _cluster(rows, {group[at]: group[like] for at, like in gone.items()}, scores, share, rng)
        for rows, group, gone, share in zip(kept, groups, pruned, shares, strict=True)
    ]


def near_duplicates(vectors: np.ndarray, near_duplicate: float) -> dict[int, int]:
    """Rows of [P, D] unit vectors with a cosine above the given one to an earlier row that is kept itself.

    Each with the first such row. Cosines are rounded to DECIMALS, so 1 prunes nothing.
    """
    kept: list[int] = []
    held = np.empty_like(vectors)
    found: dict[int, int] = {}
    for row, vector in enumerate(vectors):
        cosines = (held[: len(kept)] @ vector).round(DECIMALS)
        alike = np.flatnonzero(cosines > near_duplicate)
        if len(alike):
            found[row] = kept[int(alike[0])]
        else:
            held[len(kept)] = vector
            kept.append(row)
    return found


def equal_shares(budget: int, sizes: Sequence[int], rng: random.Random) -> list[int]:
    """The budget in equal shares, none above its size; whole numbers that sum to min(budget, all sizes).

    What a small one cannot give the others do. Who gives one more than others is drawn.
    """
    order = pick(range(len(sizes)), len(sizes), rng)
    shares = split(budget, dict.fromkeys(order, 1.0), dict(enumerate(sizes)))
    return [shares[number] for number in range(len(sizes))]


def standardised(values: np.ndarray) -> np.ndarray:
    """Values [P] less their mean, over their standard deviation; zeros where they are alike."""
    largest = float(np.abs(values).max())
    if largest == 0.0 or float(np.ptp(values / largest)) <= LEAST_SPREAD:
        return np.zeros(len(values))
    values = values / largest  # squares of large ones are no numbers
    found: np.ndarray = ((values - values.mean()) / values.std()).round(DECIMALS)
    return found


def entropy(values: np.ndarray) -> float:
    """Shannon entropy, in bits, of the histogram of standardised values [P] over BINS bins."""
    places = np.floor((values + REACH) / (2 * REACH / BINS)).clip(0, BINS - 1).astype(int)
    share = np.unique(places, return_counts=True)[1] / len(values)
    return round(float(-(share * np.log2(share)).sum()) + 0.0, DECIMALS)


def draw(values: np.ndarray, count: int, rng: random.Random) -> list[int]:
    """`count` of the places of standardised values [P], in order: as many from each of BINS bins.

    The bins divide the range between the tails evenly. Bins that hold fewer give all, and the rest is shared
    out. The tails are drawn from only where nothing else is left.
    """
    ranked = np.argsort(values, kind="stable").tolist()
    tail = int(len(ranked) * TAIL)
    middle, ends = ranked[tail : len(ranked) - tail], ranked[:tail] + ranked[len(ranked) - tail :]
    if count >= len(middle):
        return sorted(middle + pick(ends, count - len(middle), rng))
    least, most = values[middle[0]], values[middle[-1]]
    places = np.zeros(len(middle), dtype=int)
    if most > least:
        shares = (values[middle] - least) / (most - least)
        places = np.floor(shares * BINS).clip(0, BINS - 1).astype(int)
    bins = [[middle[at] for at in np.flatnonzero(places == number)] for number in range(BINS)]
    shares_of = equal_shares(count, [len(rows) for rows in bins], rng)
    drawn = (pick(rows, share, rng) for rows, share in zip(bins, shares_of, strict=True))
    return sorted(row for rows in drawn for row in rows)


def _cluster(
    members: list[int],
    pruned: Mapping[int, int],
    scores: Mapping[str, np.ndarray],
    share: int,
    rng: random.Random,
) -> Cluster:
    values = {name: standardised(every[members]) for name, every in scores.items()}
    entropies = {name: entropy(one) for name, one in values.items()}
    found = Cluster(tuple(members), pruned, entropies, ())
    chosen = draw(values[found.score], share, rng)
    return Cluster(found.members, pruned, entropies, tuple(members[place] for place in chosen))
