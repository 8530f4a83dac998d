"""Folded and pruned models give the same probabilities with less work."""

import keras
import numpy as np
import pytest

from clan_tf.export.batch_norm import fold_batch_norm
from clan_tf.export.folding import convolution_macs, folded_convolution_macs
from clan_tf.export.pruning import inference_model
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.layers.relation import RELATIONS
from clan_tf.models import BranchClassifier, combine
from helpers.exports import PHOTOS, RESIZE, SIZE, answering_model


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("branches", [("mid_1", "mid_2", "top", "refined_top"), ("mid_1",), ("refined_top", "top")])
def test_folding_and_pruning_keep_the_probabilities(relation: str, branches: tuple[str, ...]) -> None:
    model = answering_model(relation=relation, scales=3)
    pruned = inference_model(model, branches, per_branch=True)
    photos = PHOTOS[:4, :SIZE, :SIZE].astype("float32")
    expected = {name: np.asarray(values) for name, values in model(photos).items()}
    answers = pruned(photos)
    combined = combine([expected[branch] for branch in branches], "probabilities")
    np.testing.assert_allclose(answers["probabilities"], combined, atol=1e-5)
    for branch in branches:
        np.testing.assert_allclose(answers[f"probabilities_{branch}"], expected[branch], atol=1e-5)
    assert pruned.count_params() < model.count_params()


@pytest.mark.parametrize("settings", [{"mid_refinement": "non_local"}, {"embed_dim": 200}, {"combination": "logits"}])
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
    tapped = layers.BatchNormalization(scale=False)(x)
    x = layers.Conv2D(6, 1, name="tapped")(tapped)
    twice = layers.BatchNormalization(center=False, name="folded_tap")(x)
    x = layers.Conv2D(6, 1, name="used_twice")(twice)
    x = layers.Add()([x, layers.BatchNormalization(name="stays")(x)])
    x = layers.Conv2D(6, 1, activation="relu")(x)
    return keras.Model(inputs, {"top": layers.BatchNormalization(name="after_relu")(x), "mid_1": twice})


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
    assert sorted(kept) == ["after_relu", "stays"]
    assert [layer.padding for layer in folded.layers if isinstance(layer, keras.layers.ZeroPadding2D)] == [
        ((2, 2), (2, 2))
    ]
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable)


@pytest.mark.parametrize("relation", RELATIONS)
def test_no_batch_norm_is_left_to_compute(models: dict[str, BranchClassifier], relation: str) -> None:
    model = models[relation]
    kinds = {type(layer) for layer in inference_model(model, model.branches)._flatten_layers()}
    assert keras.layers.BatchNormalization not in kinds
