"""K-means on vectors, and the rows nearest to the centroids. Shape letters: P prompts, D hidden size."""

import numpy as np

from kpig.methods.parts import embeddings
from kpig.methods.parts.selection import split

DECIMALS = 4
"""Of a distance between vectors of length 1, that decide: both members of a cluster of two are as near to its
centroid, and rounding in another batch or process would choose between them. Vectors of a model trained in
one process and in two differ by about 1e-6."""


def nearest(vectors: np.ndarray, count: int, num_clusters: int, seed: int) -> list[int]:
    """min(count, P) row numbers of [P, D] vectors, in order: of every cluster those nearest to its centroid.

    Vectors are scaled to length 1 first; a cluster's share of `count` follows its size (SSR's code rounds
    each share, here largest remainders make the sum exact). There are at most as many clusters as
    different vectors or as rows asked for. One thread, so that sums do not depend on the machine's cores.
    Of rows as near as DECIMALS tell, the first comes first.
    """
    if len(vectors) <= count:
        return list(range(len(vectors)))
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    vectors = embeddings.unit(vectors)
    num_clusters = min(num_clusters, count, len(np.unique(vectors, axis=0)))
    with threadpool_limits(1):
        found = KMeans(num_clusters, n_init="auto", random_state=seed).fit(vectors)
    distance = np.linalg.norm(vectors - found.cluster_centers_[found.labels_], axis=1).round(DECIMALS)
    members = {number: np.flatnonzero(found.labels_ == number) for number in range(num_clusters)}
    sizes = {number: len(rows) for number, rows in members.items()}
    shares = split(count, sizes, sizes)
    ranked = {number: rows[np.argsort(distance[rows], kind="stable")] for number, rows in members.items()}
    return sorted(int(row) for number, rows in ranked.items() for row in rows[: shares[number]])
