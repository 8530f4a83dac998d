"""Attentions over channels against loops."""

import numpy as np
import pytest

from clan_tf.layers import MeanAttention, OneSqueezeMultiExcitation
from clan_tf.models import MAMC
from helpers.layer_loops import Arrays
from helpers.layers import ON_TENSORFLOW, assert_slopes_match, call, needs_tensorflow, random_map, randomize, weights_of

if ON_TENSORFLOW:
    import tensorflow as tf

SHAPE = (2, 3, 4, 6)


def excited(maps: np.ndarray, weights: Arrays, number: int) -> np.ndarray:
    """Gates every channel of every photo, one at a time."""
    first, shift, second, offset = (
        weights[f"{name}_{number}/{part}"] for name in ("squeeze", "excite") for part in ("kernel", "bias")
    )
    result = np.zeros_like(maps, "float64")
    for photo, values in enumerate(maps):
        means = np.array([values[:, :, channel].sum() / values[:, :, channel].size for channel in range(SHAPE[3])])
        inside = np.maximum(means @ first + shift, 0)
        for channel in range(SHAPE[3]):
            gate = 1 / (1 + np.exp(-(inside @ second[:, channel] + offset[channel])))
            result[photo, :, :, channel] = gate * values[:, :, channel]
    return result


def make(rng: np.random.Generator) -> tuple[OneSqueezeMultiExcitation, np.ndarray]:
    layer, maps = OneSqueezeMultiExcitation(2, reduction=2), random_map(rng, SHAPE)
    layer.build(maps.shape)
    randomize(layer, rng)
    return layer, maps


def test_each_attention_weights_the_channels_by_its_own_gate(rng: np.random.Generator) -> None:
    layer, maps = make(rng)
    found = [np.asarray(each) for each in layer(maps)]
    assert len(found) == 2 and not np.allclose(found[0], found[1])
    for number, values in enumerate(found, start=1):
        np.testing.assert_allclose(values, excited(maps, weights_of(layer), number), rtol=1e-4, atol=1e-5)


@needs_tensorflow
def test_gradients_equal_finite_differences(rng: np.random.Generator) -> None:
    layer, maps = make(rng)
    mixes = [rng.normal(size=SHAPE) for _ in range(2)]
    variables = {name: variable.value for name, variable in zip(weights_of(layer), layer.weights, strict=True)}
    with tf.GradientTape() as tape:
        given = tf.constant(maps)
        tape.watch(given)
        value = tf.add_n([tf.reduce_sum(x * mix.astype("float32")) for x, mix in zip(layer(given), mixes, strict=True)])
    found = tape.gradient(value, {"maps": given, **variables})

    def loss(arrays: Arrays) -> float:
        return sum(float((excited(arrays["maps"], arrays, p) * mix).sum()) for p, mix in enumerate(mixes, start=1))

    at = {"maps": maps.astype("float64"), **weights_of(layer)}
    assert_slopes_match(loss, at, {name: x.numpy() for name, x in found.items()}, rng)


def test_the_attention_that_is_shown_is_the_mean_over_the_channels(rng: np.random.Generator) -> None:
    maps = random_map(rng, SHAPE)
    mean = np.maximum(sum(maps[..., channel] for channel in range(SHAPE[3])) / SHAPE[3], 0)
    expected = mean / mean.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(call(MeanAttention(), maps)[..., 0], expected, rtol=1e-4, atol=1e-6)


@needs_tensorflow
def test_a_gate_has_the_published_size() -> None:
    model = MAMC("resnet50", 200, 224)
    assert model.get_layer("excitation").count_params() == 2 * 526_464
    assert [model.get_layer(f"embedding_{number}").kernel.shape for number in (1, 2)] == [(7 * 7 * 2048, 1024)] * 2


@pytest.mark.parametrize("argument", ["attentions", "reduction"])
def test_wrong_arguments_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        OneSqueezeMultiExcitation(**{argument: 0})
