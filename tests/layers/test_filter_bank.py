"""The layers of a filter bank against loops over classes and filters, and the weighted average."""

import keras
import numpy as np
import pytest

from clan_tf.layers import ClassAverage, FilterAttention, WeightedAverage
from helpers.layers import call, random_map

CLASSES, FILTERS = 3, 4


def test_the_class_average_is_the_mean_of_each_classs_own_filters(rng: np.random.Generator) -> None:
    features = random_map(rng, (2, CLASSES * FILTERS))
    averages = call(ClassAverage(CLASSES), features)
    for label in range(CLASSES):
        own = [features[:, label * FILTERS + number] for number in range(FILTERS)]
        np.testing.assert_allclose(averages[:, label], sum(own) / FILTERS, rtol=1e-5, atol=1e-6)


def test_exchanging_classes_exchanges_their_averages(rng: np.random.Generator) -> None:
    features, order = random_map(rng, (2, CLASSES * FILTERS)), [2, 0, 1]
    moved = features.reshape(2, CLASSES, FILTERS)[:, order].reshape(2, -1)
    layer = ClassAverage(CLASSES)
    np.testing.assert_allclose(call(layer, moved), call(layer, features)[:, order], rtol=1e-5)


def test_the_attention_is_the_likely_classes_mean_response(rng: np.random.Generator) -> None:
    maps, logits = random_map(rng, (2, 3, 5, CLASSES * FILTERS)), random_map(rng, (2, CLASSES))
    attention = call(FilterAttention(CLASSES), maps, logits)
    assert attention.shape == (2, 3, 5, 1)
    for photo in range(2):
        probabilities = np.exp(logits[photo]) / np.exp(logits[photo]).sum()
        expected = np.zeros((3, 5))
        for label in range(CLASSES):
            for number in range(FILTERS):
                response = np.maximum(maps[photo, :, :, label * FILTERS + number], 0)
                expected += probabilities[label] * response / FILTERS
        np.testing.assert_allclose(attention[photo, :, :, 0], expected / expected.max(), rtol=1e-4, atol=1e-5)
    assert not call(FilterAttention(CLASSES), np.zeros_like(maps), logits).any()


def test_the_weighted_average(rng: np.random.Generator) -> None:
    first, second = random_map(rng, (2, 3)), random_map(rng, (2, 3))
    average = keras.ops.convert_to_numpy(WeightedAverage([1, 0.5])([first, second]))
    np.testing.assert_allclose(average, (2 * first + second) / 3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights", [[0, 0], [1, -1], [float("nan"), 1], []])
def test_weights_of_no_average_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="not negative and not all 0"):
        WeightedAverage(weights)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="positive number"):
        ClassAverage(0)
    with pytest.raises(ValueError, match="multiple of classes=3"):
        ClassAverage(3)(np.zeros((1, 7), "float32"))
    with pytest.raises(ValueError, match="multiple of classes=3"):
        FilterAttention(3)(np.zeros((1, 2, 2, 7), "float32"), np.zeros((1, 3), "float32"))
    with pytest.raises(ValueError, match="must have 3 classes"):
        FilterAttention(3)(np.zeros((1, 2, 2, 6), "float32"), np.zeros((1, 4), "float32"))
    with pytest.raises(ValueError, match="2 tensors"):
        WeightedAverage([1, 2])([np.zeros((1, 3), "float32")] * 3)
