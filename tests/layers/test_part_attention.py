"""Attention to parts against loops."""

import numpy as np
import pytest

from clan_tf.layers import PartAttention
from helpers.layers import random_map


def attended_by_loops(layer: PartAttention, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes one photo's maps and features position by position, in float64."""
    height, width, channels = photo.shape
    positions = [photo[row, column] for row in range(height) for column in range(width)]
    means = sum(positions) / len(positions)
    maps, features = np.zeros((height, width, layer.parts)), np.zeros((layer.parts, channels))
    for part, (inner, outer) in enumerate(zip(layer.inner, layer.outer, strict=True)):
        (w1, b1), (w2, b2) = ([weight.astype("float64") for weight in dense.get_weights()] for dense in (inner, outer))
        belongs = 1 / (1 + np.exp(-(np.tanh(means @ w1 + b1) @ w2 + b2)))
        raw = np.array([sum(belongs * vector) / channels for vector in positions])
        scaled = (raw - raw.mean()) / np.sqrt(raw.var() + 1e-6) if layer.normalize_maps else 0.1 * raw
        powers = np.log(1 + np.exp(np.tanh(scaled))) ** 4
        weights = powers / powers.sum()
        maps[:, :, part] = weights.reshape(height, width)
        features[part] = sum(weight * vector for weight, vector in zip(weights, positions, strict=True))
    return maps, features


@pytest.mark.parametrize("normalize", [True, False])
def test_the_maps_and_features_are_those_of_loops(normalize: bool, rng: np.random.Generator) -> None:
    maps = 20 * random_map(rng, (2, 3, 4, 6))
    layer = PartAttention(3, normalize)
    layer.build(maps.shape)
    for dense in layer.sublayers:
        dense.set_weights([rng.normal(0, 0.5, weight.shape) for weight in dense.get_weights()])
    found, features = (np.asarray(each) for each in layer(maps))
    for photo in range(2):
        expected = attended_by_loops(layer, maps[photo].astype("float64"))
        np.testing.assert_allclose(found[photo], expected[0], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(features[photo], expected[1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_normalised_maps_dont_depend_on_the_size_of_the_features(rng: np.random.Generator) -> None:
    maps = random_map(rng, (1, 4, 4, 6)) + 3
    own, published = PartAttention(2), PartAttention(2, normalize_maps=False)
    peaks = [[float(np.max(layer(scale * maps)[0])) for scale in (1, 50)] for layer in (own, published)]
    assert peaks[0][0] > 2 / 16 and peaks[0] == pytest.approx([peaks[0][0]] * 2, rel=0.05)
    assert peaks[1][0] < 1.2 / 16


def test_the_published_number_of_weights() -> None:
    layer = PartAttention(4)
    layer.build((None, 28, 28, 512))
    assert sum(each.count_params() for each in layer.sublayers) == 2_101_248
    assert layer.inner[0].count_params() + layer.outer[0].count_params() == 525_312


def test_no_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: parts=0"):
        PartAttention(0)
