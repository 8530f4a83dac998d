"""What a confusion matrix says about a classifier: figures over all classes, and of each, with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from clan_tf.evaluation.metrics import RESAMPLES, Estimate, Share, as_percent

CLASS_COLUMNS = ("class", "photos", "accuracy", "low", "high", "predicted", "precision", "f1")
"""Of `class_rows`."""
_TITLES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
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

    Macro averages are over the classes that photos have or are taken for, as in scikit-learn; a class without predicted
    photos has a precision of 0, one without photos a recall of 0. Weighted averages are weighted by the number of
    photos.

    Args:
        confusion: counts `(…, classes, classes)`, rows are true classes.

    Returns:
        Arrays `(…)`: `balanced_accuracy`, the mean recall of the classes that have photos; `macro_precision`,
        `macro_recall`, `macro_f1`, `weighted_precision`, `weighted_f1`, all 0…1; and `matthews_correlation`, -1…1
        (Gorodkin, 2004), 0 where it isn't defined.
    """
    counts = confusion.astype("float64")
    photos, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    right, total = np.einsum("...ii->...i", counts), counts.sum(axis=(-2, -1))
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(photos, 1)
    f1 = 2 * right / np.maximum(photos + predicted, 1)
    own, known = photos > 0, photos + predicted > 0
    covariance = right.sum(axis=-1) * total - (photos * predicted).sum(axis=-1)
    spread = (total**2 - np.square(photos).sum(axis=-1)) * (total**2 - np.square(predicted).sum(axis=-1))

    def macro(values: np.ndarray) -> np.ndarray:
        return (values * known).sum(axis=-1) / known.sum(axis=-1)

    def weighted(values: np.ndarray) -> np.ndarray:
        return (values * photos).sum(axis=-1) / total

    return {
        "balanced_accuracy": (recall * own).sum(axis=-1) / own.sum(axis=-1),
        "macro_precision": macro(precision),
        "macro_recall": macro(recall),
        "macro_f1": macro(f1),
        "weighted_precision": weighted(precision),
        "weighted_f1": weighted(f1),
        "matthews_correlation": covariance / np.sqrt(np.where(spread > 0, spread, np.inf)),
    }


def estimated_figures(confusion: np.ndarray) -> dict[str, Estimate]:
    """Computes `confusion_figures` of one matrix `(classes, classes)` with bootstrap intervals over the photos.

    Drawing the counts of the cells from a multinomial distribution is drawing photos with replacement.
    """
    values = confusion_figures(confusion)
    rng, photos = np.random.default_rng(0), int(confusion.sum())
    cells = np.flatnonzero(confusion)
    at_a_time = max(1, _NUMBERS // confusion.size)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in values}
    for first in range(0, RESAMPLES, at_a_time):
        count = min(at_a_time, RESAMPLES - first)
        matrices = np.zeros((count, confusion.size))
        matrices[:, cells] = rng.multinomial(photos, confusion.flat[cells] / photos, size=count)
        for name, figures in confusion_figures(matrices.reshape(count, *confusion.shape)).items():
            drawn[name].append(figures)
    bounds = {name: np.percentile(np.concatenate(parts), (2.5, 97.5)) for name, parts in drawn.items()}
    return {name: Estimate(float(value), *map(float, bounds[name])) for name, value in values.items()}


def average_rows(figures: Mapping[str, Estimate]) -> list[tuple[str, ...]]:
    """Returns what to show of figures over all classes: name, value and interval. Those a file lacks are left out."""
    rows: list[tuple[str, ...]] = []
    for name, title in _TITLES.items():
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
