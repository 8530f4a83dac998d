"""The numbers of an evaluation, against independent computations."""

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from clan_tf.evaluation import (
    Share,
    calibration_error,
    calibration_figures,
    calibration_rows,
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
    right = [0.9] * 5 + [0.1] * 5 + [0.6] * 6 + [0.4] * 4
    assert figures["negative_log_likelihood"].value == pytest.approx(-np.log(right).mean())
    assert figures["brier_score"].value == pytest.approx(np.mean([2 * (1 - p) ** 2 for p in right]))


def figures_by_loops(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The same, photo after photo."""
    photos = len(labels)
    surest = [(float(p.max()), int(p.argmax()) == label) for p, label in zip(probabilities, labels, strict=True)]
    of_width: dict[int, float] = {}
    of_mass: dict[int, float] = {}
    for place, (confidence, is_right) in enumerate(sorted(surest)):
        for bins, number in ((of_width, min(int(15 * confidence), 14)), (of_mass, 15 * place // photos)):
            bins[number] = bins.get(number, 0.0) + (is_right - confidence) / photos
    true = [p[label] for p, label in zip(probabilities, labels, strict=True)]
    return {
        "expected_calibration_error": sum(map(abs, of_width.values())),
        "equal_mass_calibration_error": sum(map(abs, of_mass.values())),
        "negative_log_likelihood": -sum(np.log(true)) / photos,
        "brier_score": sum(((p - np.eye(len(p))[own]) ** 2).sum() for p, own in zip(probabilities, labels, strict=True))
        / photos,
    }


def test_calibration_figures_are_those_of_loops_and_of_resampled_photos(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 2, (200, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(200) < 0.5, probabilities.argmax(axis=1), rng.integers(0, 4, 200))
    figures, expected = calibration_figures(labels, probabilities), figures_by_loops(labels, probabilities)
    assert {name: figure.value for name, figure in figures.items()} == pytest.approx(expected)
    drawn = [rng.integers(0, 200, 200) for _ in range(500)]
    resampled = [figures_by_loops(labels[own], probabilities[own]) for own in drawn]
    for name, figure in figures.items():
        low, high = np.percentile([each[name] for each in resampled], (2.5, 97.5))
        if name.endswith("_error"):
            low, high = 2 * figure.value - high, 2 * figure.value - low
        tolerance = 0.25 * (high - low)
        # Photos that are drawn twice may stand in two bins of equal mass or in one.
        assert figure.low == pytest.approx(max(low, 0), abs=tolerance), name
        assert figure.high == pytest.approx(high, abs=tolerance), name


def test_the_order_of_photos_of_equal_confidence_does_not_matter() -> None:
    probabilities = np.array([[0.8, 0.2]] * 40 + [[0.6, 0.4]] * 20)
    labels = np.array([0] * 30 + [1] * 10 + [0] * 5 + [1] * 15)
    name = "equal_mass_calibration_error"
    for order in (np.arange(60), np.arange(60)[::-1], np.random.default_rng(1).permutation(60)):
        assert calibration_figures(labels[order], probabilities[order])[name].value == pytest.approx((2 + 7) / 60)


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
    assert calibration_error(confidence, correct) == pytest.approx(gaps / 300)


def test_photos_that_are_all_alike_give_a_figure_without_an_interval() -> None:
    figures = calibration_figures(np.zeros(8, int), np.array([[0.9, 0.1]] * 8))
    assert {(one.low, one.high) for one in figures.values()} == {(None, None)}
    assert figures["expected_calibration_error"].value == pytest.approx(0.1)
    assert [row[2] for row in calibration_rows(figures, figures)] == ["no interval"] * 4
    assert calibration_rows(figures, figures)[0][3] == "10.00 % (no interval)"
