"""The layers against plain NumPy loops in float64, their gradients against finite differences, and their promises."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from clan_tf.layers import CrossLayerContextAttention, CrossLayerSpatialAttention, NonLocalBlock
from clan_tf.layers.relation import (
    RELATIONS,
    blockwise_attention,
    dot_product_attention,
    linear_dot_product,
    pairwise_dot_product,
    softmax_attention,
)
from clan_tf.layers.resize import downsample, upsample
from clan_tf.layers.spatial_attention import LINEAR_GRADIENT

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="looks at TensorFlow itself")
if ON_TENSORFLOW:
    import tensorflow as tf

Arrays = dict[str, np.ndarray]

MID_SHAPE = (2, 4, 3, 4)
TOP_SHAPE = (2, 2, 2, 3)
POOLINGS = ("avg", "max", "avg_max")
ACTIVATIONS = ("sigmoid", "linear")
# How the batch is normalised and the relation is computed: as in inference, and as in training with blocks of queries
# that don't divide the number of positions.
MODES = {"inference": (False, None), "training": (True, None), "training in blocks": (True, 5)}


# The equations as loops


def pointwise_loop(x: np.ndarray, weights: Arrays, name: str) -> np.ndarray:
    """A 1x1 convolution: one matrix for every position."""
    return x @ weights[f"{name}/kernel"][0, 0] + weights[f"{name}/bias"]


def upsample_loop(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, one output position at a time."""

    def neighbours(index: int, old: int, new: int) -> tuple[int, int, float]:
        position = (index + 0.5) * old / new - 0.5
        low = int(np.floor(position))
        return max(low, 0), min(low + 1, old - 1), position - low

    result = np.zeros((len(x), height, width, x.shape[3]))
    for row, column in itertools.product(range(height), range(width)):
        above, below, down = neighbours(row, x.shape[1], height)
        left, right, along = neighbours(column, x.shape[2], width)
        upper = (1 - along) * x[:, above, left] + along * x[:, above, right]
        lower = (1 - along) * x[:, below, left] + along * x[:, below, right]
        result[:, row, column] = (1 - down) * upper + down * lower
    return result


def relate_loop(relation: str, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Eq. 2 for one photo: `y_i = (1 / C) sum_j f(i, j) value_j` with positions in rows."""
    related = np.zeros((len(query), value.shape[1]))
    for i in range(len(query)):
        total = 0.0
        for j in range(len(key)):
            score = float(np.sum(query[i] * key[j]))
            weight = score if relation == "dot_product" else np.exp(score)
            related[i] += weight * value[j]
            total += 1.0 if relation == "dot_product" else weight
        related[i] /= total
    return related


def normalize_loop(x: np.ndarray, weights: Arrays, training: bool) -> np.ndarray:
    result = np.zeros_like(x)
    for channel in range(x.shape[-1]):
        values = x[..., channel]
        mean = values.mean() if training else weights["normalization/moving_mean"][channel]
        variance = values.var() if training else weights["normalization/moving_variance"][channel]
        unit = (values - mean) / np.sqrt(variance + 1e-5)
        gamma, beta = weights["normalization/gamma"][channel], weights["normalization/beta"][channel]
        result[..., channel] = gamma * unit + beta
    return result


def refine_loop(relation: str, mid: np.ndarray, fused: np.ndarray, weights: Arrays, training: bool) -> np.ndarray:
    """Eqs. 2 and 3."""
    embedded = relation != "gaussian"
    query = pointwise_loop(fused, weights, "theta") if embedded else fused
    key = pointwise_loop(fused, weights, "phi") if embedded else fused
    value = pointwise_loop(mid, weights, "value_projection")
    related = np.stack(
        [
            relate_loop(relation, *(x.reshape(-1, x.shape[-1]) for x in photo)).reshape(photo[2].shape)
            for photo in zip(query, key, value, strict=True)
        ]
    )
    return mid + normalize_loop(pointwise_loop(related, weights, "output_projection"), weights, training)


def non_local_loop(relation: str, maps: list[np.ndarray], weights: Arrays, training: bool) -> np.ndarray:
    (mid,) = maps
    return refine_loop(relation, mid, mid, weights, training)


def context_attention_loop(relation: str, maps: list[np.ndarray], weights: Arrays, training: bool) -> np.ndarray:
    mid, top = maps
    projected_top = upsample_loop(pointwise_loop(top, weights, "top_projection"), *mid.shape[1:3])
    fused = pointwise_loop(mid, weights, "mid_projection") + projected_top
    return refine_loop(relation, mid, fused, weights, training)


def attention_map_loop(pooling: str, activation: str, mid: np.ndarray, kernel: np.ndarray, bias: float) -> np.ndarray:
    """Eq. 8 with a 3x3 kernel: `(batch, height, width)`."""
    batch, height, width, _ = mid.shape
    attention = np.zeros((batch, height, width))
    for photo, row, column in itertools.product(range(batch), range(height), range(width)):
        total = bias
        for down, along in itertools.product(range(3), range(3)):
            y, x = row + down - 1, column + along - 1
            if not (0 <= y < height and 0 <= x < width):
                continue
            channels = list(mid[photo, y, x])
            mean, largest = sum(channels) / len(channels), max(channels)
            pooled = {"avg": [mean], "max": [largest], "avg_max": [mean, largest]}[pooling]
            total += sum(kernel[down, along, index, 0] * value for index, value in enumerate(pooled))
        attention[photo, row, column] = 1 / (1 + np.exp(-total)) if activation == "sigmoid" else total
    return attention


def attend_in_cells_loop(attention: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Eq. 9 where the factor is whole: each top position is weighted with the mean over the cell that it covers."""
    attended = np.zeros_like(top)
    high, wide = attention.shape[1] // top.shape[1], attention.shape[2] // top.shape[2]
    for photo, row, column in itertools.product(*map(range, top.shape[:3])):
        cell = attention[photo, row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        attended[photo, row, column] = np.sum(cell) / (high * wide) * top[photo, row, column]
    return attended


# Helpers


def key_of(variable: keras.Variable) -> str:
    return "/".join(variable.path.split("/")[-2:])


def weights_of(layer: keras.layers.Layer) -> Arrays:
    return {key_of(v): keras.ops.convert_to_numpy(v.value).astype("float64") for v in layer.weights}


def random_map(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 0.7, shape).astype("float32")


def randomize(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Random weights everywhere, so that nothing hides behind a zero or a one."""
    for variable in layer.weights:
        positive = key_of(variable).endswith(("gamma", "moving_variance"))
        values = rng.uniform(0.5, 1.5, variable.shape) if positive else rng.normal(0, 0.4, variable.shape)
        variable.assign(values.astype("float32"))


def make_refinement(
    kind: type[NonLocalBlock], relation: str, rng: np.random.Generator, **arguments: Any
) -> tuple[NonLocalBlock, list[np.ndarray], Callable[..., np.ndarray]]:
    """A layer with random weights, its inputs, and its NumPy counterpart."""
    layer = kind(relation, **arguments)
    is_cross_layer = kind is CrossLayerContextAttention
    maps = [random_map(rng, shape) for shape in ((MID_SHAPE, TOP_SHAPE) if is_cross_layer else (MID_SHAPE,))]
    layer.build(*(x.shape for x in maps))
    randomize(layer, rng)
    return layer, maps, context_attention_loop if is_cross_layer else non_local_loop


def call(layer: keras.layers.Layer, *maps: np.ndarray, **arguments: Any) -> np.ndarray:
    return ops.convert_to_numpy(layer(*map(ops.convert_to_tensor, maps), **arguments))


def float64(maps: list[np.ndarray]) -> list[np.ndarray]:
    return [x.astype("float64") for x in maps]


def assert_slopes_match(
    loss: Callable[[Arrays], float], at: Arrays, gradients: Arrays, rng: np.random.Generator, directions: int = 2
) -> None:
    """d/de loss(x + e v) by central differences in float64 equals gradient · v, for every array and random v."""
    for name, gradient in gradients.items():
        for _ in range(directions):
            direction = rng.normal(size=at[name].shape)
            step = 1e-5
            ends = [loss({**at, name: at[name] + sign * step * direction}) for sign in (1, -1)]
            expected = (ends[0] - ends[1]) / (2 * step)
            terms = gradient.astype("float64") * direction
            tolerance = 1e-5 * np.abs(terms).sum() + 2e-6
            assert abs(terms.sum() - expected) < tolerance, f"{name}: {terms.sum()} instead of {expected}"


refinements = pytest.mark.parametrize("kind", [CrossLayerContextAttention, NonLocalBlock])
relations = pytest.mark.parametrize("relation", RELATIONS)
modes = pytest.mark.parametrize("mode", MODES)


# Refinement: eqs. 1-7


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


# Relations: eqs. 5-7


def random_relation(rng: np.random.Generator, positions: int, width: int, value_width: int) -> list[np.ndarray]:
    return [random_map(rng, (2, positions, columns)) for columns in (width, width, value_width)]


@pytest.mark.parametrize(("positions", "width", "value_width"), [(12, 3, 5), (3, 16, 8), (1, 1, 1)])
def test_both_orders_of_the_dot_product_agree(
    positions: int, width: int, value_width: int, rng: np.random.Generator
) -> None:
    arrays = random_relation(rng, positions, width, value_width)
    pairwise, linear = (
        ops.convert_to_numpy(order(*map(ops.convert_to_tensor, arrays)))
        for order in (pairwise_dot_product, linear_dot_product)
    )
    np.testing.assert_allclose(pairwise, linear, rtol=1e-5, atol=1e-5)


def nested_graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for function in getattr(graph, "_functions", {}).values():
        if hasattr(function, "graph"):
            yield from nested_graphs(function.graph)


def matrix_shapes(positions: int | None, width: int, value_width: int) -> set[tuple[int | None, ...]]:
    """The last two dimensions of every tensor in the graph of the dot product and its gradients."""

    @tf.function(input_signature=[tf.TensorSpec((None, positions, n)) for n in (width, width, value_width)])
    def with_gradients(query, key, value):
        with tf.GradientTape() as tape:
            tape.watch([query, key, value])
            related = dot_product_attention(query, key, value)
        return related, tape.gradient(related, [query, key, value])

    outputs = (
        output
        for graph in nested_graphs(with_gradients.get_concrete_function().graph)
        for operation in graph.get_operations()
        for output in operation.outputs
    )
    return {tuple(x.shape[-2:]) for x in outputs if x.shape.rank is not None and x.shape.rank >= 2}


@needs_tensorflow
def test_dot_product_never_relates_all_pairs_where_the_linear_order_is_cheaper() -> None:
    positions, width, value_width = 64, 4, 6
    shapes = matrix_shapes(positions, width, value_width)
    assert (positions, positions) not in shapes
    assert (width, value_width) in shapes


@needs_tensorflow
def test_dot_product_relates_pairs_where_that_is_cheaper() -> None:
    positions, width, value_width = 3, 16, 17
    shapes = matrix_shapes(positions, width, value_width)
    assert (positions, positions) in shapes
    assert (width, value_width) not in shapes


@needs_tensorflow
def test_dot_product_takes_the_linear_order_where_the_number_of_positions_is_unknown() -> None:
    shapes = matrix_shapes(None, 4, 6)
    assert (4, 6) in shapes
    assert (None, None) not in shapes


@pytest.mark.parametrize("block", [1, 4, 5, 12, 20])
def test_blockwise_attention_equals_softmax_attention(block: int, rng: np.random.Generator) -> None:
    tensors = [ops.convert_to_tensor(x) for x in random_relation(rng, 12, 3, 5)]
    actual, expected = blockwise_attention(*tensors, block), softmax_attention(*tensors)
    np.testing.assert_allclose(ops.convert_to_numpy(actual), ops.convert_to_numpy(expected), rtol=1e-5, atol=1e-6)


@needs_tensorflow
@pytest.mark.parametrize("block", [1, 4, 5, 12, 20])
@pytest.mark.parametrize("positions", [12, None])
def test_blockwise_gradients_equal_softmax_gradients_with_unknown_batch_size(
    block: int, positions: int | None, rng: np.random.Generator
) -> None:
    def traced(attend: Callable[..., Any]) -> Any:
        @tf.function(input_signature=[tf.TensorSpec((None, positions, width)) for width in (3, 3, 5)])
        def with_gradients(query, key, value):
            with tf.GradientTape() as tape:
                tape.watch([query, key, value])
                related = attend(query, key, value)
                loss = tf.reduce_sum(related**2)
            return [related, *tape.gradient(loss, [query, key, value])]

        return with_gradients

    arrays = random_relation(rng, 12, 3, 5)
    actual = traced(lambda *tensors: blockwise_attention(*tensors, block))(*arrays)
    expected = traced(softmax_attention)(*arrays)
    for ours, whole in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-5)


# Spatial attention: eqs. 8, 9


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
    arguments = {"pooling": pooling, "activation": activation, "return_attention": True}
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
    layer, mid, top = make_spatial(rng, (4, 6), (2, 3), pooling=pooling, activation=activation)
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
    if activation == "linear":
        gradients = {name: g if name == "top" else g / LINEAR_GRADIENT for name, g in gradients.items()}
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
    layer, mid, top = make_spatial(rng, (15, 15), (7, 7))
    weights = list(weights_of(layer).values())
    attention = attention_map_loop("avg_max", "sigmoid", mid.astype("float64"), weights[0], weights[1][0])
    expected = tf.image.resize(attention[..., None], (7, 7), antialias=True).numpy() * top
    np.testing.assert_allclose(call(layer, mid, top), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("mid_size", [(4, 6), (5, 7), (2, 3)])
def test_linear_spatial_attention_starts_as_the_identity(
    pooling: str, mid_size: tuple[int, int], rng: np.random.Generator
) -> None:
    layer = CrossLayerSpatialAttention(pooling, "linear")
    mid, top = random_map(rng, (2, *mid_size, 3)), random_map(rng, (2, 2, 3, 5))
    attended = call(layer, mid, top)
    if mid_size[0] % 2:  # interpolation weights sum to 1 within rounding
        np.testing.assert_allclose(attended, top, rtol=1e-6)
    else:
        assert np.array_equal(attended, top)


# Arguments


@pytest.mark.parametrize("kind", [CrossLayerContextAttention, NonLocalBlock])
@pytest.mark.parametrize(
    ("name", "value"), [("relation", "cosine"), ("embed_dim", 0), ("embed_dim", -2), ("query_block", 0)]
)
def test_bad_refinement_arguments_are_named(kind: type[NonLocalBlock], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        kind(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("pooling", "min"), ("activation", "relu"), ("kernel_size", 0)])
def test_bad_spatial_attention_arguments_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        CrossLayerSpatialAttention(**{name: value})


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
