"""The numbers of an evaluation, against independent computations."""

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from clan_tf.evaluation import (
    Share,
    calibration_error,
    calibration_figures,
    confused_pairs,
    reliability_bins,
    top_k_accuracy,
)


def test_top_k_accuracy_equals_scikit_learns(rng: np.random.Generator) -> None:
    labels, probabilities = rng.integers(0, 7, 50), rng.dirichlet(np.ones(7), 50)
    for k in (1, 2, 5):
        expected = top_k_accuracy_score(labels, probabilities, k=k, labels=range(7))
        assert top_k_accuracy(labels, probabilities, k) == pytest.approx(expected)


def test_the_interval_is_wilsons() -> None:
    right, photos, z = 37, 45, 1.959964
    share = right / photos
    centre = (share + z**2 / (2 * photos)) / (1 + z**2 / photos)
    half = z / (1 + z**2 / photos) * np.sqrt(share * (1 - share) / photos + z**2 / (4 * photos**2))
    result = Share.of(right, photos)
    assert (result.low, result.high) == (pytest.approx(centre - half, abs=1e-6), pytest.approx(centre + half, abs=1e-6))
    assert Share.of(5, 5).high == 1.0


def test_calibration_error_of_a_known_case() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 5 + [1] * 5 + [1] * 6 + [0] * 4)
    # Half the photos are 0.9 sure and 0.5 right; the other half is 0.6 sure and right.
    figures = calibration_figures(labels, probabilities)
    assert figures["expected_calibration_error"].value == pytest.approx(0.2)


def test_the_bins_hold_every_photo_at_its_confidence(rng: np.random.Generator) -> None:
    """Against a loop over the photos; one is 1.0 sure, which is the end of the last bin."""
    confidence, correct = np.append(rng.random(299), 1.0), rng.random(300) < 0.6
    bins = reliability_bins(confidence, correct)
    gaps = 0.0
    for one in bins:
        inside = [
            (value, right)
            for value, right in zip(confidence.tolist(), correct.tolist(), strict=True)
            if one.low <= value < one.high or value == one.high == 1
        ]
        assert len(inside) == one.photos
        assert one.confidence == pytest.approx(sum(value for value, _ in inside) / len(inside))
        assert one.accuracy == pytest.approx(sum(right for _, right in inside) / len(inside))
        gaps += abs(sum(right - value for value, right in inside))
    assert sum(one.photos for one in bins) == 300
    assert calibration_error(bins) == pytest.approx(gaps / 300)


def test_confused_pairs_come_by_their_photos() -> None:
    assert confused_pairs(np.array([[5, 1, 0], [3, 7, 1], [0, 0, 9]])) == [(1, 0, 3), (0, 1, 1), (1, 2, 1)]
