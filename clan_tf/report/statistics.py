"""The numbers behind a report: intervals, calibration, and groups of classes that are taken for each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binomtest

BINS = 15
"""As many as the expected calibration error of the evaluation has."""


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
        """`right` of `photos`."""
        interval = binomtest(right, photos).proportion_ci(method="wilson")
        return cls(right, photos, right / photos, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Bin:
    """Photos of about one confidence: its bounds, how many, their mean confidence and the share that is right."""

    low: float
    high: float
    photos: int
    confidence: float
    accuracy: float


def reliability_bins(confidence: np.ndarray, correct: np.ndarray) -> list[Bin]:
    """The filled bins of a reliability diagram (Guo et al., ICML 2017).

    Args:
        confidence: probability of each photo's predicted class, `(photos,)`.
        correct: whether it is right, bool `(photos,)`.
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
    """Expected calibration error, 0…1: the mean distance of confidence and accuracy over the photos."""
    photos = sum(b.photos for b in bins)
    return sum(b.photos * abs(b.confidence - b.accuracy) for b in bins) / photos


def similar_order(matrix: np.ndarray) -> list[int]:
    """An order of the classes in which those that are taken for each other stand side by side.

    By average linkage of the shares of photos that are taken for the other class.

    Args:
        matrix: counts `(classes, classes)`, rows are true classes.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    similarity = (shares + shares.T) / 2
    np.fill_diagonal(similarity, 1.0)
    return leaves_list(linkage(squareform(1 - similarity), "average", optimal_ordering=True)).tolist()


def confused_groups(matrix: np.ndarray, most_classes: int = 8, fewest_mistakes: int = 2) -> list[list[int]]:
    """Groups of up to `most_classes` classes that are taken for each other, those with most mistakes first.

    The pairs of classes with most mistakes between them are joined first. Groups grow while they stay small and there
    are mistakes between half of their pairs of classes on average.
    """
    mistakes = matrix + matrix.T
    pairs = [(a, b) for a, b in np.argwhere(np.triu(mistakes, 1) >= fewest_mistakes).tolist()]
    group_of = {label: [label] for label in range(len(matrix))}
    for a, b in sorted(pairs, key=lambda pair: -mistakes[pair[0], pair[1]]):
        first, second = group_of[a], group_of[b]
        between = mistakes[np.ix_(first, second)].sum()
        if first is second or len(first) + len(second) > most_classes or between < len(first) * len(second) / 2:
            continue
        joined = first + second
        group_of.update(dict.fromkeys(joined, joined))
    groups = {id(group): group for group in group_of.values() if len(group) > 1}.values()

    def inner(group: list[int]) -> int:
        part = matrix[np.ix_(group, group)]
        return int(part.sum() - np.trace(part))

    return sorted(groups, key=inner, reverse=True)
