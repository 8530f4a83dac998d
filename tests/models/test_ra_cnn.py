"""RA-CNN: the loss over scales, who learns from what, squares around peaks, and maps on the photo."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import Ridge

from clan_tf.errors import CheckFailed, UserError
from clan_tf.explain import Explainer
from clan_tf.explain.geometry import Window
from clan_tf.explain.maps import unwarped
from clan_tf.export.pruning import inference_model
from clan_tf.layers import SquareProposal
from clan_tf.models import RACNN, TASN
from clan_tf.models.ra_cnn import peak_squares
from clan_tf.models.transfer import copy_fitting

SIZE = 64


def make(**settings: Any) -> RACNN:
    keras.utils.set_random_seed(0)
    model = RACNN("tiny", 3, SIZE, **{"crop_size": 32, "proposal_units": 20, **settings})
    rng = np.random.default_rng(0)
    for branch in model.branches:
        head = model.get_layer(f"logits_{branch}")
        head.kernel.assign(rng.normal(0, 0.3, head.kernel.shape))
    return model


@pytest.fixture
def photos(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (4, SIZE, SIZE, 3)).astype("float32")


def test_the_ranking_loss_is_that_of_loops(photos: np.ndarray) -> None:
    model = make(ranking_margin=0.1)
    outputs = {name: np.asarray(x, "float64") for name, x in model.training_model()(photos, training=False).items()}
    labels = [0, 2, 1, 2]
    values = np.asarray(model.own_losses(outputs, np.eye(3, dtype="float32")[labels])["ranking"])
    for photo, label in enumerate(labels):
        true = []
        for scale in (1, 2, 3):
            powers = np.exp(outputs[f"scale_{scale}"][photo])
            true.append(powers[label] / powers.sum())
        expected = max(0, true[0] - true[1] + 0.1) + max(0, true[1] - true[2] + 0.1)
        assert values[photo] == pytest.approx(expected, abs=1e-5)


def test_a_scale_that_is_surer_by_the_margin_has_no_loss() -> None:
    model = make(crops=1)
    shares = np.eye(3, dtype="float32")[[0, 0]]
    outputs = {"scale_1": np.array([[0, 0, 0.0]] * 2), "scale_2": np.array([[1.0, 0, 0], [0.1, 0, 0]])}
    values = np.asarray(model.own_losses({name: x.astype("float32") for name, x in outputs.items()}, shares)["ranking"])
    assert values[0] == 0 and values[1] == pytest.approx(0.05 + 1 / 3 - np.exp(0.1) / (np.exp(0.1) + 2), abs=1e-6)


def test_who_learns_from_what(photos: np.ndarray) -> None:
    model = make()
    network, shares = model.training_model(), np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    layers = {f"net_{number}": each.trainable_variables[0] for number, each in enumerate(model.backbones, 1)}
    layers |= {name: model.get_layer(name).inner.kernel for name in ("square_2", "square_3")}
    reached = {}
    for name in ("scale_1", "scale_2", "fused", "ranking"):
        with tf.GradientTape() as tape:
            outputs = network(photos, training=True)
            own = model.own_losses(outputs, tf.constant(shares))
            loss = tf.reduce_sum(own[name] if name in own else outputs[name] ** 2)
        gradients = tape.gradient(loss, {key: variable.value for key, variable in layers.items()})
        reached[name] = {key for key, gradient in gradients.items() if gradient is not None}
    # A network doesn't learn from the squares that are made of its map, and the coarser scale is but the measure.
    assert reached == {
        "scale_1": {"net_1"},
        "scale_2": {"net_2", "square_2"},
        "fused": set(layers),
        "ranking": {"net_2", "net_3", "square_2", "square_3"},
    }


def test_the_prediction_is_that_of_all_scales(photos: np.ndarray) -> None:
    model = make()
    outputs = model(photos)
    np.testing.assert_array_equal(outputs["combined"], outputs["fused"])
    features = model.with_outputs(["backbone_top", "backbone_scale_2", "backbone_scale_3"])(photos)
    pooled = [np.asarray(x, "float64").mean(axis=(1, 2)) for x in features.values()]
    joined = np.concatenate([20 * x / np.linalg.norm(x, axis=1, keepdims=True) for x in pooled], axis=1)
    kernel, bias = model.get_layer("logits_fused").get_weights()
    powers = np.exp(joined @ kernel + bias)
    np.testing.assert_allclose(outputs["fused"], powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    pruned = inference_model(model, ("scale_1",))
    assert not {"square_2", "crop_2"} & {layer.name for layer in pruned.layers}


def test_squares_start_as_a_ridge_regression_of_the_peaks(rng: np.random.Generator) -> None:
    """Against scikit-learn's, on what each position of the map has above the mean."""
    model = make(crops=1)
    photos = rng.integers(0, 256, (48, SIZE, SIZE, 3)).astype("float32") * rng.uniform(0, 1, (48, 1, 1, 1))
    model.prepare([(photos[:24], None, np.ones(24)), (photos[24:], None, np.ones(24))])
    features = model.with_outputs(["grid_1", "square_2"])(photos)
    maps = np.asarray(features["grid_1"], "float64")
    means = maps.mean(axis=3).reshape(48, 16) / np.sqrt((maps**2).mean(axis=(1, 2, 3)))[:, None]
    above = means - means.mean(axis=1, keepdims=True)
    units = np.concatenate([np.tanh(4 * above), np.ones((48, 1))], axis=1)
    share = ((peak_squares(maps)[:, :2] - 0.25) * 2).clip(0.05, 0.95)
    fitted = Ridge(1.0, fit_intercept=False).fit(units, np.log(share / (1 - share))).predict(units)
    found = np.asarray(features["square_2"])
    np.testing.assert_allclose(found[:, 2], 0.25, rtol=1e-5)
    np.testing.assert_allclose(found[:, :2], 0.25 + 0.5 / (1 + np.exp(-fitted)), atol=2e-3)
    assert found[:, :2].std(axis=0).max() > 0.02  # of each photo
    kernel = model.get_layer("square_2").get_weights()[2]
    assert np.abs(kernel[:16, :2]).max() > 0 and not kernel[16:].any() and not kernel[:, 2].any()


def test_padding_has_no_part_in_the_start(photos: np.ndarray) -> None:
    kernels = []
    for batch in ((photos[:3], None, np.ones(3)), (photos, None, np.array([1, 1, 1, 0]))):
        model = make()
        model.prepare([batch])
        kernels.append(model.get_layer("square_3").get_weights())
    for one, other in zip(*kernels, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_photos_whose_features_are_not_finite_are_named(photos: np.ndarray) -> None:
    photos[0] = np.nan
    with pytest.raises(CheckFailed, match="model.ra_cnn.square_init=middle"):
        make().prepare([(photos, None, np.ones(4))])


def test_the_square_of_a_peak() -> None:
    maps = np.zeros((2, 4, 4, 2), "float32")
    maps[0, 1, 2], maps[1, 0, 3] = 1, 1
    np.testing.assert_allclose(peak_squares(maps), [[0.375, 0.625, 0.25], [0.25, 0.75, 0.25]])


def test_every_scale_is_explained_on_the_photo(photos: np.ndarray) -> None:
    model = make(crops=1)
    window = Window(0, 0, SIZE, SIZE)
    (explanation, *_) = Explainer(model, model.branches)(photos.astype("uint8"), [window] * len(photos))
    fused = {("fused", "top"), ("fused", "scale_2")}
    assert set(explanation.gradcam) == {("scale_1", "top"), ("scale_2", "scale_2"), *fused}
    assert set(explanation.attention) == {"scale_2"} and np.isfinite(explanation.summary()).all()
    (usual, *_) = Explainer(model)(photos.astype("uint8"), [window] * len(photos))
    assert set(usual.gradcam) == fused
    shares = [cam / max(cam.max(), 1e-12) for cam in usual.gradcam.values()]
    square = shares[[stage for _, stage in usual.gradcam].index("scale_2")]
    alone = replace(usual, gradcam={("fused", "top"): usual.gradcam["fused", "top"]}).summary()
    np.testing.assert_allclose(usual.summary(), (alone + square) / 2, atol=1e-5)  # both maps count


def test_maps_of_a_square_are_0_outside_it() -> None:
    rows, columns = 10 + (np.arange(8) + 0.5) * 2 - 0.5, 20 + (np.arange(8) + 0.5) * 2 - 0.5
    positions = tf.constant(np.array([[rows, columns]], "float32"))
    found = unwarped(tf.constant(np.ones((1, 4, 4), "float32")), positions, size=40, grid=40).numpy()[0]
    expected = np.zeros((40, 40))
    expected[10:26, 20:36] = 1
    different = np.argwhere(found != expected)
    # The border may be a sample wide.
    assert all(
        min(abs(row - 9.5), abs(row - 25.5), abs(column - 19.5), abs(column - 35.5)) <= 2 for row, column in different
    )
    assert found[12:24, 22:34].min() == 1


def test_weights_are_copied_to_a_model_of_other_classes(photos: np.ndarray) -> None:
    model = make()
    other = RACNN("tiny", 2, SIZE, crop_size=32, proposal_units=20, class_names=["0", "new"])
    transfer = copy_fitting(model, other)
    assert set(transfer.layers) == {"square_2", "square_3"} and set(transfer.heads) == set(model.branches)
    assert transfer.backbone[0] == transfer.backbone[1] and not other.needs_photos_to_start
    assert make().needs_photos_to_start and not make(square_init="middle").needs_photos_to_start


def test_squares_are_copied_where_they_fit_and_the_others_fitted(photos: np.ndarray) -> None:
    model = make(crops=1)
    model.get_layer("square_2").outer.bias.assign([0.3, 0.2, 0.1])
    other = make(crops=2, feature_scale=5.0)
    transfer = copy_fitting(model, other)
    assert transfer.layers == ("square_2",) and set(transfer.heads) == {"scale_1", "scale_2"}
    assert other.needs_photos_to_start
    before = [other.get_layer(name).get_weights() for name in ("square_2", "square_3")]
    other.prepare([(photos, None, np.ones(4))])
    after = [other.get_layer(name).get_weights() for name in ("square_2", "square_3")]
    assert all((a == b).all() for a, b in zip(before[0], after[0], strict=True))
    assert any((a != b).any() for a, b in zip(before[1], after[1], strict=True))


def test_networks_of_another_method_are_not_taken_for_counterparts() -> None:
    source, model = TASN("tiny", 3, SIZE), make(crops=1)
    source.backbone_model.get_layer("stage4_conv2").kernel.assign_add(
        np.ones(source.backbone_model.get_layer("stage4_conv2").kernel.shape)
    )
    transfer = copy_fitting(source, model)
    assert transfer.backbone[0] == transfer.backbone[1]
    for each in model.backbones:
        np.testing.assert_array_equal(
            each.get_layer("stage4_conv2").kernel, source.backbone_model.get_layer("stage4_conv2").kernel
        )


def test_the_numbers_of_weights_that_a_file_must_hold() -> None:
    settings = {"image_size": 448, "crops": 3, "crop_size": 64, "proposal_units": 10}
    assert RACNN.fewest_weights(settings) == {"proposal_grid": 128 * 10 * (49 + 4 + 4)}


def test_sizes_are_published_and_follow_from_the_photos() -> None:
    layer = SquareProposal(1024)
    layer.build((None, 14, 14, 512))
    assert sum(each.count_params() for each in layer.sublayers) == 102_764_547
    sizes = {side: RACNN("tiny", 3, side, crops=1, proposal_units=49).crop_size for side in (48, 128, 224, 448)}
    assert sizes == {48: 48, 128: 96, 224: 96, 448: 224}


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UserError, match="model.ra_cnn.crop_size: 80 is larger than data.image_size, 64"):
        make(crop_size=80)
    with pytest.raises(UserError, match="model.ra_cnn.proposal_units: 8 is less than the 16 positions"):
        make(proposal_units=8)
    with pytest.raises(UserError, match="model.ra_cnn.crop_size: 32 is too small for RA-CNN on vgg16"):
        RACNN("vgg16", 3, 64, crops=2, crop_size=32)
    with pytest.raises(ValueError, match="`ranking_margin` must be at least 0 and below 1"):
        make(ranking_margin=1.0)
    with pytest.raises(ValueError, match="`square_init` must be one of peaks, middle"):
        make(square_init="corner")
    with pytest.raises(ValueError, match="`attention_every` must be a whole number from 2"):
        make(attention_every=1)
