"""What a confusion matrix says about a classifier: figures over all classes, and of each, with intervals."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from clan_tf.evaluation.groups import RESAMPLES, Groups
from clan_tf.evaluation.metrics import Estimate, Share, as_percent

CLASS_COLUMNS = ("class", "photos", "accuracy", "low", "high", "predicted", "precision", "f1")
"""Of `class_rows`."""
_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_precision": "weighted precision",
    "weighted_f1": "weighted F1",
    "matthews_correlation": "Matthews correlation",
}
_NUMBERS = 2**24
"""How many numbers of resampled matrices are in memory at a time."""


def confusion_figures(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Computes figures over all classes from confusion matrices.

    Macro averages are over the classes that have photos, as scikit-learn's with `labels=np.unique(labels)`; by default
    it also counts, as 0, those that photos are only taken for. A class without predicted photos has a precision of 0.
    Weighted averages are weighted by the number of photos.

    Args:
        confusion: counts `(…, classes, classes)`, rows are true classes.

    Returns:
        Arrays `(…)`: `balanced_accuracy` and `macro_recall`, which are the same; `macro_precision`, `macro_f1`,
        `weighted_precision`, `weighted_f1`, all 0…1; and `matthews_correlation`, -1…1 (Gorodkin, 2004), 0 where it
        isn't defined.
    """
    counts = confusion.astype("float64")
    photos, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    right, total = np.einsum("...ii->...i", counts), counts.sum(axis=(-2, -1))
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(photos, 1)
    f1 = 2 * right / np.maximum(photos + predicted, 1)
    own = photos > 0
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
        "matthews_correlation": covariance / np.sqrt(np.where(spread > 0, spread, np.inf)),
    }


def estimated_figures(
    labels: np.ndarray, predicted: np.ndarray, classes: int, groups: Groups | None = None
) -> dict[str, Estimate]:
    """Computes `confusion_figures` with bootstrap intervals over the photos, or over groups of them.

    Where every photo is classified rightly, so is every resample, and an interval of no width would say too much: the
    accuracy's own stands for all.

    Args:
        labels: true classes, int `(photos,)`.
        predicted: predicted classes, int `(photos,)`.
        classes: how many there are.
        groups: of the photos, if they aren't independent.
    """
    cells = labels.astype("int64") * classes + predicted
    confusion = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    values = confusion_figures(confusion)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in values}
    for matrices in _resampled(confusion) if groups is None else _resampled_groups(confusion, cells, groups):
        for name, figures in confusion_figures(matrices.reshape(-1, classes, classes)).items():
            drawn[name].append(figures)
    bounds = {name: np.percentile(np.concatenate(parts), (2.5, 97.5)) for name, parts in drawn.items()}
    if (right := Share.of_photos(labels == predicted, groups)).value == 1:
        bounds = dict.fromkeys(bounds, np.array([right.low, right.high]))
    return {name: Estimate(float(value), *map(float, bounds[name])) for name, value in values.items()}


def _resampled(confusion: np.ndarray) -> Iterator[np.ndarray]:
    """Yields matrices of resampled photos, `(resamples, cells)`.

    Drawing the counts of the cells from a multinomial distribution is drawing photos with replacement.
    """
    rng, photos = np.random.default_rng(0), int(confusion.sum())
    cells = np.flatnonzero(confusion)
    at_a_time = max(1, _NUMBERS // confusion.size)
    for first in range(0, RESAMPLES, at_a_time):
        count = min(at_a_time, RESAMPLES - first)
        matrices = np.zeros((count, confusion.size))
        matrices[:, cells] = rng.multinomial(photos, confusion.flat[cells] / photos, size=count)
        yield matrices


def _resampled_groups(confusion: np.ndarray, cells: np.ndarray, groups: Groups) -> Iterator[np.ndarray]:
    """Yields matrices of resampled groups, `(resamples, cells)`; `cells` says where in the matrix each photo counts."""
    counts = csr_array((np.ones(len(cells)), (groups.ids, cells)), shape=(len(groups), confusion.size))
    at_a_time = max(1, _NUMBERS // confusion.size)
    for times in groups.times():
        for first in range(0, len(times), at_a_time):
            yield times[first : first + at_a_time] @ counts


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Returns the shares of each true class's photos, `(classes, classes)`; 0 for a class without photos."""
    return confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)


def average_rows(figures: Mapping[str, Estimate]) -> list[tuple[str, ...]]:
    """Returns what to show of figures over all classes: name, value and interval. Those a file lacks are left out."""
    rows: list[tuple[str, ...]] = []
    tops = {name: f"top-{name[3:]} accuracy" for name in figures if re.fullmatch("top[0-9]+", name)}
    for name, title in (tops | _TITLES).items():
        if name in figures:
            one, text = figures[name], "{:.3f}".format if name == "matthews_correlation" else as_percent
            rows.append((title, text(one.value), f"{text(one.low)} to {text(one.high)}"))
    return rows


def class_rows(confusion: np.ndarray, names: Sequence[str]) -> list[dict[str, str | int | float | None]]:
    """Returns a row for each class that has photos, in the order of the labels.

    A row holds `class`, `photos`, `accuracy`, which is the class's recall, its 95 % Wilson interval `low` to `high`,
    how many photos were `predicted` to be of the class, `precision` (`None` if none was) and `f1`.
    """
    rows: list[dict[str, str | int | float | None]] = []
    for label, name in enumerate(names):
        photos, predicted, right = confusion[label].sum(), confusion[:, label].sum(), confusion[label, label]
        if not photos:
            continue
        recall = Share.of(int(right), int(photos))
        rows.append(
            {
                "class": name,
                "photos": recall.photos,
                "accuracy": recall.value,
                "low": recall.low,
                "high": recall.high,
                "predicted": int(predicted),
                "precision": float(right / predicted) if predicted else None,
                "f1": float(2 * right / (photos + predicted)),
            }
        )
    return rows
