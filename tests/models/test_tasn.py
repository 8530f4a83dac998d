"""TASN: two networks with a backbone's weights, what teaches what, and maps brought back to the photo."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.errors import UserError
from clan_tf.explain import Explainer
from clan_tf.explain.geometry import Window
from clan_tf.explain.maps import unwarped
from clan_tf.export.pruning import inference_model
from clan_tf.models import TASN, Plain, complexity
from clan_tf.models.transfer import copy_fitting
from clan_tf.training.recipe import make_optimizer
from clan_tf.training.step import TrainStep, metric_columns

SIZE = 64


def make(**settings: Any) -> TASN:
    keras.utils.set_random_seed(0)
    model = TASN("tiny", 3, SIZE, sampled_size=32, **settings)
    rng = np.random.default_rng(0)
    for layer in [model.auxiliary, *(model.get_layer(f"logits_{branch}") for branch in model.branches)]:
        layer.kernel.assign(rng.normal(0, 0.3, layer.kernel.shape))
    return model


@pytest.fixture
def photos(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (4, SIZE, SIZE, 3)).astype("float32")


def cross_entropy(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    logits = logits.astype("float64")
    return -(shares * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))).sum(axis=1)


def test_the_losses_are_those_of_numpy(photos: np.ndarray) -> None:
    model = make(distillation_temperature=4.0)
    outputs = {name: np.asarray(x) for name, x in model.training_model()(photos, training=False).items()}
    shares = np.array([[1, 0, 0], [0, 0.3, 0.7], [0, 0, 1], [0, 1, 0]], "float32")
    losses = {name: np.asarray(x) for name, x in model.own_losses(outputs, shares).items()}
    auxiliary = sum(cross_entropy(outputs[f"auxiliary_{name}"], shares) for name in ("detail", "structure"))
    np.testing.assert_allclose(losses["auxiliary"], auxiliary, rtol=1e-5)
    teacher = np.exp(outputs["detail"] / 4)
    teacher /= teacher.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(losses["distillation"], cross_entropy(outputs["structure"] / 4, teacher), rtol=1e-5)


def test_who_learns_from_what(photos: np.ndarray) -> None:
    model = make()
    network, shares = model.training_model(), np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    layers = {
        "attention": model.attention_model.trainable_variables[0],
        "master": model.backbone_model.trainable_variables[0],
        "detail": model.get_layer("logits_detail").kernel,
        "structure": model.get_layer("logits_structure").kernel,
        "auxiliary": model.auxiliary.kernel,
    }
    reached = {}
    for name in ("attention", "structure", "distillation", "auxiliary"):
        with tf.GradientTape() as tape:
            outputs = network(photos, training=True)
            own = model.own_losses(outputs, tf.constant(shares))
            loss = tf.reduce_sum(own[name]) if name in own else tf.reduce_sum(outputs[name] ** 2)
        gradients = tape.gradient(loss, {key: variable.value for key, variable in layers.items()})
        reached[name] = {key for key, gradient in gradients.items() if gradient is not None}
    # What classifies resampled photos doesn't move the attention, and the teacher doesn't learn from its pupil.
    assert reached == {
        "attention": {"attention"},
        "structure": {"master", "structure"},
        "distillation": {"master", "structure"},
        "auxiliary": {"master", "auxiliary"},
    }


def test_the_prediction_is_the_structure_branchs_and_needs_no_other(photos: np.ndarray) -> None:
    model = make()
    outputs = model(photos)
    np.testing.assert_array_equal(outputs["combined"], outputs["structure"])
    pruned = inference_model(model, ("structure",))
    names = {layer.name for layer in pruned.layers}
    assert "sample_structure" in names and not names & {"sample_detail", "logits_attention", "logits_detail"}
    np.testing.assert_allclose(pruned(photos)["probabilities"], outputs["structure"], atol=1e-5)
    every = inference_model(model, model.branches, per_branch=True)(photos)
    for branch in model.branches:
        np.testing.assert_allclose(every[f"probabilities_{branch}"], outputs[branch], atol=1e-5)


def test_both_backbones_are_frozen_and_decayed_and_the_shared_head_is_trained(photos: np.ndarray) -> None:
    recipe = {"batch_size": 4, "learning_rate": 0.1, "layer_decay": 0.5, "head_learning_rate_factor": 2.0}
    training = Experiment.model_validate({"training": recipe}).training
    batch = (tf.constant(photos), tf.constant([0, 1, 2, 0]))
    for frozen in (True, False):
        model = make()
        optimizer = make_optimizer(training, model, 1, 1)
        parts = {"attention": model.attention_model, "master": model.backbone_model, "auxiliary": model.auxiliary}
        before = {name: part.get_weights() for name, part in parts.items()}
        step = TrainStep(model, optimizer, tf.distribute.get_strategy(), training, frozen_backbone=frozen)
        values, _ = step(iter([batch]), np.array([1, 0.5, 0.5], "float32"))
        found = dict(zip(metric_columns(model.branches, model.own_loss_weights), values, strict=True))
        branches = sum(model.loss_weights[name] * found[f"{name}_loss"] for name in model.branches)
        assert found["loss"] == pytest.approx(
            branches + 0.5 * found["auxiliary_loss"] + found["distillation_loss"], rel=1e-4
        )
        for name, part in parts.items():
            moved = [(a != b).any() for a, b in zip(part.get_weights(), before[name], strict=True) if a.ndim > 1]
            assert all(moved) == (name == "auxiliary" or not frozen), name
        if not frozen:
            own = model.attention_model.trainable_variables
            factors = [optimizer._rate_factors.get(optimizer._var_key(variable)) for variable in own]
            assert factors[-1] == 0.5 and min(factors) < 0.5


def test_a_plain_models_backbone_is_copied_to_both_and_back() -> None:
    def first(network: keras.Model) -> Any:
        return network.get_layer("stage1_conv1").kernel

    plain, model = Plain("tiny", 3, SIZE), make()
    transfer = copy_fitting(plain, model)
    layers = [layer for each in model.backbones for layer in each.layers if layer.weights]
    assert transfer.backbone == (len(layers), len(layers))
    for each in model.backbones:
        np.testing.assert_array_equal(first(each), first(plain.backbone_model))
    first(model.backbone_model).assign(first(model.attention_model) + 1)
    again = Plain("tiny", 3, SIZE)
    copy_fitting(model, again)
    np.testing.assert_array_equal(first(again.backbone_model), first(model.backbone_model))
    other = make()
    copy_fitting(model, other)
    np.testing.assert_array_equal(first(other.attention_model), first(model.attention_model))


def test_training_keeps_the_maps_of_both_resampled_photos() -> None:
    model = make()
    alone = complexity(Plain("tiny", 3, 32)).activation_bytes
    once = complexity(model).activation_bytes
    model.calls_in_training = lambda layer: 1  # type: ignore[method-assign]
    assert once - complexity(model).activation_bytes == pytest.approx(alone, rel=0.05)


@pytest.mark.parametrize("at", [(1, 1), (2, 3), (3, 0)])
def test_maps_of_resampled_photos_are_brought_back(at: tuple[int, int]) -> None:
    size, samples = 40, 20
    # The left half of the photo gets three quarters of the columns' samples: the map's cells are narrower there.
    columns = np.concatenate([np.linspace(0.17, 19.5, 15), np.linspace(21.5, 38, 5)])
    rows = (np.arange(samples) + 0.5) * size / samples - 0.5
    positions = tf.constant(np.array([[rows, columns]], "float32"))
    heat = np.zeros((1, 4, 4), "float32")
    heat[0, at[0], at[1]] = 1
    found = unwarped(tf.constant(heat), positions, size, grid=40).numpy()[0]
    assert found.shape == (40, 40)
    # A cell's centre lies in the middle of its five samples.
    centre = [np.interp(5 * cell + 2, np.arange(samples), axis) for cell, axis in zip(at, (rows, columns), strict=True)]
    middle = [(np.arange(40) * found.sum(axis=axis)).sum() / found.sum() for axis in (1, 0)]
    peak = np.unravel_index(found.argmax(), found.shape)
    assert peak[0] == pytest.approx(centre[0], abs=1.5) and peak[1] == pytest.approx(centre[1], abs=3)
    if at == (1, 1):
        assert middle == pytest.approx(centre, abs=1)
    assert unwarped(tf.constant(np.ones((1, 3, 3), "float32")), positions, size).numpy() == pytest.approx(1)


def test_every_branch_is_explained_on_the_photo(photos: np.ndarray) -> None:
    model = make()
    window = Window(0, 0, SIZE, SIZE)
    (explanation, *_) = Explainer(model, model.branches)(photos.astype("uint8"), [window] * len(photos))
    assert set(explanation.gradcam) == {("attention", "mid_1"), ("structure", "top"), ("detail", "detail")}
    assert np.isfinite(explanation.summary()).all()
    (usual, *_) = Explainer(model)(photos.astype("uint8"), [window] * len(photos))
    assert set(usual.gradcam) == {("structure", "top")}


def test_heads_are_copied_between_models_of_the_same_map() -> None:
    model = make()
    other = TASN("tiny", 3, SIZE, sampled_size=48)
    transfer = copy_fitting(model, other)
    assert set(transfer.heads) == {"attention", "detail", "structure", "auxiliary"}
    np.testing.assert_array_equal(other.auxiliary.kernel, model.auxiliary.kernel)
    another = TASN("tiny", 3, SIZE, sampled_size=32, base="stage3_relu1")
    assert set(copy_fitting(model, another).heads) == {"detail", "structure", "auxiliary"}


def test_the_sampled_size_follows_from_the_photos_and_is_not_larger() -> None:
    sizes = {side: TASN("tiny", 3, side).get_layer("sample_structure").size for side in (48, 96, 128, 224, 448)}
    assert sizes == {48: 48, 96: 96, 128: 96, 224: 96, 448: 224}
    assert TASN("tiny", 3, 128).get_config()["sampled_size"] == 96
    with pytest.raises(UserError, match="model.tasn.sampled_size: 16 can't be used"):
        TASN("mobilenet_v2", 3, SIZE, sampled_size=16)
    with pytest.raises(UserError, match="model.tasn.sampled_size: 80 is larger than data.image_size, 64"):
        TASN("tiny", 3, SIZE, sampled_size=80)
