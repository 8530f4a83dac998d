"""Figures of a confusion matrix against scikit-learn's of the photos, and their intervals against resampled photos."""

import numpy as np
import pytest
from sklearn import metrics

from clan_tf.evaluation.cells import Cells
from clan_tf.evaluation.confusion import CLASS_COLUMNS, class_rows, confusion_figures, estimated_figures
from clan_tf.evaluation.metrics import Estimate, Share
from helpers.intervals import corrected_by_hand

CLASSES = 5


@pytest.fixture
def answers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of 80 photos; no photo is of class 3, and none is taken for class 4."""
    labels = rng.choice([0, 1, 2, 4], 80, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(80) < 0.6, labels, rng.integers(0, 4, 80))
    return labels, np.where(predicted == 4, 1, predicted)


def matrix_of(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return metrics.confusion_matrix(labels, predicted, labels=range(CLASSES))


def figures_of(matrix: np.ndarray) -> dict[str, np.ndarray]:
    return confusion_figures(matrix.sum(axis=-1), matrix.sum(axis=-2), np.einsum("...ii->...i", matrix))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_figures_are_those_of_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    """Photos are taken for class 3, which none has: averages are over the others."""
    figures = figures_of(matrix_of(*answers))
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
    for name, values in figures_of(matrices).items():
        assert values.tolist() == [figures_of(one)[name] for one in matrices]


def test_one_class_alone_has_no_correlation() -> None:
    assert figures_of(np.array([[5, 0], [0, 0]]))["matthews_correlation"] == 0


def test_intervals_are_those_of_resampled_photos(
    answers: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    labels, predicted = answers
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(2000)]
    resampled = [figures_of(matrix_of(labels[own], predicted[own])) for own in drawn]
    for name, estimate in estimated_figures(*answers, CLASSES).items():
        value, lowest = float(figures_of(matrix_of(*answers))[name]), -1 if name == "matthews_correlation" else 0
        low, high = corrected_by_hand(value, [float(each[name]) for each in resampled], lowest)
        assert (estimate.low, estimate.high) == (pytest.approx(low, abs=0.015), pytest.approx(high, abs=0.015)), name
        assert lowest < estimate.low < estimate.value < estimate.high < 1


def test_rows_of_classes_are_those_of_scikit_learn(answers: tuple[np.ndarray, np.ndarray]) -> None:
    rows = class_rows(Cells.of(*answers, CLASSES), "abcde")
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
    for name, estimate in estimated_figures(labels, labels, 5).items():
        # A correlation of five classes is 0, not 1/5, where one of five answers is right.
        low = (wilson.low - 0.2) / 0.8 if name == "matthews_correlation" else wilson.low
        assert (estimate.value, estimate.low, estimate.high) == (1, pytest.approx(low), wilson.high)


def test_where_every_answer_is_wrong_they_have_it_at_the_other_end() -> None:
    labels, wilson = np.arange(20) % 2, Share.of(0, 20)
    figures = estimated_figures(labels, 1 - labels, 2)
    correlation = figures.pop("matthews_correlation")
    assert (correlation.value, correlation.low, correlation.high) == (-1, -1, pytest.approx(2 * wilson.high - 1))
    assert all(figure == Estimate(0, 0, wilson.high) for figure in figures.values())


def test_a_figure_that_no_resample_changes_has_no_interval() -> None:
    """The correlation of one class alone isn't defined; that of photos of a single class is 0 in every resample."""
    labels = np.zeros(12, int)
    assert estimated_figures(labels, np.arange(12) % 3, 3)["matthews_correlation"] == Estimate(0, None, None)


def test_a_precision_of_one_beside_mistakes_has_an_interval() -> None:
    """The only mistake is taken for a class without photos: all that is taken for the others is right."""
    labels = np.arange(30) % 2
    precision = estimated_figures(labels, np.where(np.arange(30) == 0, 2, labels), 3)["macro_precision"]
    assert precision.value == precision.high == 1 and precision.low == pytest.approx(Share.of(30, 30).low)


@pytest.mark.parametrize("name", ["macro_precision", "macro_f1", "weighted_precision"])
def test_intervals_of_biased_figures_hold_what_they_estimate(name: str, rng: np.random.Generator) -> None:
    """In most of 40 samples of 40 classes of 10 photos, of whose answers 80 % are right; all hold their own value.

    The mean over all photos of this kind is 0.8. `tests/tools/interval_coverage.py` measures more.
    """
    labels, held = np.repeat(np.arange(40), 10), 0
    for _ in range(40):
        wrong = (labels + rng.integers(1, 40, 400)) % 40
        estimate = estimated_figures(labels, np.where(rng.random(400) < 0.8, labels, wrong), 40)[name]
        assert estimate.low <= estimate.value <= estimate.high
        held += estimate.low <= 0.8 <= estimate.high
    assert held >= 32


def test_cells_are_those_of_the_matrix(answers: tuple[np.ndarray, np.ndarray]) -> None:
    matrix, cells = matrix_of(*answers), Cells.of(*answers, CLASSES)
    np.testing.assert_array_equal(cells.dense(), matrix)
    np.testing.assert_array_equal(cells.part([3, 1, 0]), matrix[np.ix_([3, 1, 0], [3, 1, 0])])
    np.testing.assert_array_equal(cells.by_class(), [matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)])


def test_confused_pairs_come_by_their_photos() -> None:
    matrix = np.array([[5, 1, 0], [3, 7, 1], [0, 0, 9]])
    true, predicted = np.repeat(np.indices((3, 3)).reshape(2, 9), matrix.ravel(), axis=1)
    assert Cells.of(true, predicted, 3).mistakes() == [(1, 0, 3), (0, 1, 1), (1, 2, 1)]


def test_many_classes_take_no_more_than_their_photos() -> None:
    """A matrix of 50,000 classes would take 20 GB, and its resamples a thousand times that."""
    labels = np.arange(0, 50_000, 500)
    figures = estimated_figures(labels, np.where(labels % 4000, labels, 1), 50_000)
    few = estimated_figures(np.arange(100), np.where(labels % 4000, np.arange(100), 100), 101)
    for name in ("balanced_accuracy", "macro_f1"):
        assert figures[name].value == pytest.approx(1 - 13 / 100) == few[name].value
