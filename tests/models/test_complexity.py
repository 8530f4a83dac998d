"""Parameters and multiply-accumulates: against the paper's Table 5 and against counts by hand."""

from math import prod
from typing import Any

import keras
import pytest

from clan_tf.layers import CrossLayerContextAttention, NonLocalBlock
from clan_tf.models import CLAN, Complexity, Plain, complexity


def totals(cost: Complexity) -> tuple[int, int]:
    return sum(cost.parameters.values()), sum(cost.macs.values())


@pytest.mark.parametrize(
    ("settings", "millions", "billions"),
    [
        ({"scales": 3, "mid_refinement": "gap", "spatial_attention": False}, "15.03", "61.63"),
        ({"scales": 2}, "16.08", "62.30"),
        ({"scales": 3}, "17.34", "64.83"),
    ],
    ids=["three scales without attention", "two scales", "three scales"],
)
def test_parameters_and_macs_are_those_of_table_5(settings: dict[str, Any], millions: str, billions: str) -> None:
    model = CLAN("vgg16_bn", classes=200, image_size=448, head_batch_norm=False, **settings)
    parameters, macs = totals(complexity(model))
    assert f"{parameters / 1e6:.2f}" == millions
    assert f"{macs / 1e9:.2f}" == billions


@pytest.mark.parametrize(
    "model",
    [
        lambda: CLAN("tiny", classes=5, image_size=32),
        lambda: CLAN("tiny", classes=5, image_size=32, scales=3, relation="gaussian"),
        lambda: CLAN("tiny", classes=5, image_size=32, mid_refinement="non_local", spatial_attention=False),
        lambda: Plain("tiny", classes=5, image_size=32),
        lambda: CLAN("mobilenet_v3_large", classes=5, image_size=64),
    ],
    ids=["clan", "gaussian", "non_local", "plain", "mobilenet_v3_large"],
)
def test_the_parts_add_up_to_the_whole(model: Any) -> None:
    model = model()
    cost = complexity(model)
    assert sum(cost.parameters.values()) == sum(prod(w.shape) for w in model.trainable_weights)
    assert cost.variables == sum(prod(w.shape) for w in model.weights)


def test_each_part_counts_its_own_parameters() -> None:
    model = CLAN("tiny", classes=5, image_size=32)  # mid_1: 4x4 with 96 channels; top: 2x2 with 128
    width = 96 // 2
    cost = complexity(model)
    fusion = (96 + 1) * 96 + (128 + 1) * 96
    embeddings = 3 * (96 + 1) * width
    assert cost.parameters["clca"] == fusion + embeddings + (width + 1) * 96 + 2 * 96
    assert cost.parameters["clsa"] == 3 * 3 * 2 + 2
    assert cost.parameters["heads"] == (96 + 1) * 5 + 2 * 96 + 2 * ((128 + 1) * 5 + 2 * 128)
    assert cost.parameters["non_local"] == 0

    # Per position of the 4x4 map, except for `W_g` at the top map's 2x2.
    per_position = (96 + 1) * 96 + embeddings + (width + 1) * 96 + 2 * 96
    assert cost.macs["clca"] == 16 * per_position + 4 * (128 + 1) * 96
    assert cost.macs["clsa"] == 16 * (2 * 2 + 3 * 3 * 2 + 2)
    assert cost.macs["heads"] == cost.parameters["heads"]


@pytest.mark.parametrize(
    ("relation", "embed_dim", "size", "expected"),
    [
        # 12 positions of 8 channels; all pairs cost 12² products for each column of the query and of the value.
        ("gaussian", None, (4, 3), 12 * 12 * (8 + 4)),
        ("embedded_gaussian", None, (4, 3), 12 * 12 * (4 + 4)),
        ("embedded_gaussian", 5, (4, 3), 12 * 12 * (5 + 5)),
        # keyᵀ value and query times that: one product for each position, column of the key, and column of the value.
        ("dot_product", None, (4, 3), 12 * 4 * 4 + 12 * 4 * 4),
        # Three positions are fewer than the columns: there all pairs are cheaper.
        ("dot_product", 6, (1, 3), 3 * 3 * (6 + 6)),
    ],
)
def test_relation_macs_equal_the_count_by_hand(
    relation: str, embed_dim: int | None, size: tuple[int, int], expected: int
) -> None:
    shape = (None, *size, 8)
    cross_layer = CrossLayerContextAttention(relation, embed_dim)
    cross_layer.build(shape, (None, 1, 1, 3))
    same_layer = NonLocalBlock(relation, embed_dim)
    same_layer.build(shape)
    assert cross_layer.product_cost(shape)[0] == expected
    assert same_layer.product_cost(shape)[0] == expected


def test_relation_bytes_are_those_of_the_largest_intermediate() -> None:
    shape, large = (None, 4, 3, 8), (None, 40, 30, 8)
    layers = {relation: NonLocalBlock(relation) for relation in ("gaussian", "dot_product")}
    for layer in layers.values():
        layer.build(shape)
    assert layers["gaussian"].product_cost(shape)[1] == 4 * 12 * 12
    assert layers["gaussian"].product_cost(large)[1] == 4 * 512 * 1200  # 512 queries at a time
    assert layers["dot_product"].product_cost(large)[1] == 4 * 4 * 4


def test_relations_of_a_model_are_counted_apart() -> None:
    cost = complexity(CLAN("tiny", classes=5, image_size=32, scales=3))
    macs = {name: relation.macs for name, relation in cost.relations.items()}
    # mid_1: 8x8 positions, 24 columns: linear. mid_2: 4x4 positions, 48 columns: all pairs.
    assert macs == {"clca_mid_1": 2 * 64 * 24 * 24, "clca_mid_2": 16 * 16 * (48 + 48)}


def test_a_small_network_equals_the_count_by_hand() -> None:
    inputs = x = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(6, 1, strides=2, use_bias=False)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(5)(x)
    parameters, macs = totals(complexity(keras.Model(inputs, x)))
    assert parameters == (27 + 1) * 4 + 9 * 4 + 2 * 4 + 4 * 6 + (24 + 1) * 5
    convolution = 64 * 4 * 27 + 64 * 4 + 64 * 4  # products, biases, ReLU
    pooling = 64 * 4
    depthwise = 16 * 4 * 9
    normalization, relu = 2 * 16 * 4, 16 * 4
    pointwise = 4 * 6 * 4
    dense = 24 * 5 + 5
    assert macs == convolution + pooling + depthwise + normalization + relu + pointwise + dense


def test_batch_norm_statistics_are_not_parameters() -> None:
    cost = complexity(Plain("tiny", classes=5, image_size=32))
    kernels = 9 * (3 * 24 + 24 * 24 + 24 * 48 + 48 * 48 + 48 * 96 + 96 * 96 + 96 * 128 + 128 * 128)
    channels = 2 * (24 + 48 + 96 + 128)
    head = (128 + 1) * 5
    assert cost.parameters["backbone"] == kernels + 2 * channels
    assert cost.variables == kernels + 4 * channels + head
