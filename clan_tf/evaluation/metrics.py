"""Quality of predictions: accuracy with its interval, calibration, and confused classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, bootstrap

from clan_tf.runtime import are_in_top

BINS, RESAMPLES = 15, 1000
"""Bins of confidence, for the calibration error and the reliability diagram; and how often the bootstrap resamples."""


_TITLES = {
    "expected_calibration_error": "expected calibration error",
    "adaptive_calibration_error": "the same, bins of equally many photos",
    "negative_log_likelihood": "negative log-likelihood",
    "brier_score": "Brier score, 0 to 2",
}


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
class Estimate:
    """A figure with its 95 % bootstrap interval over the photos, by percentiles of 1,000 resamples."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, statistic: Callable[..., float], *values: np.ndarray) -> "Estimate":
        """Computes a statistic of arrays that have a row for each photo."""
        value = float(statistic(*values))
        if len(values[0]) < 2:
            return cls(value, value, value)
        result = bootstrap(
            values,
            statistic,
            n_resamples=RESAMPLES,
            paired=True,
            vectorized=False,
            method="percentile",
            random_state=np.random.default_rng(0),
        )
        interval = result.confidence_interval
        return cls(value, float(interval.low), float(interval.high))


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


def calibration_figures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Estimate]:
    """Computes what says how well probabilities are calibrated.

    Args:
        labels: `(photos,)`.
        probabilities: `(photos, classes)`.

    Returns:
        `expected_calibration_error`, 0…1, in bins of equal width; `adaptive_calibration_error`, the same in bins of
        equally many photos (Nixon et al., 2019); `negative_log_likelihood`, in nats; and `brier_score`, 0…2, the
        squared distance to the true class's probabilities of 1 and 0 (Brier, 1950).
    """
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    true = probabilities[np.arange(len(labels)), labels].astype("float64")
    squares = np.square(probabilities.astype("float64")).sum(axis=1) - 2 * true + 1
    return {
        "expected_calibration_error": Estimate.of(_error_of_equal_width, confidence, correct),
        "adaptive_calibration_error": Estimate.of(_error_of_equal_mass, confidence, correct),
        "negative_log_likelihood": Estimate.of(np.mean, -np.log(np.maximum(true, np.finfo("float32").tiny))),
        "brier_score": Estimate.of(np.mean, squares),
    }


def calibration_rows(
    figures: Mapping[str, Estimate], uncalibrated: Mapping[str, Estimate] | None = None
) -> list[tuple[str, ...]]:
    """Returns what to show of `calibration_figures`: name, value, interval, and the uncalibrated value if there is one.

    Figures that a file lacks are left out.
    """
    rows: list[tuple[str, ...]] = []
    for name in [name for name in _TITLES if name in figures and name in (uncalibrated or figures)]:
        one, text = figures[name], as_percent if name.endswith("_error") else "{:.3f}".format
        row = (_TITLES[name], text(one.value), f"{text(one.low)} to {text(one.high)}")
        rows.append((*row, text(uncalibrated[name].value)) if uncalibrated else row)
    return rows


def as_percent(share: float) -> str:
    """Writes a share of 1 as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def _error_of_equal_width(confidence: np.ndarray, correct: np.ndarray) -> float:
    return calibration_error(reliability_bins(confidence, correct))


def _error_of_equal_mass(confidence: np.ndarray, correct: np.ndarray) -> float:
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(BINS, len(confidence)))
    return sum(len(part) * abs(confidence[part].mean() - correct[part].mean()) for part in parts) / len(confidence)


def confused_pairs(confusion: np.ndarray) -> list[tuple[int, int, int]]:
    """Lists true label, predicted label and number of photos of the mistakes, most photos first.

    Args:
        confusion: counts `(classes, classes)`, rows are true classes.
    """
    mistakes = confusion - np.diag(np.diag(confusion))
    pairs = [(int(true), int(predicted), int(mistakes[true, predicted])) for true, predicted in np.argwhere(mistakes)]
    return sorted(pairs, key=lambda pair: -pair[2])
