"""The low-rank classifier against the matrices that it avoids, and the normalisation before it against loops."""

import numpy as np
import pytest
from keras import ops

from clan_tf.layers import LowRankBilinear, PowerNormalization
from helpers.layer_loops import Arrays
from helpers.layers import ON_TENSORFLOW, assert_slopes_match, call, needs_tensorflow, random_map, randomize, weights_of

if ON_TENSORFLOW:
    import tensorflow as tf

SHAPE, CLASSES, RANK = (2, 3, 4, 6), 5, 4


def make(rng: np.random.Generator) -> tuple[LowRankBilinear, np.ndarray]:
    layer, maps = LowRankBilinear(CLASSES, RANK), random_map(rng, SHAPE)
    layer.build(maps.shape)
    randomize(layer, rng)
    return layer, maps


def scores_of_matrices(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Forms each class's matrix and each photo's products, and multiplies them entry by entry."""
    scores = np.zeros((len(maps), kernel.shape[2]))
    for photo, values in enumerate(maps.reshape(len(maps), -1, maps.shape[-1])):
        products = sum(np.outer(x, x) for x in values) / len(values)
        for label in range(kernel.shape[2]):
            positive, negative = kernel[:, : RANK // 2, label], kernel[:, RANK // 2 :, label]
            matrix = positive @ positive.T - negative @ negative.T
            scores[photo, label] = (matrix * products).sum() + bias[label]
    return scores


def test_scores_are_the_products_with_the_classes_matrices(rng: np.random.Generator) -> None:
    layer, maps = make(rng)
    kernel, bias = weights_of(layer).values()
    expected = scores_of_matrices(maps.astype("float64"), kernel, bias)
    np.testing.assert_allclose(call(layer, maps), expected, rtol=1e-4, atol=1e-5)


@needs_tensorflow
def test_gradients_equal_finite_differences(rng: np.random.Generator) -> None:
    layer, maps = make(rng)
    mix = rng.normal(size=(2, CLASSES))
    with tf.GradientTape() as tape:
        given = tf.constant(maps)
        tape.watch(given)
        value = tf.reduce_sum(layer(given) * mix.astype("float32"))
    found = tape.gradient(value, [given, layer.kernel.value, layer.bias.value])
    kernel, bias = weights_of(layer).values()
    at = {"maps": maps.astype("float64"), "kernel": kernel, "bias": bias}

    def loss(arrays: Arrays) -> float:
        return float((scores_of_matrices(arrays["maps"], arrays["kernel"], arrays["bias"]) * mix).sum())

    assert_slopes_match(loss, at, {name: x.numpy() for name, x in zip(at, found, strict=True)}, rng)


def test_exchanging_the_halves_changes_the_sign(rng: np.random.Generator) -> None:
    layer, maps = make(rng)
    kernel, bias = layer.get_weights()
    before = call(layer, maps) - bias
    layer.set_weights([np.concatenate([kernel[:, RANK // 2 :], kernel[:, : RANK // 2]], axis=1), bias])
    np.testing.assert_allclose(call(layer, maps) - bias, -before, rtol=1e-4, atol=1e-5)


@needs_tensorflow
def test_a_new_layer_has_a_gradient(rng: np.random.Generator) -> None:
    layer, maps = LowRankBilinear(CLASSES), random_map(rng, SHAPE)
    with tf.GradientTape() as tape:
        value = layer(maps)[0, 0]
    assert np.abs(tape.gradient(value, layer.kernel.value)).max() > 1e-3


@pytest.mark.parametrize("root", [True, False])
def test_the_mean_square_of_the_lengths_is_the_scales(root: bool, rng: np.random.Generator) -> None:
    maps = 7 * random_map(rng, SHAPE)
    values = maps.astype("float64").reshape(2, 12, 6)
    if root:
        values = np.sign(values) * (np.sqrt(np.abs(values) + 1e-5) - np.sqrt(1e-5))
    squares = [np.mean([(x**2).sum() for x in photo]) for photo in values]
    expected = values * 3 / np.sqrt(squares)[:, None, None]
    normalised = call(PowerNormalization(root, scale=3), maps)
    np.testing.assert_allclose(normalised.reshape(2, 12, 6), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((normalised**2).sum(axis=3).mean(axis=(1, 2)), 9, rtol=1e-4)
    assert not call(PowerNormalization(root), np.zeros(SHAPE, "float32")).any()


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        (LowRankBilinear, {"units": 0}),
        (LowRankBilinear, {"units": 3, "rank": 3}),
        (LowRankBilinear, {"units": 3, "rank": 0}),
        (PowerNormalization, {"scale": 0}),
    ],
)
def test_wrong_arguments_are_refused(layer: type, arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Received"):
        layer(**arguments)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_rounds_the_scores_and_not_the_sums_of_squares(precision: str, rng: np.random.Generator) -> None:
    """A score is the small difference of two large sums."""
    half = precision.removeprefix("mixed_")
    maps = ops.cast(rng.uniform(0, 40, (2, 4, 4, 128)), half)
    layers = [LowRankBilinear(CLASSES, RANK, dtype=dtype) for dtype in ("float32", precision)]
    for layer in layers:
        layer.build(maps.shape)
    randomize(layers[0], rng)
    layers[1].set_weights(layers[0].get_weights())
    expected, scores = layers[0](ops.cast(maps, "float32")), layers[1](maps)
    assert scores.dtype == half and float(ops.max(ops.abs(expected))) < 65504  # the largest float16
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(scores, "float32")),
        ops.convert_to_numpy(ops.cast(ops.cast(expected, half), "float32")),
    )
