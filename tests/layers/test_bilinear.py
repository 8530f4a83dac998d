"""Bilinear pooling against outer products position by position, and its compact form against Fourier transforms."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from clan_tf.layers import BilinearPooling, CompactBilinearPooling
from helpers.layer_loops import Arrays
from helpers.layers import ON_TENSORFLOW, assert_slopes_match, call, needs_tensorflow, random_map

if ON_TENSORFLOW:
    import tensorflow as tf

SHAPE = (2, 3, 4, 6)
LAYERS = {"bilinear": BilinearPooling, "compact": lambda: CompactBilinearPooling(16, seed=3)}
layers = pytest.mark.parametrize("name", LAYERS)


def root_and_norm_loop(products: np.ndarray) -> np.ndarray:
    """The signed square root, number by number, and the division of each photo's vector by its length."""
    rooted = np.array(
        [[np.sqrt(max(z, 0) + 1e-5) - np.sqrt(max(-z, 0) + 1e-5) for z in photo] for photo in products.tolist()]
    )
    return rooted / np.sqrt((rooted**2).sum(axis=1, keepdims=True) + 1e-12)


def bilinear_loop(maps: np.ndarray) -> np.ndarray:
    products = np.zeros((len(maps), maps.shape[-1] ** 2))
    positions = list(itertools.product(range(maps.shape[1]), range(maps.shape[2])))
    for photo, (row, column) in itertools.product(range(len(maps)), positions):
        vector = maps[photo, row, column]
        products[photo] += np.outer(vector, vector).ravel() / len(positions)
    return root_and_norm_loop(products)


def sketch(vector: np.ndarray, places: np.ndarray, signs: np.ndarray, size: int) -> np.ndarray:
    """A count sketch, channel by channel."""
    sums = np.zeros(size)
    for value, place, sign in zip(vector, places, signs, strict=True):
        sums[place] += sign * value
    return sums


def tensor_sketch(vector: np.ndarray, layer: CompactBilinearPooling) -> np.ndarray:
    """Algorithm 2 of the paper: the circular convolution of two count sketches."""
    places, more_places, signs, more_signs = layer.hashes(len(vector))
    ends = [sketch(vector, places, signs, layer.sketch_dim), sketch(vector, more_places, more_signs, layer.sketch_dim)]
    return np.fft.ifft(np.fft.fft(ends[0]) * np.fft.fft(ends[1])).real


def compact_loop(maps: np.ndarray, layer: CompactBilinearPooling) -> np.ndarray:
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    return root_and_norm_loop(np.array([np.mean([tensor_sketch(x, layer) for x in photo], axis=0) for photo in flat]))


def loop_of(layer: keras.layers.Layer, maps: np.ndarray) -> np.ndarray:
    return compact_loop(maps, layer) if isinstance(layer, CompactBilinearPooling) else bilinear_loop(maps)


@layers
def test_features_equal_loops_over_positions(name: str, rng: np.random.Generator) -> None:
    layer, maps = LAYERS[name](), random_map(rng, SHAPE)
    features = call(layer, maps)
    np.testing.assert_allclose(features, loop_of(layer, maps.astype("float64")), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    assert layer.compute_output_shape(SHAPE) == features.shape


@needs_tensorflow
@layers
def test_gradients_equal_finite_differences(name: str, rng: np.random.Generator) -> None:
    layer, maps = LAYERS[name](), random_map(rng, SHAPE)
    mix = rng.normal(size=call(layer, maps).shape)

    def loss(arrays: Arrays) -> float:
        return float((loop_of(layer, arrays["maps"]) * mix).sum())

    with tf.GradientTape() as tape:
        given = tf.constant(maps)
        tape.watch(given)
        value = tf.reduce_sum(layer(given) * mix.astype("float32"))
    gradient = tape.gradient(value, given).numpy()
    # The root is steep near 0, where float32's gradient has lost some digits.
    scale = 1e3
    assert_slopes_match(
        lambda arrays: loss(arrays) / scale, {"maps": maps.astype("float64")}, {"maps": gradient / scale}, rng
    )


@needs_tensorflow
@layers
def test_an_empty_map_has_no_features_and_a_finite_gradient(name: str) -> None:
    with tf.GradientTape() as tape:
        maps = tf.zeros(SHAPE)
        tape.watch(maps)
        features = LAYERS[name]()(maps)
        value = tf.reduce_sum(features)
    assert not np.any(features)
    assert np.isfinite(tape.gradient(value, maps)).all()


@layers
def test_the_order_of_the_positions_is_without_effect(name: str, rng: np.random.Generator) -> None:
    layer, maps = LAYERS[name](), random_map(rng, SHAPE)
    shuffled = maps.reshape(2, 12, 6)[:, rng.permutation(12)].reshape(SHAPE)
    np.testing.assert_allclose(call(layer, shuffled), call(layer, maps), rtol=1e-4, atol=1e-6)


def test_a_case_by_hand() -> None:
    # Two positions, (3, 0) and (1, -2): the mean products are 5, -1, -1 and 2.
    maps = np.array([[[[3, 0], [1, -2]]]], "float32")
    expected = np.array([np.sqrt(5), -1, -1, np.sqrt(2)]) / 3  # the norm is the root of 5 + 1 + 1 + 2
    np.testing.assert_allclose(call(BilinearPooling(), maps)[0], expected, atol=2e-3)


def test_products_of_sketches_are_on_average_those_of_all_products(rng: np.random.Generator) -> None:
    one, other = rng.normal(size=(2, 5))
    products = []
    for seed in range(1500):
        layer = CompactBilinearPooling(8, seed)
        products.append(float(tensor_sketch(one, layer) @ tensor_sketch(other, layer)))
    error = np.std(products) / np.sqrt(len(products))
    assert abs(np.mean(products) - (one @ other) ** 2) < 3.5 * error


def test_the_sketch_follows_from_its_seed(rng: np.random.Generator) -> None:
    maps = random_map(rng, SHAPE)
    layer = CompactBilinearPooling(64, seed=5)
    answer = call(layer, maps)
    again = CompactBilinearPooling.from_config(layer.get_config())
    np.testing.assert_array_equal(call(again, maps), answer)
    assert np.abs(call(CompactBilinearPooling(64, seed=6), maps) - answer).max() > 0.1
    assert not layer.weights


def test_every_pair_is_in_one_sum() -> None:
    layer = CompactBilinearPooling(7)
    layer.build((None, 2, 2, 9))
    members = layer.members[layer.members < 81]
    np.testing.assert_array_equal(np.sort(members), np.arange(81))


@pytest.mark.parametrize("arguments", [{"sketch_dim": 0}, {"seed": -1}])
def test_wrong_arguments_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Received"):
        CompactBilinearPooling(**arguments)


@layers
def test_only_maps_are_pooled(name: str) -> None:
    with pytest.raises(ValueError, match="must be a map"):
        LAYERS[name]()(ops.zeros((2, 3)))
