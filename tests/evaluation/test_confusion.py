"""Figures of a confusion matrix against scikit-learn's of the photos, and their intervals against resampled photos."""

import numpy as np
import pytest
from sklearn import metrics

from clan_tf.evaluation.confusion import CLASS_COLUMNS, class_rows, confusion_figures, estimated_figures
from clan_tf.evaluation.metrics import Share

CLASSES = 5


@pytest.fixture
def answers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of 80 photos; no photo is of class 3, and none is taken for class 4."""
    labels = rng.choice([0, 1, 2, 4], 80, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(80) < 0.6, labels, rng.integers(0, 4, 80))
    return labels, np.where(predicted == 4, 1, predicted)


def matrix_of(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return metrics.confusion_matrix(labels, predicted, labels=range(CLASSES))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_figures_are_those_of_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    """Photos are taken for class 3, which none has: averages are over the others."""
    figures = confusion_figures(matrix_of(*answers))
    options = {"zero_division": 0, "labels": np.unique(answers[0])}
    assert 3 in answers[1]
    for average in ("macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            if f"{average}_{name}" in figures:
                expected = getattr(metrics, f"{name}_score")(*answers, average=average, **options)
                assert figures[f"{average}_{name}"] == pytest.approx(expected)
    assert figures["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(*answers))
    assert figures["matthews_correlation"] == pytest.approx(metrics.matthews_corrcoef(*answers))
    assert len(figures) == 7


def test_many_matrices_at_once_are_computed_as_each_alone(answers: tuple[np.ndarray, np.ndarray]) -> None:
    matrices = np.stack([matrix_of(*answers), matrix_of(*reversed(answers)), 3 * np.eye(CLASSES, dtype=int)])
    for name, values in confusion_figures(matrices).items():
        assert values.tolist() == [confusion_figures(one)[name] for one in matrices]


def test_one_class_alone_has_no_correlation() -> None:
    assert confusion_figures(np.array([[5, 0], [0, 0]]))["matthews_correlation"] == 0


def test_intervals_are_those_of_resampled_photos(
    answers: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    labels, predicted = answers
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(2000)]
    resampled = [confusion_figures(matrix_of(labels[own], predicted[own])) for own in drawn]
    for name, estimate in estimated_figures(*answers, CLASSES).items():
        low, high = np.percentile([each[name] for each in resampled], (2.5, 97.5))
        assert (estimate.low, estimate.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))
        assert estimate.low <= estimate.value <= estimate.high


def test_rows_of_classes_are_those_of_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    rows = class_rows(matrix_of(*answers), "abcde")
    expected = metrics.precision_recall_fscore_support(*answers, labels=range(CLASSES), zero_division=0)
    precision, recall, f1, photos = expected
    assert [row["class"] for row in rows] == ["a", "b", "c", "e"] and all(tuple(row) == CLASS_COLUMNS for row in rows)
    for row, label in zip(rows, (0, 1, 2, 4), strict=True):
        assert (row["photos"], row["accuracy"], row["f1"]) == (photos[label], recall[label], pytest.approx(f1[label]))
        assert row["precision"] == (precision[label] if label < 4 else None)
        assert row["low"] < row["accuracy"] < row["high"] or row["accuracy"] in (0, 1)
    assert rows[-1]["predicted"] == 0


def test_where_every_answer_is_right_the_averages_have_the_interval_of_the_accuracy() -> None:
    labels = np.arange(33) % 5
    wilson = Share.of(33, 33)
    assert wilson.low < 0.9
    for estimate in estimated_figures(labels, labels, 5).values():
        assert (estimate.value, estimate.low, estimate.high) == (1, wilson.low, wilson.high)
