"""Resampling by attention against loops, and what it keeps."""

import keras
import numpy as np
import pytest

from clan_tf.layers import AttentionSampler
from clan_tf.layers.sampling import resample, sample_positions, sampling_densities
from helpers.layers import random_map


def densities_of_loops(attention: np.ndarray, size: int, dense: float) -> list[np.ndarray]:
    """Cuts and spreads one photo's densities cell by cell."""
    found = [attention.max(axis=1), attention.max(axis=0)]
    found = [size * each / each.sum() for each in found]
    for iteration in range(5):
        limit = min(each.max() for each in found)
        for axis, density in enumerate(found):
            most = min(limit, dense * size / len(density)) if iteration == 0 else limit
            cut = np.array([min(value, most) for value in density])
            found[axis] = cut + (size - cut.sum()) / len(cut)
    return found


def positions_of_loops(density: np.ndarray, size: int, length: int) -> np.ndarray:
    """Walks along the cells until the integral is reached."""
    total, result = density.sum(), []
    for sample in range(size):
        wanted, cell = (sample + 0.5) * total / size, 0
        while wanted > density[cell] and cell < len(density) - 1:
            wanted -= density[cell]
            cell += 1
        place = (cell + wanted / density[cell]) * length / len(density) - 0.5
        result.append(min(max(place, 0), length - 1))
    return np.array(result)


def sampled_by_loops(photo: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Interpolates between the four pixels around each place."""
    result = np.zeros((len(rows), len(columns), photo.shape[2]))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            top, left = int(y), int(x)
            bottom, right = min(top + 1, photo.shape[0] - 1), min(left + 1, photo.shape[1] - 1)
            upper = (1 - (x - left)) * photo[top, left] + (x - left) * photo[top, right]
            lower = (1 - (x - left)) * photo[bottom, left] + (x - left) * photo[bottom, right]
            result[i, j] = (1 - (y - top)) * upper + (y - top) * lower
    return result


@pytest.mark.parametrize("dense", [1.5, 4.0])
def test_photos_are_resampled_as_by_loops(dense: float, rng: np.random.Generator) -> None:
    photos = rng.uniform(0, 255, (3, 20, 24, 3)).astype("float32")
    attention = rng.uniform(0, 1, (3, 5, 6, 1)).astype("float32") ** 4
    sampled, positions = (np.asarray(each) for each in AttentionSampler(9, dense)(photos, attention))
    for photo in range(3):
        densities = densities_of_loops(attention[photo, :, :, 0].astype("float64") + 1e-6, 9, dense)
        places = [positions_of_loops(density, 9, length) for density, length in zip(densities, (20, 24), strict=True)]
        np.testing.assert_allclose(positions[photo], places, atol=1e-3)
        expected = sampled_by_loops(photos[photo].astype("float64"), *positions[photo])
        np.testing.assert_allclose(sampled[photo], expected, rtol=1e-4, atol=1e-2)


def test_an_even_attention_is_a_bilinear_resize(rng: np.random.Generator) -> None:
    photos = rng.uniform(0, 255, (1, 12, 12, 3)).astype("float32")
    for attention in (np.full((1, 4, 4, 1), 0.3, "float32"), np.zeros((1, 4, 4, 1), "float32")):
        sampled, positions = AttentionSampler(6)(photos, attention)
        np.testing.assert_allclose(positions[0, 0], np.arange(6) * 2 + 0.5, atol=1e-4)
        means = photos.reshape(1, 6, 2, 6, 2, 3).mean(axis=(2, 4))
        np.testing.assert_allclose(sampled, means, rtol=1e-4)


def test_what_attention_is_on_gets_more_samples_up_to_the_limit() -> None:
    attention = np.full((1, 8, 8), 0.1, "float32")
    attention[0, 5, 2] = 1
    rows, columns = (np.asarray(each)[0] for each in sampling_densities(attention, 16, 4.0))
    assert rows.argmax() == 5 and columns.argmax() == 2
    assert rows.sum() == pytest.approx(16, rel=1e-5) and (rows > 0).all()
    # It is cut at four times the mean at first, and what is left over is added to all cells.
    assert 4 * 16 / 8 <= rows.max() < 5 * 16 / 8
    places = np.asarray(sample_positions(rows[None], 16, 80))[0]
    assert (np.diff(places) > 0).all() and places[0] >= 0 and places[-1] <= 79
    inside = ((places >= 50) & (places < 60)).sum()
    assert inside == pytest.approx(rows[5], abs=1)


def test_mirrored_photos_are_resampled_mirrored(rng: np.random.Generator) -> None:
    photos, attention = rng.uniform(0, 255, (1, 20, 20, 3)).astype("float32"), random_map(rng, (1, 5, 5, 1)) ** 2
    sampled = np.asarray(AttentionSampler(8)(photos, attention)[0])
    mirrored = np.asarray(AttentionSampler(8)(photos[:, :, ::-1], attention[:, :, ::-1])[0])
    np.testing.assert_allclose(mirrored[:, :, ::-1], sampled, rtol=1e-3, atol=0.1)


def test_whole_places_are_the_pixels_themselves(rng: np.random.Generator) -> None:
    photos = rng.uniform(0, 255, (1, 6, 7, 2)).astype("float32")
    rows, columns = np.array([[0, 2, 5]], "float32"), np.array([[6, 3]], "float32")
    np.testing.assert_array_equal(resample(photos, rows, columns)[0], photos[0][[0, 2, 5]][:, [6, 3]])


@pytest.mark.parametrize("arguments", [{"size": 0}, {"size": 4, "dense": 0.5}])
def test_wrong_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Received"):
        AttentionSampler(**arguments)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_places_are_whole_in_half_precision(precision: str, rng: np.random.Generator) -> None:
    """Above 256, bfloat16 has every second number, and float16 has few fractions."""
    photos, attention = rng.uniform(0, 255, (1, 448, 448, 3)), rng.uniform(0, 1, (1, 14, 14, 1))
    _, expected = AttentionSampler(224)(photos.astype("float32"), attention.astype("float32"))
    resampled, places = AttentionSampler(224, dtype=precision)(photos.astype("float32"), attention.astype("float32"))
    np.testing.assert_array_equal(places, expected)
    assert (resampled.dtype, places.dtype) == (precision.removeprefix("mixed_"), "float32")
    symbolic = AttentionSampler(224, dtype=precision)(keras.Input((448, 448, 3)), keras.Input((14, 14, 1)))
    assert [each.dtype for each in symbolic] == [precision.removeprefix("mixed_"), "float32"]
