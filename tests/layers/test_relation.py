"""The orders in which relations are computed agree, and each is taken where it is cheaper."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from keras import ops

from clan_tf.layers.relation import (
    blockwise_attention,
    dot_product_attention,
    linear_dot_product,
    pairwise_dot_product,
    softmax_attention,
)
from helpers.layers import ON_TENSORFLOW, needs_tensorflow, random_map

if ON_TENSORFLOW:
    import tensorflow as tf


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
