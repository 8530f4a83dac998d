"""Products of channels within groups against loops over positions and groups."""

import numpy as np
import pytest

from clan_tf.layers import GroupBilinear
from clan_tf.layers.group_bilinear import group_code, interpolated
from helpers.layers import ON_TENSORFLOW, assert_slopes_match, call, needs_tensorflow, random_map

if ON_TENSORFLOW:
    import tensorflow as tf


def transformed(maps: np.ndarray, groups: int) -> np.ndarray:
    """Forms the outer products of every position and group, one at a time."""
    channels = maps.shape[-1]
    size = channels // groups
    result = np.zeros(maps.shape)
    for place in np.ndindex(*maps.shape[:3]):
        total = np.zeros((size, size))
        for group in range(groups):
            values = maps[place][group * size : (group + 1) * size].astype("float64")
            for i in range(size):
                angle = group / 1.5 ** (2 * (i // 2) / size)
                values[i] += np.cos(angle) if i % 2 else np.sin(angle)
            total += np.outer(values, values)
        y = np.tanh(total.ravel() / 32)
        result[place] = np.interp(np.linspace(0, size**2 - 1, channels), np.arange(size**2), y)
    return result


# As many products as channels, fewer, more, and a single one.
SIZES = [(16, 4), (8, 4), (12, 2), (4, 4)]


@pytest.mark.parametrize(("channels", "groups"), SIZES)
def test_it_is_the_sum_of_outer_products(channels: int, groups: int, rng: np.random.Generator) -> None:
    maps = 3 * random_map(rng, (2, 2, 3, channels))
    np.testing.assert_allclose(call(GroupBilinear(groups), maps), transformed(maps, groups), rtol=1e-4, atol=1e-5)


@needs_tensorflow
@pytest.mark.parametrize(("channels", "groups"), SIZES[:3])
def test_gradients_equal_finite_differences(channels: int, groups: int, rng: np.random.Generator) -> None:
    maps = random_map(rng, (2, 2, 3, channels))
    mix = rng.normal(size=maps.shape)
    with tf.GradientTape() as tape:
        given = tf.constant(maps)
        tape.watch(given)
        value = tf.reduce_sum(GroupBilinear(groups)(given) * mix.astype("float32"))
    gradient = tf.convert_to_tensor(tape.gradient(value, given)).numpy()
    at = {"maps": maps.astype("float64")}
    assert_slopes_match(lambda x: float((transformed(x["maps"], groups) * mix).sum()), at, {"maps": gradient}, rng)


def test_interpolation_keeps_constants_and_both_ends(rng: np.random.Generator) -> None:
    for length, wanted in ((9, 4), (4, 9), (1, 3), (5, 5)):
        np.testing.assert_allclose(interpolated(np.full((1, length), 2.5, "float32"), length, wanted), 2.5, rtol=1e-6)
        values = rng.normal(size=(1, length)).astype("float32")
        found = np.asarray(interpolated(values, length, wanted))
        assert found.shape == (1, wanted)
        np.testing.assert_allclose(found[0, [0, -1]], values[0, [0, -1]], rtol=1e-6)


def test_every_group_has_another_code() -> None:
    assert len(np.unique(group_code(32, 64).round(6), axis=0)) == 32


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="positive number"):
        GroupBilinear(0)
    with pytest.raises(ValueError, match="multiple of groups=3"):
        GroupBilinear(3)(np.zeros((1, 2, 2, 8), "float32"))
