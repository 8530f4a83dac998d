"""MA-CNN: its losses against loops, channels grouped by their peaks, and the joint prediction."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from clan_tf.errors import CheckFailed, UserError
from clan_tf.models import MACNN, ma_cnn
from clan_tf.models.clusters import k_means
from clan_tf.models.ma_cnn import peak_places
from clan_tf.models.part_losses import compactness_losses, diversity_losses
from clan_tf.models.transfer import copy_fitting

SIZE = 32


def make(**settings: Any) -> MACNN:
    keras.utils.set_random_seed(0)
    model = MACNN("tiny", 3, SIZE, **{"base": "stage3_relu2", **settings})
    rng = np.random.default_rng(0)
    for branch in model.branches:
        head = model.get_layer(f"logits_{branch}")
        head.kernel.assign(rng.normal(0, 0.3, head.kernel.shape))
    return model


def random_maps(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    maps = rng.uniform(0, 1, shape) ** 4
    return (maps / maps.sum(axis=(1, 2), keepdims=True)).astype("float32")


def test_the_losses_are_those_of_loops(rng: np.random.Generator) -> None:
    maps = random_maps(rng, (3, 4, 5, 3))
    compact, diverse = np.asarray(compactness_losses(maps)), np.asarray(diversity_losses(maps))
    for photo in range(3):
        spread = shared = 0.0
        for part in range(3):
            own = maps[photo, :, :, part].astype("float64")
            peak = np.unravel_index(own.argmax(), own.shape)
            for row in range(4):
                for column in range(5):
                    distance = ((row - peak[0]) / 4) ** 2 + ((column - peak[1]) / 5) ** 2
                    spread += own[row, column] * distance
                    others = max(maps[photo, row, column, other] for other in range(3) if other != part)
                    shared += 20 * own[row, column] * others
        assert compact[photo] == pytest.approx(spread, rel=1e-4)
        assert diverse[photo] == pytest.approx(shared, rel=1e-4)


def test_maps_of_one_position_are_compact_and_apart() -> None:
    maps = np.zeros((1, 3, 3, 2), "float32")
    maps[0, 0, 0, 0] = maps[0, 2, 1, 1] = 1
    assert float(compactness_losses(maps)[0]) == 0 and float(diversity_losses(maps)[0]) == 0
    even = np.full((1, 3, 3, 4), 1 / 9, "float32")
    assert float(diversity_losses(even)[0]) == pytest.approx(4)


def test_the_gradient_of_the_losses_is_that_of_finite_differences(rng: np.random.Generator) -> None:
    maps = random_maps(rng, (1, 3, 4, 2)).astype("float64")
    for losses in (compactness_losses, diversity_losses):
        x = tf.constant(maps, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = losses(x)
        gradient = tape.gradient(value, x).numpy()
        for index in np.ndindex(maps.shape):
            step = np.zeros_like(maps)
            step[index] = 1e-3
            up, down = (float(losses((maps + sign * step).astype("float32"))[0]) for sign in (1, -1))
            assert gradient[index] == pytest.approx((up - down) / 2e-3, abs=5e-3 * max(1, abs(float(gradient[index]))))


def test_the_grouping_makes_maps_more_compact_and_unlike(rng: np.random.Generator) -> None:
    """The two losses, followed by their gradients, do what they are for."""
    model = make(parts=2)
    photos = tf.constant(rng.uniform(0, 255, (8, SIZE, SIZE, 3)), tf.float32)
    network, layer = model.training_model(), model.get_layer("part_attention")
    optimizer = keras.optimizers.Adam(0.02)
    totals = []
    for _ in range(25):
        with tf.GradientTape() as tape:
            losses = model.own_losses(network(photos, training=False), None)
            total = tf.reduce_mean(losses["compactness"] + losses["diversity"])
        optimizer.apply(tape.gradient(total, [v.value for v in layer.trainable_variables]), layer.trainable_variables)
        totals.append(float(total))
    assert totals[-1] < 0.9 * totals[0]


def test_channels_that_peak_together_are_one_group(rng: np.random.Generator) -> None:
    places = rng.uniform(0, 1, (3, 40, 2))
    vectors = np.repeat(places, 5, axis=0).reshape(15, 80) + rng.normal(0, 0.01, (15, 80))
    found = k_means(vectors.astype("float32"), 3).labels_
    assert [len(set(found[5 * group : 5 * group + 5])) for group in range(3)] == [1, 1, 1] and len(set(found)) == 3


def test_where_channels_peak() -> None:
    maps = np.zeros((4, 5, 3), "float32")
    maps[1, 3, 0] = maps[3, 0, 1] = 2
    np.testing.assert_allclose(peak_places(maps), [[0.375, 0.7], [0.875, 0.1], [0.5, 0.5]])


def test_the_grouping_starts_from_the_photos(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = rng.uniform(0, 255, (6, SIZE, SIZE, 3)).astype("float32")
    model = make(parts=3)
    assert model.needs_photos_to_start and not make(group_init="random").needs_photos_to_start
    model.prepare([(photos[:4], None, np.ones(4)), (photos[4:], None, np.array([1, 0]))])
    maps = np.asarray(model.with_outputs(["backbone_top"])(photos[:5])["backbone_top"])
    cluster = k_means(np.concatenate([peak_places(each) for each in maps], axis=1), 3).labels_
    biases = np.array([layer.get_weights()[1] for layer in model.get_layer("part_attention").outer])
    np.testing.assert_array_equal(biases, np.where(cluster == np.arange(3)[:, None], 2, -2))
    # Of many photos an even choice is kept.
    kept: list[int] = []
    monkeypatch.setattr(ma_cnn, "MOST_PHOTOS", 2)
    monkeypatch.setattr(
        ma_cnn, "k_means", lambda vectors, count: kept.append(vectors.shape[1] // 2) or k_means(vectors, count)
    )
    model.prepare([(photos, None, np.ones(6))])
    assert kept == [2]
    with pytest.raises(CheckFailed, match="model.ma_cnn.group_init=random"):
        model.prepare([(photos * np.nan, None, np.ones(6))])


def test_the_prediction_is_that_of_all_parts_and_the_whole(rng: np.random.Generator) -> None:
    model = make(parts=2)
    photos = rng.uniform(0, 255, (3, SIZE, SIZE, 3)).astype("float32")
    outputs = model(photos)
    np.testing.assert_array_equal(outputs["combined"], outputs["joint"])
    features = model.with_outputs(["backbone_top", "part_maps", "attention_part_2"])(photos)
    maps, top = (np.asarray(features[name], "float64") for name in ("part_maps", "backbone_top"))
    vectors = [np.einsum("bhw,bhwc->bc", maps[..., part], top) for part in range(2)] + [top.mean(axis=(1, 2))]
    kernel, bias = model.get_layer("logits_joint").get_weights()
    powers = np.exp(np.concatenate(vectors, axis=1) / np.sqrt(3) @ kernel + bias)
    np.testing.assert_allclose(outputs["joint"], powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(
        features["attention_part_2"][..., 0], maps[..., 1] / maps[..., 1].max((1, 2), keepdims=True), atol=1e-5
    )
    assert model.loss_weights == {"part_1": 0.5, "part_2": 0.5, "joint": 1.0}


def test_heads_are_copied_between_models_of_the_same_parts() -> None:
    model = make()
    other = make(class_names=["0", "1", "new"])
    transfer = copy_fitting(model, other)
    assert set(transfer.heads) == set(model.branches) and transfer.layers == ("part_attention",)
    assert not other.needs_photos_to_start
    assert copy_fitting(model, make(parts=3)).heads == ()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="`parts` must be a whole number from 2 up to 8. Received: parts=1"):
        make(parts=1)
    with pytest.raises(ValueError, match="Received: parts='4'"):
        make(parts="4")
    with pytest.raises(UserError, match="data.image_size: 32 is too small for MA-CNN"):
        MACNN("vgg16", 3, 32, base="block5_pool")
    with pytest.raises(ValueError, match="`group_init` must be one of kmeans, random"):
        make(group_init="peaks")
