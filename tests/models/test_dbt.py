"""DBT: the published size, its start as the plain backbone, and the loss over groups."""

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.errors import UserError
from clan_tf.models import DBT, complexity
from clan_tf.models.group_loss import group_loss


def loss_of_loops(maps: np.ndarray, groups: int) -> float:
    """Compares every channel with every other, photo by photo."""
    photos, channels = len(maps), maps.shape[-1]
    cosines = np.zeros((channels, channels))
    for values in maps.reshape(photos, -1, channels) + 1e-3:
        for i in range(channels):
            for j in range(channels):
                lengths = np.linalg.norm(values[:, i]) * np.linalg.norm(values[:, j])
                cosines[i, j] += values[:, i] @ values[:, j] / lengths / photos
    total = 0.0
    for i in range(channels):
        for j in range(channels):
            together = i // (channels // groups) == j // (channels // groups)
            total += (cosines[i, j] - together) ** 2
    return 1e-3 * total / (channels / 512) ** 2


def test_sizes_are_the_published_ones() -> None:
    model = DBT("resnet50", 200, 448)
    assert model.features["transformed_top"].shape == (None, 14, 14, 2048)
    assert model.get_layer("grouping").count_params() == 4_194_304
    # At each of 14 x 14 positions 32 outer products of 64 channels.
    assert complexity(model).relations["products"].macs == 196 * 32 * 64 * 64


def test_it_starts_as_the_plain_backbone(rng: np.random.Generator) -> None:
    photos = rng.integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    features = DBT("tiny", 3, 32, groups=4).with_outputs(["backbone_top", "transformed_top", "products"])(photos)
    assert np.abs(features["products"]).max() > 0
    np.testing.assert_array_equal(features["transformed_top"], features["backbone_top"])


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_the_loss_is_that_of_loops(groups: int, rng: np.random.Generator) -> None:
    maps = np.maximum(rng.normal(size=(3, 2, 4, 8)), 0)
    assert float(group_loss(maps.astype("float32"), groups)) == pytest.approx(loss_of_loops(maps, groups), rel=1e-4)


def test_channels_that_are_alike_in_groups_and_orthogonal_between_them_have_no_loss() -> None:
    maps = np.zeros((1, 1, 2, 4), "float32")
    maps[0, 0, 0, :2], maps[0, 0, 1, 2:] = 1e4, 1e4
    assert float(group_loss(maps, 2)) == pytest.approx(0, abs=1e-6)
    # Exchanged, four ordered pairs within groups are orthogonal, and four between groups alike.
    exchanged = maps[..., [0, 2, 1, 3]]
    assert float(group_loss(exchanged, 2)) == pytest.approx(1e-3 * 8 * 128**2, rel=1e-4)


def test_the_gradient_equals_finite_differences(rng: np.random.Generator) -> None:
    maps = rng.uniform(0.1, 1, (2, 2, 3, 4))
    with tf.GradientTape() as tape:
        given = tf.constant(maps, tf.float32)
        tape.watch(given)
        loss = group_loss(given, 2)
    gradient = tape.gradient(loss, given).numpy()
    for _ in range(3):
        direction = rng.normal(size=maps.shape)
        ends = [loss_of_loops(maps + step * direction, 2) for step in (1e-5, -1e-5)]
        assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


def test_every_photo_has_the_batchs_loss(rng: np.random.Generator) -> None:
    model = DBT("tiny", 3, 32, groups=4)
    photos = rng.integers(0, 256, (4, 32, 32, 3)).astype("float32")
    outputs = model.training_model()(photos, training=False)
    losses = np.asarray(model.own_losses(outputs, np.eye(3, dtype="float32")[[0, 1, 2, 0]])["groups"])
    expected = loss_of_loops(np.asarray(outputs["grouped"], "float64"), 4)
    np.testing.assert_allclose(losses, np.full(4, expected), rtol=1e-4)
    assert not DBT("tiny", 3, 32, groups=4, group_loss_weight=0).own_loss_weights


def test_groups_that_do_not_divide_the_channels_are_refused_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"model\.dbt\.groups: 5 doesn't divide the 128 channels .* 1, 2, 4, 8, 16, 32"):
        DBT("tiny", 3, 32, groups=5)
