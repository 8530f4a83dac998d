"""Clusters of features, with which weights start."""

from typing import Any

import numpy as np


def k_means(vectors: np.ndarray, count: int) -> Any:
    """Returns scikit-learn's k-means fitted to vectors `(vectors, length)`, the same on every run of a machine."""
    # Imported here, because they take long and most commands don't need them.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    # With several threads, sums are added in the order in which they finish.
    with threadpool_limits(1):
        return KMeans(count, n_init=3, random_state=0).fit(vectors)
