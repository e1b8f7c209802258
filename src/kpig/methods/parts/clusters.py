"""K-means on vectors, and the rows nearest to the centroids. Shape letters: P rows, D size of a vector."""

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
    vectors = embeddings.unit(vectors)
    found, centroids = labels(vectors, min(num_clusters, count), seed)
    distance = np.linalg.norm(vectors - centroids[found], axis=1).round(DECIMALS)
    members = {number: np.flatnonzero(found == number) for number in range(len(centroids))}
    sizes = {number: len(rows) for number, rows in members.items()}
    shares = split(count, sizes, sizes)
    ranked = {number: rows[np.argsort(distance[rows], kind="stable")] for number, rows in members.items()}
    return sorted(int(row) for number, rows in ranked.items() for row in rows[: shares[number]])


def labels(vectors: np.ndarray, num_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row of [P, D] vectors, and the centroids [at most `num_clusters`, D] of k-means.

    There are at most as many clusters as different vectors. One thread, as in `nearest`.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    num_clusters = min(num_clusters, len(np.unique(vectors, axis=0)))
    with threadpool_limits(1):
        found = KMeans(num_clusters, n_init="auto", random_state=seed).fit(vectors)
    return found.labels_, found.cluster_centers_
