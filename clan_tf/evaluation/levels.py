"""How good a model is on each level of its taxonomy, and how bad its mistakes are."""

from dataclasses import dataclass

import numpy as np

from clan_tf.evaluation.groups import Groups
from clan_tf.evaluation.metrics import Estimate, Share, as_percent
from clan_tf.taxonomy import Taxonomy

ROOT = "(root)"
"""In tables, the common ancestor of classes that have none on any level."""


@dataclass(frozen=True)
class LevelFigures:
    """The figures of one level.

    Attributes:
        level: its name.
        labels: how many names there are on it.
        accuracy: the share of photos whose most probable name on this level, by the sums of the classes'
            probabilities, is right.
        shared: the share of the mistakes of the classes' level whose true and predicted class are in the same group of
            this level; `None` without mistakes, and on the classes' level.
    """

    level: str
    labels: int
    accuracy: Share
    shared: Share | None


@dataclass(frozen=True)
class Severity:
    """The mistakes of one severity.

    Attributes:
        common: the finest level on which the true and the predicted class have the same name; `None` if there is none.
        height: of their lowest common ancestor: its number of levels above the classes.
        mistakes: their share of all mistakes.
    """

    common: str | None
    height: int
    mistakes: Share


@dataclass(frozen=True)
class Levels:
    """Accuracy by level, and the severity of mistakes.

    Attributes:
        accuracy: by level, the classes' first.
        severity: from the lightest mistakes to the worst; nothing without mistakes.
        mean_height: the mean height of the lowest common ancestor over the mistakes, the hierarchical distance of a
            mistake, with a bootstrap interval; `None` without mistakes.

    Reference:
        Bertinetto, Mueller, Tertikas, Samangooei and Lord, Making Better Mistakes: Leveraging Class Hierarchies with
        Deep Networks, CVPR 2020.
    """

    accuracy: list[LevelFigures]
    severity: list[Severity]
    mean_height: Estimate | None


def level_figures(
    taxonomy: Taxonomy | None, labels: np.ndarray, probabilities: np.ndarray, groups: Groups | None = None
) -> Levels | None:
    """Computes the figures of a model's levels; `None` without a taxonomy.

    Args:
        taxonomy: the model's.
        labels: the true classes, `(photos,)`.
        probabilities: of the classes, `(photos, classes)`.
        groups: of the photos, if they aren't independent.
    """
    if taxonomy is None:
        return None
    predicted = probabilities.argmax(axis=1)
    heights = taxonomy.heights(labels, predicted)
    mistaken = groups and groups.subset(heights > 0)
    heights = heights[heights > 0]
    mistakes, levels = len(heights), range(len(taxonomy.levels))
    accuracy = []
    for level in levels:
        right = taxonomy.probabilities(probabilities, level).argmax(axis=1) == taxonomy.groups[level][labels]
        shared = Share.of_photos(heights <= level, mistaken) if mistakes and level else None
        count = len(taxonomy.labels(level))
        accuracy.append(LevelFigures(taxonomy.levels[level], count, Share.of_photos(right, groups), shared))
    severity = [
        Severity(common, height, Share.of_photos(heights == height, mistaken))
        for height, common in enumerate([*taxonomy.levels, None])
        if height and mistakes
    ]
    return Levels(accuracy, severity, _mean_height(heights, len(taxonomy.levels), mistaken) if mistakes else None)


def _mean_height(heights: np.ndarray, most: int, groups: Groups | None) -> Estimate:
    """Computes the mean of heights 1…`most`, one of each mistake.

    Mistakes that are all of one height say nothing about others, and neither do their resamples. But others can be no
    more than the upper end of Wilson's interval of a share of 0, which is the interval if these were the worst, or the
    mildest.
    """
    mean = Estimate.of(lambda values: values.mean(axis=-1), heights.astype("float64"), groups=groups)
    if mean.low is not None:
        return mean
    others = Share.of_photos(np.zeros(len(heights), bool), groups).high
    return Estimate(mean.value, mean.value + others * (1 - mean.value), mean.value + others * (most - mean.value))


def accuracy_rows(levels: Levels) -> list[tuple[str, str, str, str, str]]:
    """Returns what to show of the levels: name, number of names, accuracy, its interval, and mistakes within it."""
    return [
        (one.level, f"{one.labels:,}", as_percent(one.accuracy.value), one.accuracy.interval, _within(one.shared))
        for one in levels.accuracy
    ]


def severity_rows(levels: Levels) -> list[tuple[str, str, str, str, str]]:
    """Returns what to show of the mistakes: lowest common level, height, number, share, and its interval."""
    return [
        (
            one.common or ROOT,
            str(one.height),
            f"{one.mistakes.right:,}",
            as_percent(one.mistakes.value),
            one.mistakes.interval,
        )
        for one in levels.severity
    ]


def mean_height_text(levels: Levels) -> str:
    """Returns a sentence on the mean height of the mistakes."""
    if levels.mean_height is None:
        return "There are no mistakes."
    mean, most = levels.mean_height, len(levels.accuracy)
    return (
        f"Mean height of the lowest common ancestor: {mean.value:.2f} of {most} "
        f"(95 % interval {mean.interval('{:.2f}'.format)}); 1 is the mildest mistake."
    )


def table_rows(levels: Levels) -> list[dict[str, object]]:
    """Returns the rows of `levels.csv`: one for each level, and one for the root, which has no accuracy."""
    severity = {one.common: one for one in levels.severity}
    rows: list[dict[str, object]] = []
    for height, one in enumerate([*levels.accuracy, None]):
        name = one.level if one else None
        row: dict[str, object] = {"level": name or ROOT, "height": height, "labels": one.labels if one else ""}
        row |= _columns("accuracy", one.accuracy if one else None)
        row |= _columns("mistakes_here", severity[name].mistakes if name in severity else None)
        row |= _columns("mistakes_shared", one.shared if one else None)
        rows.append(row)
    return rows


def _columns(name: str, share: Share | None) -> dict[str, object]:
    if share is None:
        return {name: "", f"{name}_low": "", f"{name}_high": ""}
    return {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}


def _within(share: Share | None) -> str:
    return f"{as_percent(share.value)} ({share.interval})" if share else ""
