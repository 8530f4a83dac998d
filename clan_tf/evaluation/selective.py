"""What is gained by withholding the least probable answers: error by coverage, and what a model's thresholds do."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clan_tf.evaluation.groups import Groups
from clan_tf.evaluation.metrics import Share, as_percent, shares_over_groups
from clan_tf.rejection import Rejection

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Of the points that are printed."""
_POINTS = 200
"""Most points of a curve."""


@dataclass(frozen=True)
class RiskPoint:
    """A point of a risk-coverage curve.

    Attributes:
        answered: the most probable answers, and their share of all photos.
        threshold: the lowest probability among them.
        error: how many of them are wrong, and their share.
    """

    answered: Share
    threshold: float
    error: Share


@dataclass(frozen=True)
class Selective:
    """Answers by their probability.

    Attributes:
        curve: from few answers to all.
        area: the mean error over all coverages, the area under the curve, 0…1.
        rejection: when the model withholds an answer; `None` if it never does.
        answered: the photos that it answers then.
        error: how many of these answers are wrong; `None` if there are none.
    """

    curve: list[RiskPoint]
    area: float
    rejection: Rejection | None
    answered: Share | None
    error: Share | None

    def points(self) -> list[RiskPoint]:
        """Returns the points at `COVERAGES`, or with a few answers more where several are equally probable."""
        chosen = (next(point for point in self.curve if point.answered.value >= least - 1e-9) for least in COVERAGES)
        return list({point.answered.right: point for point in chosen}.values())


def risk_curve(scores: np.ndarray, wrong: np.ndarray, groups: Groups | None = None) -> list[RiskPoint]:
    """Computes a risk-coverage curve of at most 200 points.

    Args:
        scores: the probability of each answer, `(photos,)`; those of the same are given or withheld together.
        wrong: which answers are wrong, bool `(photos,)`.
        groups: of the photos, for the intervals.
    """
    ordered, mistakes, ends = _ordered(scores, wrong)
    photos = len(scores)
    few = ends[np.unique(np.searchsorted(ends, np.linspace(1, photos, min(photos, _POINTS))))]
    thresholds = ordered[few - 1]
    if groups is None:
        answered = [Share.of(int(count), photos) for count in few]
        errors = [Share.of(int(mistakes[count - 1]), int(count)) for count in few]
    else:
        are_given = scores[:, None] >= thresholds
        answered = shares_over_groups(are_given, np.ones_like(are_given), groups)
        errors = shares_over_groups(np.broadcast_to(wrong[:, None], are_given.shape), are_given, groups)
    return [RiskPoint(*point) for point in zip(answered, map(float, thresholds), errors, strict=True)]


def _ordered(scores: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the scores from the highest, the mistakes up to each, and how many photos have each different score."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    return ordered, np.cumsum(wrong[order]), np.flatnonzero(np.append(ordered[1:] < ordered[:-1], True)) + 1


def selective_figures(
    labels: np.ndarray, probabilities: np.ndarray, rejection: Rejection | None, groups: Groups | None = None
) -> Selective:
    """Computes how many answers are wrong if the least probable ones are withheld (El-Yaniv and Wiener, JMLR 2010).

    Args:
        labels: the true classes, `(photos,)`.
        probabilities: of the combined prediction, `(photos, classes)`.
        rejection: when the model withholds an answer.
        groups: of the photos, if they aren't independent.
    """
    scores, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    _, mistakes, ends = _ordered(scores, wrong)
    photos, curve = len(labels), risk_curve(scores, wrong, groups)
    area = float(np.sum(mistakes[ends - 1] / ends * np.diff(ends, prepend=0)) / photos)
    if rejection is None:
        return Selective(curve, area, None, None, None)
    given = rejection.accepts(probabilities)
    error = Share.of_photos(wrong[given], groups and groups.subset(given)) if given.any() else None
    return Selective(curve, area, rejection, Share.of_photos(given, groups), error)


def risk_rows(selective: Selective) -> list[tuple[str, str, str, str]]:
    """Returns what to show of the curve: share of photos answered, lowest probability, error, and its interval."""
    return [
        (
            as_percent(point.answered.value),
            f"{point.threshold:.4f}",
            as_percent(point.error.value),
            point.error.interval,
        )
        for point in selective.points()
    ]


def rejection_text(selective: Selective) -> str:
    """Returns a sentence on what the model's thresholds do to these photos."""
    rejection, answered, error = selective.rejection, selective.answered, selective.error
    if rejection is None or answered is None:
        return (
            "Every answer is given. clan-tf calibrate RUN --accept-error E finds a threshold for the usual combination."
        )
    share = f"{answered.right:,} of {answered.photos:,} photos ({as_percent(answered.value)}) are answered"
    if error is None:
        return f"Answers take {rejection}: none is given."
    wrong = f"{error.right:,} wrongly ({as_percent(error.value)}, 95 % interval {error.interval})"
    return f"Answers take {rejection}: {share}, {wrong}."


def curve_rows(selective: Selective) -> list[dict[str, Any]]:
    """Returns the rows of `risk_coverage.csv`."""
    return [
        {
            "coverage": point.answered.value,
            "answered": point.answered.right,
            "threshold": point.threshold,
            "wrong": point.error.right,
            "error": point.error.value,
            "low": point.error.low,
            "high": point.error.high,
        }
        for point in selective.curve
    ]
