"""Trilinear attention against explicit sums."""

from collections.abc import Sequence

import keras
import numpy as np
import pytest

from clan_tf.layers import TrilinearAttention
from helpers.layers import ON_TENSORFLOW, needs_tensorflow, random_map

if ON_TENSORFLOW:
    import tensorflow as tf

SHAPE = (2, 3, 4, 5)


def softmax(values: Sequence[float]) -> np.ndarray:
    exponents = np.exp(values - np.max(values))
    return exponents / exponents.sum()


def trilinear_maps(maps: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Relates every channel to every other, photo by photo: the maps `(photos, channels, h, w)`, and the relations."""
    results, relations = [], []
    for values in np.maximum(maps.astype("float64"), 0):
        values = values / np.sqrt((values**2).mean())
        rows = [values[:, :, channel].ravel() for channel in range(values.shape[2])]
        related = np.array([softmax([softmax(scale * own) @ other for other in rows]) for own in rows])
        result = [sum(weight * row for weight, row in zip(weights, rows, strict=True)) for weights in related]
        results.append(np.reshape(result, (values.shape[2], *values.shape[:2])))
        relations.append(related)
    return np.array(results), np.array(relations)


@pytest.mark.parametrize("scale", [2.0, 7.0])
def test_the_maps_are_those_of_explicit_sums(scale: float, rng: np.random.Generator) -> None:
    maps = 3 * random_map(rng, SHAPE)
    structure, detail = (np.asarray(each)[..., 0] for each in TrilinearAttention(scale)(maps))
    expected, related = trilinear_maps(maps, scale)
    np.testing.assert_allclose(related.sum(axis=2), 1, rtol=1e-6)
    np.testing.assert_allclose(structure, expected.mean(axis=1), rtol=1e-3, atol=1e-5)
    # The channel that the others are most alike to.
    likest = related.mean(axis=1).argmax(axis=1)
    np.testing.assert_allclose(detail, expected[np.arange(2), likest] + 0.01, rtol=1e-3, atol=1e-5)


def test_in_training_the_detail_is_of_a_channel_that_is_drawn(rng: np.random.Generator) -> None:
    maps = np.repeat(3 * random_map(rng, SHAPE)[:1], 40, axis=0)
    expected = trilinear_maps(maps[:1], 7.0)[0][0] + 0.01
    _, detail = TrilinearAttention(seed=0)(maps, training=True)
    distances = np.abs(np.asarray(detail)[:, None, :, :, 0] - expected[None]).max(axis=(2, 3))
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-3)
    assert len(set(distances.argmin(axis=1))) == SHAPE[3]


def test_the_size_of_the_features_does_not_matter(rng: np.random.Generator) -> None:
    maps = random_map(rng, SHAPE)
    for one, other in zip(TrilinearAttention()(maps), TrilinearAttention()(1000 * maps), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    zeros = [np.asarray(each) for each in TrilinearAttention()(np.zeros(SHAPE, "float32"))]
    assert not zeros[0].any() and np.isfinite(zeros[1]).all()


@needs_tensorflow
def test_no_gradient_passes(rng: np.random.Generator) -> None:
    with tf.GradientTape() as tape:
        given = tf.constant(random_map(rng, SHAPE))
        tape.watch(given)
        structure, detail = TrilinearAttention()(given)
        loss = tf.reduce_sum(structure**2) + tf.reduce_sum(detail**2)
    assert tape.gradient(loss, given) is None


@needs_tensorflow
def test_what_was_drawn_is_a_state_that_goes_on(rng: np.random.Generator) -> None:
    maps = np.repeat(3 * random_map(rng, SHAPE)[:1], 20, axis=0)
    layer = TrilinearAttention(seed=0)
    first = np.asarray(layer(maps, training=True)[1])
    state = np.array(layer.seed_generator.state)
    second = np.asarray(layer(maps, training=True)[1])
    assert not np.array_equal(first, second)
    again = TrilinearAttention(seed=0)
    again.seed_generator.state.assign(state)
    np.testing.assert_array_equal(again(maps, training=True)[1], second)
    assert again.seed_generator.state in keras.Sequential([keras.Input(SHAPE[1:]), again]).variables


def test_a_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        TrilinearAttention(0)
