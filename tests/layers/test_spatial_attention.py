"""Cross-layer spatial attention against loops over positions, and its gradients against finite differences."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from clan_tf.layers import CrossLayerSpatialAttention
from clan_tf.layers.resize import downsample
from helpers.layer_loops import Arrays, attend_in_cells_loop, attention_map_loop
from helpers.layers import (
    ACTIVATIONS,
    ON_TENSORFLOW,
    POOLINGS,
    assert_slopes_match,
    call,
    needs_tensorflow,
    random_map,
    randomize,
    weights_of,
)

if ON_TENSORFLOW:
    import tensorflow as tf


def make_spatial(
    rng: np.random.Generator, mid_size: tuple[int, int], top_size: tuple[int, int], **arguments: Any
) -> tuple[CrossLayerSpatialAttention, np.ndarray, np.ndarray]:
    layer = CrossLayerSpatialAttention(**arguments)
    mid, top = random_map(rng, (2, *mid_size, 3)), random_map(rng, (2, *top_size, 5))
    layer.build(mid.shape, top.shape)
    randomize(layer, rng)
    return layer, mid, top


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_attended_map_equals_loops_over_positions(pooling: str, activation: str, rng: np.random.Generator) -> None:
    arguments = {"pooling": pooling, "activation": activation, "batch_norm": False, "return_attention": True}
    layer, mid, top = make_spatial(rng, (4, 6), (2, 3), **arguments)
    attended, attention = (ops.convert_to_numpy(x) for x in layer(mid, top))
    weights = list(weights_of(layer).values())
    expected = attention_map_loop(pooling, activation, mid.astype("float64"), weights[0], weights[1][0])
    np.testing.assert_allclose(attention[..., 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(attended, attend_in_cells_loop(expected, top.astype("float64")), rtol=1e-5, atol=1e-5)


@needs_tensorflow
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_spatial_attention_gradients_equal_finite_differences(
    pooling: str, activation: str, rng: np.random.Generator
) -> None:
    layer, mid, top = make_spatial(rng, (4, 6), (2, 3), pooling=pooling, activation=activation, batch_norm=False)
    mix = random_map(rng, top.shape)

    def loss(arrays: Arrays) -> float:
        attention = attention_map_loop(pooling, activation, arrays["mid"], arrays["kernel"], arrays["bias"][0])
        return float(np.sum(mix * attend_in_cells_loop(attention, arrays["top"])))

    kernel, bias = layer.trainable_weights
    variables = {"mid": tf.constant(mid), "top": tf.constant(top), "kernel": kernel.value, "bias": bias.value}
    with tf.GradientTape() as tape:
        tape.watch([variables["mid"], variables["top"]])
        value = tf.reduce_sum(mix * layer(variables["mid"], variables["top"]))
    gradients = {name: g.numpy() for name, g in tape.gradient(value, variables).items()}
    assert_slopes_match(loss, {k: v.numpy().astype("float64") for k, v in variables.items()}, gradients, rng)


@needs_tensorflow
@pytest.mark.parametrize(
    ("size", "new_size"), [((15, 15), (7, 7)), ((15, 8), (7, 4)), ((14, 9), (6, 9)), ((28, 5), (14, 2))]
)
def test_downsampling_by_other_factors_equals_antialiased_resizing(
    size: tuple[int, int], new_size: tuple[int, int], rng: np.random.Generator
) -> None:
    x = random_map(rng, (2, *size, 3))
    expected = tf.image.resize(x, new_size, antialias=True).numpy()
    np.testing.assert_allclose(downsample(tf.constant(x), new_size).numpy(), expected, rtol=1e-5, atol=1e-5)


@needs_tensorflow
def test_attended_map_by_a_factor_that_is_not_whole(rng: np.random.Generator) -> None:
    layer, mid, top = make_spatial(rng, (15, 15), (7, 7), batch_norm=False)
    weights = list(weights_of(layer).values())
    attention = attention_map_loop("avg_max", "sigmoid", mid.astype("float64"), weights[0], weights[1][0])
    expected = tf.image.resize(attention[..., None], (7, 7), antialias=True).numpy() * top
    np.testing.assert_allclose(call(layer, mid, top), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("mid_size", [(4, 6), (5, 7), (2, 3)])
def test_linear_spatial_attention_as_printed_starts_as_the_identity(
    pooling: str, mid_size: tuple[int, int], rng: np.random.Generator
) -> None:
    layer = CrossLayerSpatialAttention(pooling, "linear", batch_norm=False)
    mid, top = random_map(rng, (2, *mid_size, 3)), random_map(rng, (2, 2, 3, 5))
    attended = call(layer, mid, top)
    if mid_size[0] % 2:  # interpolation weights sum to 1 within rounding
        np.testing.assert_allclose(attended, top, rtol=1e-6)
    else:
        assert np.array_equal(attended, top)


@pytest.mark.parametrize(("name", "value"), [("pooling", "min"), ("activation", "relu"), ("kernel_size", 0)])
def test_bad_spatial_attention_arguments_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        CrossLayerSpatialAttention(**{name: value})


def normalised_map_loop(pooling: str, activation: str, arrays: Arrays, statistics: Arrays | None = None) -> np.ndarray:
    """Eq. 8 with both normalisations, by the batch's own statistics or given ones: `(batch, height, width)`."""
    maps = {"avg": [np.mean], "max": [np.max], "avg_max": [np.mean, np.max]}[pooling]
    pooled = [pool(arrays["mid"], axis=-1) for pool in maps]
    means, variances = [x.mean() for x in pooled], [x.var() for x in pooled]
    if statistics:
        means, variances = statistics["pooled_mean"], statistics["pooled_variance"]
    deviations = np.sqrt(np.add(variances, 1e-5))
    scores = attention_map_loop(pooling, "linear", arrays["mid"], arrays["kernel"], 0.0, means, deviations)
    mean, variance = scores.mean(), scores.var()
    if statistics:
        mean, variance = statistics["mean"], statistics["variance"]
    scores = arrays["gamma"] * (scores - mean) / np.sqrt(variance + 1e-5) + arrays["beta"]
    return 1 / (1 + np.exp(-scores)) if activation == "sigmoid" else (scores + 2) / 4


def named_weights(layer: CrossLayerSpatialAttention) -> dict[str, Any]:
    """The variables of a layer with batch norm, by the names of `normalised_map_loop`."""
    pooled, last = layer.pooled_normalization, layer.map_normalization
    trained = {"kernel": layer.convolution.kernel, "gamma": last.gamma, "beta": last.beta}
    statistics = {"pooled_mean": pooled.moving_mean, "pooled_variance": pooled.moving_variance}
    return trained | statistics | {"mean": last.moving_mean, "variance": last.moving_variance}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("training", [False, True])
def test_pooled_maps_and_the_map_are_normalised(
    pooling: str, activation: str, training: bool, rng: np.random.Generator
) -> None:
    arguments = {"pooling": pooling, "activation": activation, "return_attention": True}
    layer, mid, top = make_spatial(rng, (4, 6), (2, 3), **arguments)
    arrays = {name: ops.convert_to_numpy(v).astype("float64") for name, v in named_weights(layer).items()}
    _, attention = layer(mid, top, training=training)
    expected = normalised_map_loop(
        pooling, activation, arrays | {"mid": mid.astype("float64")}, None if training else arrays
    )
    np.testing.assert_allclose(ops.convert_to_numpy(attention)[..., 0], expected, rtol=1e-4, atol=1e-4)


@needs_tensorflow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_through_both_normalisations_equal_finite_differences(
    activation: str, rng: np.random.Generator
) -> None:
    layer, mid, top = make_spatial(rng, (4, 6), (2, 3), activation=activation)
    mix = random_map(rng, top.shape)

    def loss(arrays: Arrays) -> float:
        attention = normalised_map_loop("avg_max", activation, arrays)
        return float(np.sum(mix * attend_in_cells_loop(attention, arrays["top"])))

    variables = {name: named_weights(layer)[name].value for name in ("kernel", "gamma", "beta")}
    variables |= {"mid": tf.constant(mid), "top": tf.constant(top)}
    with tf.GradientTape() as tape:
        tape.watch([variables["mid"], variables["top"]])
        value = tf.reduce_sum(mix * layer(variables["mid"], variables["top"], training=True))
    gradients = {name: g.numpy() for name, g in tape.gradient(value, variables).items()}
    assert_slopes_match(loss, {k: v.numpy().astype("float64") for k, v in variables.items()}, gradients, rng)


def test_the_border_of_a_normalised_map_is_no_darker() -> None:
    """The zeros beyond it are the mean, to which a map of the mean everywhere is equal."""
    layer = CrossLayerSpatialAttention(return_attention=True)
    mid = np.full((1, 4, 4, 3), 7.0, "float32")
    layer.build(mid.shape, (1, 2, 2, 5))
    layer.pooled_normalization.moving_mean.assign([7.0, 7.0])
    _, attention = layer(mid, np.ones((1, 2, 2, 5), "float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(attention), 0.5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_normalised_map_is_alive_from_the_first_step(activation: str, scale: float, rng: np.random.Generator) -> None:
    """Whatever the size of the activations, and with a channel maximum that is far above 0 everywhere."""
    layer = CrossLayerSpatialAttention(activation=activation, return_attention=True)
    mid = scale * (5 + random_map(rng, (8, 4, 4, 3)))
    _, attention = layer(mid, random_map(rng, (8, 2, 2, 5)), training=True)
    attention = ops.convert_to_numpy(attention)
    assert 0.4 < attention.mean() < 0.6
    assert attention.std(axis=(1, 2)).mean() > 0.1
    if activation == "linear":
        np.testing.assert_allclose([attention.mean(), attention.std()], [0.5, 0.25], rtol=1e-3)
