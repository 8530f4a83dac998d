"""What a confusion matrix says about a classifier: figures over all classes, and of each, with intervals."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from clan_tf.evaluation.cells import Cells
from clan_tf.evaluation.groups import RESAMPLES, Groups
from clan_tf.evaluation.intervals import bias_corrected
from clan_tf.evaluation.metrics import Estimate, Share, as_percent, has_no_width

CORRELATION = "matthews_correlation"
RECALLS = ("balanced_accuracy", "macro_recall")
"""Means of shares of each class's own photos, whose resamples aren't shifted."""
CLASS_COLUMNS = ("class", "photos", "accuracy", "low", "high", "predicted", "precision", "f1")
"""Of `class_rows`."""
_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_precision": "weighted precision",
    "weighted_f1": "weighted F1",
    CORRELATION: "Matthews correlation",
}
_NUMBERS = 2**22
"""How many numbers of resamples are in memory at a time."""


def confusion_figures(photos: np.ndarray, predicted: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """Computes figures over all classes from the sums of confusion matrices.

    Macro averages are over the classes that have photos, as scikit-learn's with `labels=np.unique(labels)`; by default
    it also counts, as 0, those that photos are only taken for. A class without predicted photos has a precision of 0.
    Weighted averages are weighted by the number of photos.

    Args:
        photos: how many are of each class, `(…, classes)`.
        predicted: how many are taken for it, `(…, classes)`.
        right: how many are both, `(…, classes)`.

    Returns:
        Arrays `(…)`: `balanced_accuracy` and `macro_recall`, which are the same; `macro_precision`, `macro_f1`,
        `weighted_precision`, `weighted_f1`, all 0…1; and `matthews_correlation`, -1…1 (Gorodkin, 2004), 0 where it
        isn't defined.
    """
    photos, predicted, right = (each.astype("float64") for each in (photos, predicted, right))
    total, own = photos.sum(axis=-1), photos > 0
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(photos, 1)
    f1 = 2 * right / np.maximum(photos + predicted, 1)
    covariance = right.sum(axis=-1) * total - (photos * predicted).sum(axis=-1)
    spread = (total**2 - np.square(photos).sum(axis=-1)) * (total**2 - np.square(predicted).sum(axis=-1))

    def macro(values: np.ndarray) -> np.ndarray:
        return (values * own).sum(axis=-1) / own.sum(axis=-1)

    def weighted(values: np.ndarray) -> np.ndarray:
        return (values * photos).sum(axis=-1) / total

    return {
        "balanced_accuracy": macro(recall),
        "macro_precision": macro(precision),
        "macro_recall": macro(recall),
        "macro_f1": macro(f1),
        "weighted_precision": weighted(precision),
        "weighted_f1": weighted(f1),
        CORRELATION: covariance / np.sqrt(np.where(spread > 0, spread, np.inf)),
    }


def estimated_figures(
    labels: np.ndarray, predicted: np.ndarray, classes: int, groups: Groups | None = None
) -> dict[str, Estimate]:
    """Computes `confusion_figures` with bootstrap intervals over the photos, or over groups of them.

    The intervals are those of `bias_corrected`, and percentiles for `RECALLS`. Where a figure is at an end of its
    range, above all because every photo is classified rightly, or none is, its resamples say too little: it has the
    interval of an accuracy at that end. A figure elsewhere that is the same in all resamples has none.

    Args:
        labels: true classes, int `(photos,)`.
        predicted: predicted classes, int `(photos,)`.
        classes: how many there are.
        groups: of the photos, if they aren't independent.
    """
    values = confusion_figures(*Cells.of(labels, predicted, classes).by_class())
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in values}
    for sums in resampled_sums(labels, predicted, classes, groups):
        for name, figures in confusion_figures(*np.moveaxis(sums, 1, 0)).items():
            drawn[name].append(figures)
    ends = {
        1.0: Share.of_photos(np.ones(len(labels), bool), groups).low,
        0.0: Share.of_photos(np.zeros(len(labels), bool), groups).high,
    }
    present = len(np.unique(np.r_[labels, predicted]))
    return {
        name: _estimate(name, float(value), np.concatenate(drawn[name]), ends, present)
        for name, value in values.items()
    }


def _estimate(name: str, value: float, resampled: np.ndarray, ends: Mapping[float, float], classes: int) -> Estimate:
    """Returns a figure with its interval.

    Args:
        name: its name.
        value: of the photos.
        resampled: of each resample, `(resamples,)`.
        ends: the other bound of an accuracy that is 1, and of one that is 0.
        classes: the number of classes that photos are of or are taken for.
    """
    lowest = -1.0 if name == CORRELATION else 0.0
    low, high = map(float, np.percentile(resampled, (2.5, 97.5)))
    if lowest < value < 1:
        if has_no_width(resampled.min(), resampled.max()):
            return Estimate(value, None, None)
        if name in RECALLS:
            return Estimate(value, min(low, value), max(high, value))
        return Estimate(value, *bias_corrected(value, resampled, lowest))
    bound = ends[max(value, 0.0)]
    if name == CORRELATION:  # of equally frequent classes whose mistakes are spread evenly, with this accuracy
        bound = (classes * bound - 1) / (classes - 1)
    return Estimate(value, min(bound, low), 1.0) if value > 0 else Estimate(value, lowest, max(bound, high))


def resampled_sums(
    labels: np.ndarray, predicted: np.ndarray, classes: int, groups: Groups | None
) -> Iterator[np.ndarray]:
    """Yields what `confusion_figures` takes, of resampled photos or of resampled groups, `(resamples, 3, classes)`.

    Only the cells of the matrix that aren't 0 are drawn: their counts, from a multinomial distribution, are those of
    photos that are drawn with replacement.
    """
    if groups is None:
        cells = Cells.of(labels, predicted, classes)
        sums, at_a_time = _sums_of_units(np.arange(len(cells.photos)), cells.true, cells.predicted, classes)
        rng, photos = np.random.default_rng(0), len(labels)
        for first in range(0, RESAMPLES, at_a_time):
            times = rng.multinomial(photos, cells.photos / photos, size=min(at_a_time, RESAMPLES - first))
            yield (times @ sums).reshape(-1, 3, classes)
    else:
        sums, at_a_time = _sums_of_units(groups.ids, labels, predicted, classes)
        for times in groups.times():
            for first in range(0, len(times), at_a_time):
                yield (times[first : first + at_a_time] @ sums).reshape(-1, 3, classes)


def _sums_of_units(units: np.ndarray, true: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[csr_array, int]:
    """Returns the sums of each unit by class, `(units, 3 · classes)`, and how many resamples are drawn at a time."""
    right = true == predicted
    columns = np.concatenate([true, classes + predicted, 2 * classes + true[right]])
    rows, count = np.concatenate([units, units, units[right]]), int(units.max()) + 1
    sums = csr_array((np.ones(len(rows)), (rows, columns)), shape=(count, 3 * classes))
    return sums, max(1, _NUMBERS // max(count, 3 * classes))


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Returns the shares of each true class's photos, `(classes, classes)`; 0 for a class without photos."""
    return confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)


def average_rows(figures: Mapping[str, Estimate]) -> list[tuple[str, ...]]:
    """Returns what to show of figures over all classes: name, value and interval. Those a file lacks are left out."""
    rows: list[tuple[str, ...]] = []
    tops = {name: f"top-{name[3:]} accuracy" for name in figures if re.fullmatch("top[0-9]+", name)}
    for name, title in (tops | _TITLES).items():
        if name in figures:
            one, text = figures[name], "{:.3f}".format if name == CORRELATION else as_percent
            rows.append((title, text(one.value), one.interval(text)))
    return rows


def class_rows(cells: Cells, names: Sequence[str]) -> list[dict[str, str | int | float | None]]:
    """Returns a row for each class that has photos, in the order of the labels.

    A row holds `class`, `photos`, `accuracy`, which is the class's recall, its 95 % Wilson interval `low` to `high`,
    how many photos were `predicted` to be of the class, `precision` (`None` if none was) and `f1`.
    """
    rows: list[dict[str, str | int | float | None]] = []
    for name, (photos, predicted, right) in zip(names, cells.by_class().T.tolist(), strict=True):
        if not photos:
            continue
        recall = Share.of(right, photos)
        rows.append(
            {
                "class": name,
                "photos": recall.photos,
                "accuracy": recall.value,
                "low": recall.low,
                "high": recall.high,
                "predicted": predicted,
                "precision": right / predicted if predicted else None,
                "f1": 2 * right / (photos + predicted),
            }
        )
    return rows
