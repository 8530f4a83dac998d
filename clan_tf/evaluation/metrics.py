"""Quality of predictions: accuracy with its interval, and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from clan_tf.runtime import are_in_top

BINS = 15
"""Equal bins of confidence, for the calibration error and the reliability diagram."""


@dataclass(frozen=True)
class Share:
    """A share of photos with its 95 % Wilson score interval (Wilson, 1927), all 0…1."""

    right: int
    photos: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, right: int, photos: int) -> "Share":
        """Computes the share of `right` photos among `photos`."""
        interval = binomtest(right, photos).proportion_ci(method="wilson")
        return cls(right, photos, right / photos, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Bin:
    """Photos of similar confidence: the bounds, number of photos, mean confidence and accuracy."""

    low: float
    high: float
    photos: int
    confidence: float
    accuracy: float


def reliability_bins(confidence: np.ndarray, correct: np.ndarray) -> list[Bin]:
    """Computes the non-empty bins of a reliability diagram (Guo et al., ICML 2017).

    Args:
        confidence: probability of each photo's predicted class, `(photos,)`.
        correct: whether that class is right, bool `(photos,)`.
    """
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        Bin(
            b / BINS,
            (b + 1) / BINS,
            int((index == b).sum()),
            float(confidence[index == b].mean()),
            float(correct[index == b].mean()),
        )
        for b in sorted(set(index.tolist()))
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Computes the expected calibration error, 0…1: the mean difference of confidence and accuracy over the photos."""
    photos = sum(b.photos for b in bins)
    return sum(b.photos * abs(b.confidence - b.accuracy) for b in bins) / photos


def top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """Computes the share of photos whose label is among the `k` most probable classes, by the rule of `are_in_top`.

    Args:
        labels: `(photos,)`.
        probabilities: `(photos, classes)`.
    """
    return float(are_in_top(labels, probabilities, k).mean())


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Computes the expected calibration error, 0…1, of the most probable classes (Guo et al., ICML 2017).

    Args:
        labels: `(photos,)`.
        probabilities: `(photos, classes)`.
    """
    correct = probabilities.argmax(axis=1) == labels
    return calibration_error(reliability_bins(probabilities.max(axis=1), correct))
