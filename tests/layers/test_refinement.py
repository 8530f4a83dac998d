"""Context attention and non-local blocks against loops over positions, and their gradients against differences."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clan_tf.layers import CrossLayerContextAttention, CrossLayerSpatialAttention, NonLocalBlock
from clan_tf.layers.resize import upsample
from helpers.layer_loops import Arrays, refine_loop, upsample_loop
from helpers.layers import (
    MID_SHAPE,
    MODES,
    ON_TENSORFLOW,
    TOP_SHAPE,
    assert_slopes_match,
    call,
    float64,
    key_of,
    make_refinement,
    modes,
    needs_tensorflow,
    random_map,
    randomize,
    refinements,
    relations,
    weights_of,
)

if ON_TENSORFLOW:
    import tensorflow as tf


@refinements
@relations
@modes
def test_refined_map_equals_loops_over_positions(
    kind: type[NonLocalBlock], relation: str, mode: str, rng: np.random.Generator
) -> None:
    training, block = MODES[mode]
    layer, maps, loop = make_refinement(kind, relation, rng, query_block=block, embed_dim=3)
    expected = loop(relation, float64(maps), weights_of(layer), training)
    # The batch variance of these few positions is small, and dividing by it magnifies float32's rounding.
    tolerance = 1e-4 if training else 1e-5
    np.testing.assert_allclose(call(layer, *maps, training=training), expected, rtol=tolerance, atol=tolerance)


@needs_tensorflow
@refinements
@relations
@pytest.mark.parametrize("block", [None, 5])
def test_refinement_gradients_equal_finite_differences(
    kind: type[NonLocalBlock], relation: str, block: int | None, rng: np.random.Generator
) -> None:
    layer, maps, loop = make_refinement(kind, relation, rng, query_block=block)
    # Blocks are for training. Frozen, the normalisation then still uses its moving statistics: the few positions here
    # have batch variances so small that float32 gradients through them would be rounding.
    training = block is not None
    layer.normalization.trainable = not training
    mix = random_map(rng, MID_SHAPE)
    constants = weights_of(layer)
    inputs = dict(zip(("mid", "top"), maps, strict=False))

    def loss(arrays: Arrays) -> float:
        weights = {name: arrays.get(name, value) for name, value in constants.items()}
        return float(np.sum(mix * loop(relation, [arrays[name] for name in inputs], weights, training=False)))

    tensors = {name: tf.constant(x) for name, x in inputs.items()}
    trainable = {key_of(v): v.value for v in layer.trainable_weights}
    with tf.GradientTape() as tape:
        tape.watch(list(tensors.values()))
        value = tf.reduce_sum(mix * layer(*tensors.values(), training=training))
    gradients = {name: g.numpy() for name, g in tape.gradient(value, {**tensors, **trainable}).items()}
    at = {**{name: x.astype("float64") for name, x in inputs.items()}, **{name: constants[name] for name in trainable}}
    assert_slopes_match(loss, at, gradients, rng)


@refinements
@relations
@pytest.mark.parametrize("training", [False, True])
def test_refinement_starts_as_the_identity(
    kind: type[NonLocalBlock], relation: str, training: bool, rng: np.random.Generator
) -> None:
    shapes = (MID_SHAPE, TOP_SHAPE) if kind is CrossLayerContextAttention else (MID_SHAPE,)
    maps = [random_map(rng, shape) for shape in shapes]
    assert np.array_equal(call(kind(relation), *maps, training=training), maps[0])


@pytest.mark.parametrize("size", [(4, 4), (4, 3), (5, 7), (2, 2)])
def test_upsampling_equals_bilinear_loops(size: tuple[int, int], rng: np.random.Generator) -> None:
    x = random_map(rng, TOP_SHAPE)
    actual = ops.convert_to_numpy(upsample(ops.convert_to_tensor(x), size))
    np.testing.assert_allclose(actual, upsample_loop(x.astype("float64"), *size), rtol=1e-5, atol=1e-6)


@relations
@pytest.mark.parametrize("training", [False, True])
def test_a_non_local_block_takes_maps_of_unknown_size(relation: str, training: bool, rng: np.random.Generator) -> None:
    inputs = keras.Input((None, None, MID_SHAPE[-1]))
    layer = NonLocalBlock(relation, query_block=5)
    model = keras.Model(inputs, layer(inputs))
    randomize(layer, rng)
    tolerance = 1e-4 if training else 1e-5
    for shape in (MID_SHAPE, (1, 3, 5, 4)):
        x = random_map(rng, shape)
        expected = refine_loop(relation, *float64([x, x]), weights_of(layer), training)
        np.testing.assert_allclose(call(model, x, training=training), expected, rtol=tolerance, atol=tolerance)


@needs_tensorflow
@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
@pytest.mark.parametrize(("relation", "query_block"), [("gaussian", None), ("gaussian", 5), ("dot_product", 5)])
def test_a_model_that_is_compiled_by_xla_trains(relation: str, query_block: int | None) -> None:
    inputs = keras.Input(MID_SHAPE[1:])
    layer = NonLocalBlock(relation, query_block=query_block)
    model = keras.Model(inputs, layer(inputs))
    assert layer.supports_jit == (relation == "dot_product" or query_block is None)
    model.compile("sgd", "mse", jit_compile=True)  # not where another test has made TensorFlow deterministic
    x = np.ones((2, *MID_SHAPE[1:]), "float32")
    assert np.isfinite(model.fit(x, x, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("kind", [CrossLayerContextAttention, NonLocalBlock])
@pytest.mark.parametrize(
    ("name", "value"), [("relation", "cosine"), ("embed_dim", 0), ("embed_dim", -2), ("query_block", 0)]
)
def test_bad_refinement_arguments_are_named(kind: type[NonLocalBlock], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        kind(**{name: value})


@pytest.mark.parametrize("kind", [CrossLayerContextAttention, CrossLayerSpatialAttention])
@pytest.mark.parametrize(
    ("name", "mid_shape", "top_shape"),
    [
        ("mid", (12, 4), (2, 2, 3)),
        ("mid", (None, None, 4), (2, 2, 3)),
        ("mid", (4, 3, None), (2, 2, 3)),
        ("top", (4, 3, 4), (12,)),
        ("top", (4, 3, 4), (2, 2, None)),
    ],
)
def test_inputs_that_are_no_maps_are_named(
    kind: type[keras.layers.Layer], name: str, mid_shape: tuple[int | None, ...], top_shape: tuple[int | None, ...]
) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        kind()(keras.Input(mid_shape), keras.Input(top_shape))


@pytest.mark.parametrize("shape", [(12, 4), (4, 3, None)])
def test_a_non_local_input_that_is_no_map_is_named(shape: tuple[int | None, ...]) -> None:
    with pytest.raises(ValueError, match="`mid`"):
        NonLocalBlock()(keras.Input(shape))
