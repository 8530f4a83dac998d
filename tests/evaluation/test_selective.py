"""Error by coverage, and unknown photos: against loops and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from clan_tf.evaluation.selective import rejection_text, selective_figures
from clan_tf.evaluation.unknown import _figures, auroc
from clan_tf.rejection import Rejection


@pytest.fixture
def answers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    probabilities = rng.dirichlet(np.ones(5), 150).round(2).astype("float32")  # many are equal
    return np.where(rng.uniform(size=150) < 0.6, probabilities.argmax(axis=1), 0), probabilities


def test_the_curve_counts_the_mistakes_among_the_surest_answers(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = answers
    figures = selective_figures(labels, probabilities, None)
    for point in figures.curve:
        given = [row for row in range(150) if probabilities[row].max() >= point.threshold]
        assert point.answered.right == len(given)
        assert point.error.right == sum(probabilities[row].argmax() != labels[row] for row in given)
    assert figures.curve[-1].answered.value == 1 and figures.rejection is None
    shares = [point.answered.value for point in figures.points()]
    assert shares == sorted(shares) and shares[0] >= 0.5 and shares[-1] == 1


def test_the_area_is_the_mean_error_over_the_coverages(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = answers
    errors = []
    for row in range(150):
        given = probabilities.max(axis=1) >= probabilities[row].max()
        errors.append((probabilities[given].argmax(axis=1) != labels[given]).mean())
    assert selective_figures(labels, probabilities, None).area == pytest.approx(np.mean(errors))


def test_thresholds_are_applied_to_the_photos(answers: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = answers
    figures = selective_figures(labels, probabilities, Rejection(0.1, (0.5,)))
    given = probabilities.max(axis=1) >= np.float32(0.5)
    assert figures.answered and figures.answered.right == given.sum()
    assert figures.error and figures.error.right == (probabilities.argmax(axis=1) != labels)[given].sum()
    assert f"{given.sum()} of 150 photos" in rejection_text(figures)
    none = selective_figures(labels, probabilities, Rejection(0.1, (1.0,)))
    assert none.error is None and rejection_text(none).endswith("none is given.")


def test_auroc_is_that_of_scikit_learn_with_ties(rng: np.random.Generator) -> None:
    known, scores = rng.integers(0, 2, (3, 200)).astype("float64"), rng.integers(0, 20, (3, 200)).astype("float64")
    expected = [roc_auc_score(*row) for row in zip(known, scores, strict=True)]
    np.testing.assert_allclose(auroc(known, scores), expected)


def test_the_interval_of_auroc_is_that_of_known_and_unknown_photos_drawn_separately(rng: np.random.Generator) -> None:
    others = 60
    known, unknown = rng.normal(1.5, 1, 80).round(1), rng.normal(0, 1, others).round(1)
    area = _figures("score", known, unknown, np.ones(80, bool)).auroc
    labels = [1] * 80 + [0] * others
    drawn = [roc_auc_score(labels, [*rng.choice(known, 80), *rng.choice(unknown, others)]) for _ in range(1000)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert area.value == pytest.approx(roc_auc_score(labels, [*known, *unknown]))
    assert (area.low, area.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


@pytest.mark.parametrize("photos", [1, 19, 20, 21, 40, 99, 100, 150])
def test_of_the_thresholds_that_95_percent_of_the_known_photos_reach_the_highest_counts(
    photos: int, rng: np.random.Generator
) -> None:
    for digits in (1, 6):  # with many equal scores, and with none
        known, unknown = rng.normal(1, 1, photos).round(digits), rng.normal(0, 1, 70).round(digits)
        share = _figures("score", known, unknown, np.ones(photos, bool)).accepted_at_95
        false, true, _ = roc_curve([1] * photos + [0] * 70, [*known, *unknown], drop_intermediate=False)
        assert share.value == pytest.approx(false[true >= 0.95][0])
