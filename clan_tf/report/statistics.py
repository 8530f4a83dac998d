"""Classes that are confused with each other: their order and their groups."""

from collections import Counter

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from clan_tf.evaluation import Cells


def similar_order(matrix: np.ndarray) -> list[int]:
    """Orders the classes so that those confused with each other are adjacent.

    Uses average linkage of the shares of photos that are taken for the other class.

    Args:
        matrix: counts `(classes, classes)`, rows are true classes.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    similarity = (shares + shares.T) / 2
    np.fill_diagonal(similarity, 1.0)
    return leaves_list(linkage(squareform(1 - similarity), "average", optimal_ordering=True)).tolist()


def confused_groups(cells: Cells, most_classes: int = 8, fewest_mistakes: int = 2) -> list[list[int]]:
    """Returns groups of up to `most_classes` classes confused with each other, those with most mistakes first.

    The pairs of classes with most mistakes between them are joined first. Groups grow as long as they stay small and
    half of their pairs of classes have mistakes on average.
    """
    mistakes: Counter[tuple[int, int]] = Counter()
    for true, predicted, photos in cells.mistakes():
        mistakes[min(true, predicted), max(true, predicted)] += photos
    pairs = sorted(pair for pair, photos in mistakes.items() if photos >= fewest_mistakes)
    group_of = {label: [label] for label in range(cells.classes)}
    for a, b in sorted(pairs, key=lambda pair: -mistakes[pair]):
        first, second = group_of[a], group_of[b]
        between = sum(mistakes[min(one, other), max(one, other)] for one in first for other in second)
        if first is second or len(first) + len(second) > most_classes or between < len(first) * len(second) / 2:
            continue
        joined = first + second
        group_of.update(dict.fromkeys(joined, joined))
    groups = {id(group): group for group in group_of.values() if len(group) > 1}.values()

    def inner(group: list[int]) -> int:
        part = cells.part(group)
        return int(part.sum() - np.trace(part))

    return sorted(groups, key=inner, reverse=True)
