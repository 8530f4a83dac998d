"""Folded and pruned models give the same probabilities with less work."""

import keras
import numpy as np
import pytest

from clan_tf.export.batch_norm import fold_batch_norm
from clan_tf.export.folding import convolution_macs, folded_convolution_macs
from clan_tf.export.pruning import inference_model
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.layers import CrossLayerSpatialAttention
from clan_tf.layers.relation import RELATIONS
from clan_tf.models import CLAN, BranchClassifier, Plain, combine
from helpers.exports import PHOTOS, RESIZE, SIZE, answering_model


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("branches", [("mid_1", "mid_2", "top", "refined_top"), ("mid_1",), ("refined_top", "top")])
def test_folding_and_pruning_keep_the_probabilities(relation: str, branches: tuple[str, ...]) -> None:
    model = answering_model(relation=relation, scales=3)
    pruned = inference_model(model, branches, per_branch=True)
    photos = PHOTOS[:4, :SIZE, :SIZE].astype("float32")
    expected = {name: np.asarray(values) for name, values in model(photos).items()}
    answers = pruned(photos)
    combined = combine([expected[branch] for branch in branches], model.combination)
    np.testing.assert_allclose(answers["probabilities"], combined, atol=1e-5)
    for branch in branches:
        np.testing.assert_allclose(answers[f"probabilities_{branch}"], expected[branch], atol=1e-5)
    assert pruned.count_params() < model.count_params()


@pytest.mark.parametrize(
    "settings",
    [
        {"mid_refinement": "non_local"},
        {"embed_dim": 200},
        {"combination": "logits"},
        {"mid_pooling": "avg", "dropout": 0.5},
    ],
)
def test_other_refinements_are_folded_where_that_is_cheaper(settings: dict[str, object]) -> None:
    model = answering_model(**settings)
    photos = PHOTOS[:4, :SIZE, :SIZE].astype("float32")
    answers = inference_model(model, model.branches)(photos)["probabilities"]
    np.testing.assert_allclose(answers, model(photos)["combined"], atol=1e-5)


def conv_macs(tflite: bytes) -> int:
    """Products of all convolutions in a file: an independent count from the file's own shapes."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(tflite, 0))
    codes, subgraph = graph.operatorCodes, graph.subgraphs[0]
    total = 0
    for operator in subgraph.operators:
        if codes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D:
            output, kernel = (subgraph.tensors[index].shape for index in (operator.outputs[0], operator.inputs[1]))
            total += int(np.prod(output)) * int(np.prod(kernel[1:]))
    return total


def test_folding_lowers_the_measured_work_by_the_computed_share(models: dict[str, BranchClassifier]) -> None:
    model = models["embedded_gaussian"]
    whole, folded = (
        conv_macs(classifier_to_tflite(inference_model(model, model.branches, folded=folded), RESIZE))
        for folded in (False, True)
    )
    layer = model.refinements["mid_1"]
    normalization = 4 * 4 * 96  # part of a convolution in both files
    assert whole - folded == convolution_macs(layer) - folded_convolution_macs(layer) - normalization
    # By hand: without W_l and W_g, but with W_θ W_g and W_φ W_g on the top-level map of 2 x 2 positions.
    assert whole - folded == 16 * 96 * 96 + 4 * 128 * 96 - 4 * 128 * (48 + 48)


def photo_model(*, groups: int = 1) -> keras.Model:
    """A network with every place where a batch norm or padding may be folded, and where it mustn't."""
    layers = keras.layers
    x = inputs = keras.Input((9, 8, 4))
    x = layers.ZeroPadding2D(((1, 1), (0, 1)))(x)  # what `same` adds for these sizes
    x = layers.Conv2D(8, 3, 2, groups=groups, use_bias=False, name="strided")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.ZeroPadding2D(2)(x)  # one more than `same` adds
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.ZeroPadding2D(2)(x)  # what `same` adds with this dilation
    x = layers.Conv2D(6, 3, dilation_rate=2, name="dilated")(x)
    tapped_after = layers.BatchNormalization(center=False)(x)
    tapped = layers.Conv2D(6, 1, name="tapped")(tapped_after)
    x = layers.BatchNormalization(name="of_a_tapped_map")(tapped)
    x = layers.Conv2D(6, 1, name="used_twice")(x)
    x = layers.Add()([x, layers.BatchNormalization(name="of_a_map_used_twice")(x)])
    again = layers.Conv2D(6, 1, name="called_twice")
    x = again(layers.ReLU()(again(x)))
    x = layers.BatchNormalization(name="after_a_shared_layer")(x)
    x = layers.BatchNormalization(axis=1, name="of_rows")(layers.Conv2D(6, 1)(x))
    padded = layers.ZeroPadding2D(1, name="tapped_padding")(x)
    x = layers.Conv2D(6, 3, activation="relu")(padded)
    outputs = {"top": layers.BatchNormalization(name="after_relu")(x), "mid_1": tapped, "mid_2": tapped_after}
    return keras.Model(inputs, outputs | {"mid_3": padded})


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_and_padding_become_part_of_convolutions(groups: int) -> None:
    keras.utils.set_random_seed(2)
    model = photo_model(groups=groups)
    rng = np.random.default_rng(2)
    for variable in model.variables:
        variable.assign(rng.uniform(0.2, 1.5, variable.shape))
    before = [np.array(variable) for variable in model.variables]
    photos = rng.normal(size=(3, 9, 8, 4)).astype("float32")
    expected = model.predict_on_batch(photos)
    for _ in range(2):  # the first time mustn't hinder the second
        folded = fold_batch_norm(model)
    for name, values in folded.predict_on_batch(photos).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5)
    kept = [layer.name for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert sorted(kept) == [
        "after_a_shared_layer",
        "after_relu",
        "of_a_map_used_twice",
        "of_a_tapped_map",
        "of_rows",
    ]
    padding = [layer.padding for layer in folded.layers if isinstance(layer, keras.layers.ZeroPadding2D)]
    assert padding == [((2, 2), (2, 2)), ((1, 1), (1, 1))]
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_batch_norm_is_left_to_compute(models: dict[str, BranchClassifier], relation: str) -> None:
    assert_no_batch_norm(models[relation])


def assert_no_batch_norm(model: BranchClassifier) -> None:
    kinds = {type(layer) for layer in inference_model(model, model.branches)._flatten_layers()}
    assert keras.layers.BatchNormalization not in kinds


def test_the_batch_norm_of_a_head_becomes_part_of_its_dense_layer() -> None:
    model = Plain("tiny", 5, SIZE, head_batch_norm=True, dropout=0.5)
    rng = np.random.default_rng(4)
    for variable in (*model.get_layer("batch_norm_top").variables, *model.get_layer("logits_top").variables):
        variable.assign(rng.uniform(0.2, 1.5, variable.shape))
    photos = PHOTOS[:4, :SIZE, :SIZE].astype("float32")
    np.testing.assert_allclose(
        inference_model(model, ["top"])(photos)["probabilities"], model(photos)["top"], atol=1e-5
    )
    assert_no_batch_norm(model)


@pytest.mark.parametrize("activation", ["sigmoid", "linear"])
def test_the_batch_norm_of_the_spatial_attention_is_folded(activation: str) -> None:
    model = answering_model(spatial_batch_norm=True, spatial_activation=activation)
    rng = np.random.default_rng(5)
    attention = next(layer for layer in model._flatten_layers() if isinstance(layer, CrossLayerSpatialAttention))
    for variable in (*attention.pooled_normalization.variables, *attention.map_normalization.variables):
        variable.assign(rng.uniform(0.2, 1.5, variable.shape))
    photos = PHOTOS[:4, :SIZE, :SIZE].astype("float32")
    whole, folded = (
        inference_model(model, model.branches, True, ["attention_mid_1"], fold)(photos) for fold in (False, True)
    )
    assert np.std(whole["attention_mid_1"]) > 1e-3
    for name, values in whole.items():
        np.testing.assert_allclose(folded[name], values, rtol=1e-4, atol=1e-5)
    assert_no_batch_norm(model)


@pytest.mark.soak
@pytest.mark.parametrize("size", [64, 75])
@pytest.mark.parametrize(
    ("backbone", "left"),
    [
        ("mobilenet", 0),
        ("mobilenet_v2", 0),
        ("mobilenet_v3_large", 0),
        ("efficientnet_lite0", 0),
        ("efficientnet_v2_b0", 0),
        ("resnet50", 0),
        ("resnet50_v2", None),
        ("densenet121", None),
    ],
)
def test_backbones_are_folded(backbone: str, left: int | None, size: int) -> None:
    """Of pre-activated networks, batch norm before an activation stays."""
    model = CLAN(backbone, 5, image_size=size, weights=None)
    rng = np.random.default_rng(1)
    for layer in model.backbone_model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(rng.uniform(0.7, 1.3, variable.shape))
    photos = rng.uniform(0, 255, (2, size, size, 3)).astype("float32")
    one, two = (inference_model(model, model.branches, folded=folded) for folded in (False, True))
    answers = [x.predict_on_batch(photos)["probabilities"] for x in (one, two)]
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-6)
    counts = [sum(isinstance(x, keras.layers.BatchNormalization) for x in y._flatten_layers()) for y in (one, two)]
    assert counts[1] == left if left is not None else 0 < counts[1] < counts[0]
