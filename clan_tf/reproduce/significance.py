"""Whether two networks differ, paired over the test photos."""

from functools import reduce

import numpy as np
from scipy.stats import binom

TEST_NAME = "sign-flip test, exact, paired over test photos (with one seed: McNemar's exact test)"


def paired_p_value(own: np.ndarray, baseline: np.ndarray) -> float:
    """Computes the two-sided exact p-value of "neither is better on photos like these".

    For every photo, the networks' counts of correct answers over the seeds are subtracted. If neither is better, each
    photo's difference is as likely to have the other sign; the p-value is the share of all sign patterns whose sum is
    at least as far from 0. Each photo counts once regardless of the number of seeds, so that seeds don't pass for
    photos. With one seed this is McNemar's exact test.

    Args:
        own: which photos each seed's network got right, bool `(seeds, photos)`.
        baseline: the same for the network to compare with, on the same photos.
    """
    differences = own.astype(int).sum(axis=0) - baseline.astype(int).sum(axis=0)
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    distributions = [_distribution_of_sum(size, count) for size, count in zip(sizes, counts, strict=True)]
    distribution = reduce(np.convolve, distributions)
    largest = int((sizes * counts).sum())
    sums = np.arange(-largest, largest + 1)
    return min(1.0, float(distribution[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def _distribution_of_sum(size: int, count: int) -> np.ndarray:
    """Returns probabilities of the sums `-size * count … size * count` of `count` numbers, each `size` or `-size`."""
    probabilities = np.zeros(2 * size * count + 1)
    probabilities[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
    return probabilities
