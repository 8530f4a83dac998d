"""Quality of predictions: accuracy with its interval, and calibration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from clan_tf.evaluation.groups import FEWEST, Groups, draws
from clan_tf.runtime import are_in_top

BINS = 15
"""Bins of confidence, for the calibration error and the reliability diagram."""
NO_INTERVAL = "no interval"
"""In tables, in the place of one."""


_TITLES = {
    "expected_calibration_error": "expected calibration error",
    "equal_mass_calibration_error": "the same, bins of equally many photos",
    "negative_log_likelihood": "negative log-likelihood",
    "brier_score": "Brier score, 0 to 2",
}


@dataclass(frozen=True)
class Share:
    """A share of photos with its 95 % interval, all 0…1: Wilson's score interval (Wilson, 1927) or, of photos in
    groups, one by a bootstrap over the groups."""

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

    @property
    def interval(self) -> str:
        """Its interval in words."""
        return f"{as_percent(self.low)} to {as_percent(self.high)}"

    @classmethod
    def of_photos(cls, are_right: np.ndarray, groups: Groups | None = None) -> "Share":
        """Computes the share of the photos that are right, bool `(photos,)`; its interval over `groups`, if given."""
        if groups is None:
            return cls.of(int(are_right.sum()), len(are_right))
        (share,) = shares_over_groups(are_right[:, None], np.ones((len(are_right), 1), bool), groups)
        return share


def shares_over_groups(are_right: np.ndarray, are_shown: np.ndarray, groups: Groups) -> list[Share]:
    """Computes shares of photos with intervals over groups, several at once.

    Resamples can't say how far off a share is that is the same in all of them. Where no photo is right or all are, and
    where the photos are of fewer than `FEWEST` groups, the interval is Wilson's, of as many photos as there are groups.

    Args:
        are_right: which photos are right, for each share, bool `(photos, shares)`.
        are_shown: which photos each share is of, one or more, bool `(photos, shares)`.
        groups: of the photos.
    """
    right, shown = are_right & are_shown, are_shown
    drawn_right, drawn_shown = groups.resampled_sums(right), groups.resampled_sums(shown)
    # A resample may have no photo that is shown.
    drawn = np.divide(drawn_right, drawn_shown, out=np.full(drawn_shown.shape, np.nan), where=drawn_shown > 0)
    bounds = np.nanpercentile(drawn, (2.5, 97.5), axis=0).T
    units = (groups.sums(shown) > 0).sum(axis=0)
    shares = []
    for hits, photos, own, (low, high) in zip(right.sum(axis=0), shown.sum(axis=0), units, bounds, strict=True):
        value = float(hits / photos)
        if own < FEWEST or value in (0, 1):
            by_groups = Share.of(round(value * own), int(own))
            low, high = by_groups.low, by_groups.high
        shares.append(Share(int(hits), int(photos), value, float(low), float(high)))
    return shares


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval over the photos or over groups of them, of 1,000 resamples.

    Attributes:
        value: the figure.
        low: the lower end of the interval; `None` if there is none, because all resamples have the same figure and so
            can't say how far off it is.
        high: the upper end; `None` if there is no interval.
    """

    value: float
    low: float | None
    high: float | None

    def interval(self, text: Callable[[float], str]) -> str:
        """Returns its interval in words; `text` writes a number."""
        return NO_INTERVAL if self.low is None or self.high is None else f"{text(self.low)} to {text(self.high)}"

    @classmethod
    def of(
        cls,
        statistic: Callable[..., np.ndarray],
        *values: np.ndarray,
        is_biased: bool = False,
        groups: Groups | None = None,
        strata: Sequence[int] | None = None,
    ) -> "Estimate":
        """Computes a statistic of arrays that have a number for each photo.

        Args:
            statistic: of the last axis.
            values: `(photos,)`.
            is_biased: whether noise makes the statistic larger, as it does a mean of absolute values: the interval is
                then mirrored at the value ("basic"), and not below 0.
            groups: of the photos, which are then drawn whole; `None` if photos are independent.
            strata: numbers of photos of the kinds that stand behind each other and are resampled separately; `None`
                for one kind. Not with `groups`.
        """
        value = float(statistic(*values))
        if groups is None:
            parts = [statistic(*(each[indices] for each in values)) for indices in draws(*(strata or [len(values[0])]))]
        else:  # resamples differ in their number of photos
            parts = [statistic(*(each[indices] for each in values))[None] for indices in groups.resamples()]
        low, high = map(float, np.percentile(np.concatenate(parts), (2.5, 97.5)))
        if has_no_width(low, high):
            return cls(value, None, None)
        return cls(value, max(0.0, 2 * value - high), max(0.0, 2 * value - low)) if is_biased else cls(value, low, high)


def has_no_width(low: float, high: float) -> bool:
    """Checks whether the resamples between two bounds are all the same but for rounding."""
    return high - low <= 1e-12 * max(1.0, abs(high))


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
    index = _bins(confidence)
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


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Computes the expected calibration error, 0…1: the mean difference of confidence and accuracy over the photos.

    Args:
        confidence: probability of each photo's predicted class, `(photos,)`.
        correct: whether that class is right, bool `(photos,)`.
    """
    return float(_mean_gap(_bins(confidence), correct - confidence))


def top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """Computes the share of photos whose label is among the `k` most probable classes, by the rule of `are_in_top`.

    Args:
        labels: `(photos,)`.
        probabilities: `(photos, classes)`.
    """
    return float(are_in_top(labels, probabilities, k).mean())


def calibration_figures(
    labels: np.ndarray, probabilities: np.ndarray, groups: Groups | None = None
) -> dict[str, Estimate]:
    """Computes what says how well probabilities are calibrated.

    Args:
        labels: `(photos,)`.
        probabilities: `(photos, classes)`.
        groups: of the photos, if they aren't independent.

    Returns:
        `expected_calibration_error`, 0…1, in bins of equal width; `equal_mass_calibration_error`, the same in bins of
        equally many photos; `negative_log_likelihood`, in nats; and `brier_score`, 0…2, the squared distance to
        probabilities of 1 for the true class and 0 for the others (Brier, 1950).
    """
    confidence = probabilities.max(axis=1).astype("float64")
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    # What photos of the same confidence have in common doesn't depend on their order.
    _, same, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    even_gap = (np.bincount(same, gap) / counts)[same]
    true = probabilities[np.arange(len(labels)), labels].astype("float64")
    # Not as a product, which would hold a copy of all probabilities.
    squares = np.einsum("pc,pc->p", probabilities, probabilities, dtype="float64") - 2 * true + 1
    losses = -np.log(np.maximum(true, np.finfo("float32").tiny))
    by_mass = Estimate.of(_mean_gap_of_equal_mass, confidence, even_gap, is_biased=True, groups=groups)
    return {
        "expected_calibration_error": Estimate.of(_mean_gap, _bins(confidence), gap, is_biased=True, groups=groups),
        "equal_mass_calibration_error": by_mass,
        "negative_log_likelihood": Estimate.of(_mean, losses, groups=groups),
        "brier_score": Estimate.of(_mean, squares, groups=groups),
    }


def calibration_rows(
    figures: Mapping[str, Estimate], uncalibrated: Mapping[str, Estimate] | None = None
) -> list[tuple[str, ...]]:
    """Returns what to show of `calibration_figures`: name, value, interval, and the same uncalibrated if given.

    Figures that a file lacks are left out.
    """
    rows: list[tuple[str, ...]] = []
    for name in [name for name in _TITLES if name in figures and name in (uncalibrated or figures)]:
        one, text = figures[name], as_percent if name.endswith("_error") else "{:.3f}".format
        row = (_TITLES[name], text(one.value), one.interval(text))
        raw = uncalibrated and uncalibrated[name]
        rows.append((*row, f"{text(raw.value)} ({raw.interval(text)})") if raw else row)
    return rows


def calibration_text(figures: Mapping[str, Estimate], uncalibrated: Mapping[str, Estimate] | None) -> str:
    """Returns what to know of `calibration_rows`."""
    text = "Chance alone makes a calibration error, so intervals of the first two lie low, and may not hold the value."
    loss = "negative_log_likelihood"
    if uncalibrated and loss in figures and figures[loss].value > uncalibrated[loss].value:
        text += " For these photos the temperature made the likelihood worse: the validation photos differ from them."
    return text


def as_percent(share: float) -> str:
    """Writes a share of 1 as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1)


def _bins(confidence: np.ndarray) -> np.ndarray:
    """Returns the number of each photo's bin of equal width."""
    return np.minimum((confidence.astype("float64") * BINS).astype(int), BINS - 1)


def _mean_gap(bins: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Sums the bins' absolute sums of accuracy minus confidence, over the number of photos."""
    rows, photos = np.atleast_2d(gap), gap.shape[-1]
    places = np.atleast_2d(bins) + BINS * np.arange(len(rows))[:, None]
    sums = np.bincount(places.ravel(), rows.ravel(), BINS * len(rows)).reshape(len(rows), BINS)
    return (np.abs(sums).sum(axis=-1) / photos).reshape(gap.shape[:-1])


def _mean_gap_of_equal_mass(confidence: np.ndarray, gap: np.ndarray) -> np.ndarray:
    photos, order = gap.shape[-1], np.argsort(confidence, axis=-1, kind="stable")
    bins = np.arange(photos) * min(BINS, photos) // photos
    return _mean_gap(np.broadcast_to(bins, gap.shape), np.take_along_axis(gap, order, axis=-1))
