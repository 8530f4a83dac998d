"""Squares against loops: where they lie, what is cut out, and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.layers import SquareCrop, SquareMap, SquareProposal
from clan_tf.layers.squares import inside
from helpers.layers import random_map


def sigmoid(x: float) -> float:
    return 0.5 * (1 + np.tanh(x / 2))


def cut_by_loops(photo: np.ndarray, square: np.ndarray, size: int, slope: float) -> np.ndarray:
    """Walks over the pixels of the result, each between four of the photo."""
    height, width, channels = photo.shape
    row, column, half = square
    result = np.zeros((size, size, channels))
    for i in range(size):
        for j in range(size):
            y = min(max((row - half + 2 * half * (i + 0.5) / size) * height - 0.5, 0), height - 1)
            x = min(max((column - half + 2 * half * (j + 0.5) / size) * width - 0.5, 0), width - 1)
            mask = 1.0
            for place, centre, length in ((y, row, height), (x, column, width)):
                first, last = (centre - half) * length - 0.5, (centre + half) * length - 0.5
                mask *= sigmoid(slope * (place - first)) - sigmoid(slope * (place - last))
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = (1 - (x - left)) * photo[top, left] + (x - left) * photo[top, right]
            lower = (1 - (x - left)) * photo[bottom, left] + (x - left) * photo[bottom, right]
            result[i, j] = mask * ((1 - (y - top)) * upper + (y - top) * lower)
    return result


@pytest.mark.parametrize("slope", [0.5, 10.0])
def test_squares_are_cut_out_as_by_loops(slope: float, rng: np.random.Generator) -> None:
    photos = rng.uniform(0, 255, (3, 20, 24, 3)).astype("float32")
    squares = np.array([[0.5, 0.5, 0.5], [0.3, 0.6, 0.2], [0.75, 0.25, 1 / 6]], "float32")
    cut, positions = (np.asarray(each) for each in SquareCrop(7, slope)(photos, squares))
    for photo in range(3):
        expected = cut_by_loops(photos[photo].astype("float64"), squares[photo], 7, slope)
        np.testing.assert_allclose(cut[photo], expected, rtol=1e-4, atol=2e-2)
    assert positions.shape == (3, 2, 7) and positions.min() >= 0 and positions[:, 1].max() <= 23
    # Rows are the first number of a square, columns the second.
    assert positions[1, 0].mean() == pytest.approx(0.3 * 20 - 0.5, abs=1e-3)
    assert positions[1, 1].mean() == pytest.approx(0.6 * 24 - 0.5, abs=1e-3)


def test_the_whole_photo_is_a_bilinear_resize(rng: np.random.Generator) -> None:
    photos = rng.uniform(0, 255, (1, 12, 12, 3)).astype("float32")
    cut, _ = SquareCrop(6, mask_slope=50.0)(photos, np.array([[0.5, 0.5, 0.5]], "float32"))
    np.testing.assert_allclose(cut, photos.reshape(1, 6, 2, 6, 2, 3).mean(axis=(2, 4)), rtol=1e-4)


def test_the_gradient_of_a_square_is_that_of_finite_differences() -> None:
    # A photo without kinks: between the pixels it is a plane.
    rows, columns = np.meshgrid(np.arange(24.0), np.arange(24.0), indexing="ij")
    photo = tf.constant((3 * rows + 2 * columns)[None, :, :, None], tf.float32)
    weights = np.linspace(-1, 1, 25).reshape(1, 5, 5, 1).astype("float32")
    crop = SquareCrop(5, mask_slope=0.5)

    def total(square: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(crop(photo, square)[0] * weights)

    square = tf.constant([[0.45, 0.55, 0.25]])
    with tf.GradientTape() as tape:
        tape.watch(square)
        value = total(square)
    gradient = tape.gradient(value, square).numpy()[0]
    for axis in range(3):
        step = np.zeros((1, 3), "float32")
        step[0, axis] = 1e-2
        numeric = float(total(square + step) - total(square - step)) / 2e-2
        assert gradient[axis] == pytest.approx(numeric, rel=0.02, abs=0.1)


def test_proposals_are_the_formula_and_lie_within_each_other(rng: np.random.Generator) -> None:
    maps = random_map(rng, (4, 3, 5, 6))
    layers = [SquareProposal(7), SquareProposal(7)]
    for layer in layers:
        layer.build(maps.shape)
        layer.set_weights([rng.normal(0, 2, weight.shape) for weight in layer.get_weights()])
    first = np.asarray(layers[0](maps))
    second = np.asarray(layers[1](maps, first))
    kernel, bias, last_kernel, last_bias = (weight.astype("float64") for weight in layers[0].get_weights())
    for photo in range(4):
        x = maps[photo].astype("float64").ravel()
        share = sigmoid(np.tanh(x / np.sqrt((x**2).mean()) @ kernel + bias) @ last_kernel + last_bias)
        half = 1 / 6 + share[2] / 3
        np.testing.assert_allclose(first[photo], [*(half + (1 - 2 * half) * share[:2]), half], rtol=1e-4)
    # Each has from a third of the side of the one before to all of it.
    for half, outer in ((first[:, 2], 0.5), (second[:, 2], first[:, 2])):
        assert (half >= outer / 3 - 1e-6).all() and (half <= outer + 1e-6).all()
    for squares in (first, second):
        assert (squares[:, :2] - squares[:, 2:] >= -1e-6).all() and (squares[:, :2] + squares[:, 2:] <= 1 + 1e-6).all()
    # The finer square is nowhere outside the coarser one.
    assert (np.abs(second[:, :2] - first[:, :2]) + second[:, 2:] <= first[:, 2:] + 1e-6).all()


def test_a_new_proposal_is_in_the_middle_and_half_as_large(rng: np.random.Generator) -> None:
    square = np.asarray(SquareProposal(7)(random_map(rng, (2, 3, 3, 4))))
    np.testing.assert_allclose(square, [[0.5, 0.5, 0.25]] * 2, rtol=1e-5)
    within = np.array([[0.3, 0.6, 0.2]], "float32")
    np.testing.assert_allclose(inside(within, square[:1]), [[0.3, 0.6, 0.1]], rtol=1e-5)
    np.testing.assert_allclose(inside(within, np.array([[0.25, 0.5, 0.25]], "float32")), [[0.2, 0.6, 0.1]], rtol=1e-5)


def test_a_square_is_drawn_where_it_is() -> None:
    drawn = np.asarray(SquareMap(20)(np.array([[0.25, 0.5, 0.25]], "float32")))[0, :, :, 0]
    expected = np.zeros((20, 20))
    expected[:10, 5:15] = 1
    np.testing.assert_allclose(drawn, expected, atol=0.02)


@pytest.mark.parametrize(
    "make", [lambda: SquareCrop(0), lambda: SquareCrop(4, 0.0), lambda: SquareProposal(0), lambda: SquareMap(0)]
)
def test_wrong_arguments_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="Received"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_squares_keep_their_places_in_half_precision(precision: str, rng: np.random.Generator) -> None:
    photos, maps = rng.uniform(0, 255, (1, 448, 448, 3)).astype("float32"), random_map(rng, (1, 7, 7, 4))
    proposals = [SquareProposal(8, dtype=dtype) for dtype in ("float32", precision)]
    for each in proposals:
        each.build(maps.shape)
    proposals[0].outer.kernel.assign(rng.normal(size=(8, 3)))
    proposals[1].set_weights(proposals[0].get_weights())
    squares = [np.asarray(each(maps)) for each in proposals]
    np.testing.assert_array_equal(*squares)
    places = [SquareCrop(224, dtype=dtype)(photos, squares[0])[1] for dtype in ("float32", precision)]
    np.testing.assert_array_equal(*places)
    square = SquareProposal(8, dtype=precision)(keras.Input((7, 7, 4)))
    cut, place = SquareCrop(224, dtype=precision)(keras.Input((448, 448, 3)), square)
    assert (square.dtype, cut.dtype, place.dtype) == ("float32", precision.removeprefix("mixed_"), "float32")
