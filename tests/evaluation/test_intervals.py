"""Intervals against the equations that define them, and against what they should hold."""

import numpy as np
import pytest
from scipy.special import ndtr

from clan_tf.evaluation.intervals import area_interval, bias_corrected
from clan_tf.evaluation.unknown import Unknown, _figures, score_rows
from helpers.intervals import corrected_by_hand


@pytest.mark.parametrize(
    ("area", "known", "unknown"), [(0.8, 30, 12), (1.0, 12, 4), (1.0, 12, 1), (0.0, 5, 9), (0.5, 3, 3)]
)
def test_the_bounds_of_an_area_are_as_far_from_it_as_their_own_errors(area: float, known: int, unknown: int) -> None:
    """By the variance of Hanley and McNeil (1982), with the mean of both numbers of photos in the place of each."""
    low, high = area_interval(area, known, unknown)
    assert 0 <= low <= area <= high <= 1 and low < high
    for bound in {low, high} - {area}:
        first, second = bound / (2 - bound), 2 * bound**2 / (1 + bound)
        others = (known + unknown) / 2 - 1
        variance = bound * (1 - bound) + others * (first - bound**2) + others * (second - bound**2)
        assert abs(area - bound) == pytest.approx(1.959964 * np.sqrt(variance / (known * unknown)), rel=1e-6)


def test_an_area_is_the_same_seen_from_the_other_side() -> None:
    low, high = area_interval(0.9, 20, 7)
    assert area_interval(0.1, 7, 20) == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_few_unknown_photos_have_an_interval_that_holds_the_area(rng: np.random.Generator) -> None:
    """Of normal scores; percentiles of resampled photos hold it in 77 % of such samples."""
    true, held = ndtr(1 / np.sqrt(2)), 0
    for _ in range(100):
        area = _figures("score", rng.normal(1, 1, 60), rng.normal(0, 1, 3), np.ones(60, bool)).auroc
        assert area.low is not None and area.high is not None and area.low <= area.value <= area.high
        held += area.low <= true <= area.high
    assert held >= 90


@pytest.mark.parametrize("unknown", [1, 4, 200])
def test_photos_that_are_separated_perfectly_have_an_interval_as_wide_as_they_are_few(unknown: int) -> None:
    one = _figures("score", np.linspace(0.6, 0.9, 50), np.linspace(0.1, 0.3, unknown), np.ones(50, bool))
    assert one.auroc.value == one.auroc.high == 1
    assert one.auroc.low is not None and one.auroc.low < {1: 0.6, 4: 0.85, 200: 0.99}[unknown]
    assert score_rows(Unknown(unknown, None, [one]))[0][2] == f"{one.auroc.low:.3f} to 1.000"


def test_an_interval_is_corrected_for_bias_within_the_range_and_holds_the_value(rng: np.random.Generator) -> None:
    resampled = rng.normal(0.86, 0.02, 4000)
    low, high = bias_corrected(0.82, resampled)
    assert (low, high) == pytest.approx(corrected_by_hand(0.82, resampled.tolist(), 0), abs=1e-5)
    assert low < 0.75 and high == 0.82 + max(high - 0.82, 0)
    for value, shift in ((0.99, -0.3), (0.01, 0.3), (0.5, 0.45)):
        low, high = bias_corrected(value, np.clip(rng.normal(value + shift, 0.01, 500), 0, 1))
        assert 0 < low <= value <= high < 1
