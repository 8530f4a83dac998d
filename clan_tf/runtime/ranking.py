"""Which class a model predicts: the first of the most probable, everywhere. Needs no TensorFlow."""

import numpy as np


def ranked_labels(probabilities: np.ndarray) -> np.ndarray:
    """Returns labels by probability, the most probable first; ties in the order of labels, NaN last.

    Args:
        probabilities: `(…, classes)`.
    """
    return np.argsort(-probabilities, axis=-1, kind="stable")


def are_in_top(labels: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Checks which labels are among the first `k` of `ranked_labels`, bool `(photos,)`; never where one is NaN.

    Args:
        labels: int `(photos,)`.
        probabilities: `(photos, classes)`.
        k: how many classes count.
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & before)
    return (ahead.sum(axis=1) < k) & ~np.isnan(probabilities).any(axis=1)
