"""Augmentation of photos and batches."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from clan_tf.config import AugmentationConfig
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline.augmentation import PositionSeeds, batch_augmentation, photo_augmentation
from clan_tf.data.pipeline.policy import brightened, policy_operations, posterized, solarized
from helpers.pipeline import experiment, images

NOISE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype="uint8")
ROWS, COLUMNS = np.mgrid[:48, :48]
GRADIENTS = np.stack([5 * ROWS, 5 * COLUMNS, 200 - 2 * (ROWS + COLUMNS)], axis=-1).astype("uint8")
BOTH_WAYS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
BOTH_WAYS_IN_COLOUR = ("brightness", "color", "contrast", "sharpness")
WITH_STRENGTH = (*BOTH_WAYS, *BOTH_WAYS_IN_COLOUR, "posterize", "solarize")
POLICIES = ("trivial_augment", "rand_augment")


def drawn(policy: str, name: str, magnitude: float, photo: np.ndarray, draws: int = 40) -> np.ndarray:
    """What one operation of a policy makes of a photo: `(draws, height, width, 3)`."""
    seeds = PositionSeeds()
    operations = policy_operations(AugmentationConfig(policy=policy, magnitude=magnitude), len(photo), seeds)

    @tf.function
    def changed(seed: tf.Tensor) -> tf.Tensor:
        seeds.start(seed)
        return operations[name](tf.constant(photo[None], tf.float32))[0]

    return np.stack([changed(tf.constant([draw, 1])) for draw in range(draws)])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_has_the_operations_of_its_paper(policy: str) -> None:
    operations = policy_operations(AugmentationConfig(policy=policy), 24, PositionSeeds())
    assert set(operations) == {"identity", "autocontrast", "equalize", *WITH_STRENGTH}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", WITH_STRENGTH)
def test_at_magnitude_0_photos_stay_as_they_are_and_change_more_the_larger_it_is(policy: str, name: str) -> None:
    np.testing.assert_allclose(drawn(policy, name, 0.0, NOISE, draws=4), np.stack([NOISE] * 4), atol=1e-3)
    changes = [
        np.abs(drawn(policy, name, magnitude, GRADIENTS) - GRADIENTS).mean() for magnitude in (0.0, 0.25, 0.5, 1.0)
    ]
    assert changes == sorted(changes) and changes[0] < 1e-3 and changes[-1] > 2 * changes[1]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", BOTH_WAYS)
def test_photos_move_both_ways_and_no_further_than_the_paper_says(policy: str, name: str) -> None:
    """A spot 8 pixels above and 8 left of the centre of 65, at half the magnitude."""
    photo = np.zeros((65, 65, 3), "uint8")
    photo[22:27, 22:27] = 200
    weights, wide = drawn(policy, name, 0.5, photo)[..., 0], policy == "trivial_augment"
    right, down = ((weights.sum(axis=axis) * np.arange(65)).sum(axis=1) / weights.sum(axis=(1, 2)) for axis in (1, 2))
    if name == "rotate":
        place = (right - 32 + 1j * (down - 32)) / (-8 - 8j)
        np.testing.assert_allclose(abs(place), 1, atol=0.02)
        moved, most = np.degrees(np.angle(place)), 135 if wide else 30
    else:
        along, across = (right, down) if name.endswith("_x") else (down, right)
        np.testing.assert_allclose(across, 24, atol=0.01)
        moved = along - 24
        # As by Pillow, photos are sheared about their corner.
        most = 24 * (0.99 if wide else 0.3) if "shear" in name else 65 * (1 / 7 if wide else 150 / 331)
    assert -most / 2 - 1 <= moved.min() < -most / 3 and most / 3 < moved.max() <= most / 2 + 1


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", BOTH_WAYS_IN_COLOUR)
def test_colours_change_both_ways_and_no_further_than_the_paper_says(policy: str, name: str) -> None:
    """A photo of two colours around middle grey, whose values nothing clips, and the factor to be seen in it."""
    photo = np.full((48, 48, 3), (100, 110, 130), "uint8")
    photo[12:36, 12:36] = (140, 110, 90)

    def seen(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.astype("float32")[..., 1:-1, 1:-1, :]
        if name == "brightness":
            return pixels.mean(axis=(-3, -2, -1))
        if name == "color":
            return pixels[..., 0, 0, 2] - pixels[..., 0, 0, 0]
        if name == "contrast":
            return pixels[..., 20, 20, 0] - pixels[..., 0, 0, 0]
        return pixels[..., 20, 11, 0] - pixels[..., 20, 10, 0]

    factors, most = seen(drawn(policy, name, 0.5, photo)) / seen(photo), 0.99 if policy == "trivial_augment" else 0.9
    if name == "sharpness":
        # The smoothed photo keeps 7 / 13 of the step at a straight edge.
        factors = 1 + (factors - 1) / (1 - 7 / 13)
    assert 1 - most / 2 - 0.01 <= factors.min() < 0.75 and 1.25 < factors.max() <= 1 + most / 2 + 0.01


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterizing_keeps_the_bits_that_pillow_keeps(bits: int) -> None:
    np.testing.assert_array_equal(
        posterized(tf.constant(NOISE, tf.float32), tf.constant(float(bits))),
        ImageOps.posterize(Image.fromarray(NOISE), bits),
    )


@pytest.mark.parametrize("threshold", [0, 1, 100, 255, 256])
def test_solarizing_inverts_what_pillow_inverts(threshold: int) -> None:
    np.testing.assert_array_equal(
        solarized(tf.constant(NOISE, tf.float32), tf.constant(float(threshold))),
        ImageOps.solarize(Image.fromarray(NOISE), threshold),
    )


@pytest.mark.parametrize("factor", [0.01, 0.5, 1.0, 1.5, 1.99])
def test_brightness_is_multiplied_as_by_pillow(factor: float) -> None:
    np.testing.assert_allclose(
        brightened(tf.constant(NOISE, tf.float32), tf.constant(factor)),
        np.asarray(ImageEnhance.Brightness(Image.fromarray(NOISE)).enhance(factor), "float32"),
        atol=1,
    )


@pytest.mark.parametrize(
    "config",
    [
        {"policy": "trivial_augment"},
        {"policy": "rand_augment", "operations": 3, "magnitude": 0.9},
        {"color_jitter": 0.8},
        {"random_erasing": 1.0},
    ],
)
def test_photo_augmentation_changes_photos_by_the_seed_within_their_range(config: dict[str, Any]) -> None:
    photo = tf.constant(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype="uint8"))
    augment = tf.function(photo_augmentation(AugmentationConfig(**config), 24))
    first, again, others = (
        [augment(photo, tf.constant([seed, 1], tf.int64)).numpy() for seed in seeds]
        for seeds in ((0,), (0,), range(1, 12))
    )
    np.testing.assert_array_equal(first, again)
    assert any(not np.array_equal(first[0], other) for other in others)
    for other in others:
        assert other.dtype == np.float32 and other.min() >= 0 and other.max() <= 255


def test_color_jitter_changes_contrast_both_ways() -> None:
    """The difference of two greys, which the other changes leave as it is while nothing is clipped."""
    photo = tf.constant(np.repeat([110, 140], 12)[:, None, None] * np.ones((24, 24, 3)), tf.uint8)
    augment = tf.function(photo_augmentation(AugmentationConfig(color_jitter=0.3), 24))
    changed = np.stack([augment(photo, tf.constant([seed, 1], tf.int64)) for seed in range(40)])
    factors = (changed[:, -1, 0, 0] - changed[:, 0, 0, 0]) / 30
    assert 0.7 - 1e-3 <= factors.min() < 0.8 and 1.2 < factors.max() <= 1.3 + 1e-3


def test_no_augmentation_leaves_photos_uint8_and_labels_whole(checked: CheckedPhotos) -> None:
    assert photo_augmentation(AugmentationConfig(), 24) is None and batch_augmentation(AugmentationConfig()) is None
    assert images(checked, experiment())[0].dtype == np.uint8


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_labels_are_the_shares_of_the_pixels(kind: str) -> None:
    """Photos of one colour each, from which the shares can be read."""
    mix = tf.function(batch_augmentation(AugmentationConfig(**{kind: 1.0, "mixup_alpha": 1.0})))
    photos = tf.constant(np.eye(3, dtype="float32")[:, None, None] * np.full((3, 64, 64, 3), 200.0, "float32"))
    mixed_anything = False
    for seed in range(4):
        mixed, labels = mix(photos, tf.eye(3), tf.constant([seed, 0], tf.int64))
        shares = mixed.numpy().mean(axis=(1, 2)) / 200
        np.testing.assert_allclose(labels, shares, atol=0.05 if kind == "cutmix" else 1e-3)
        np.testing.assert_allclose(labels.numpy().sum(axis=1), 1, atol=1e-5)
        mixed_anything |= bool((labels.numpy().max(axis=1) < 0.99).any())
    assert mixed_anything


def test_mixup_takes_its_share_of_the_batches() -> None:
    mix = tf.function(batch_augmentation(AugmentationConfig(mixup=0.25, mixup_alpha=5.0)))
    photos = tf.random.stateless_uniform((4, 8, 8, 3), [0, 0])
    changed = [
        bool((mix(photos, tf.eye(4), tf.constant([0, seed], tf.int64))[1].numpy() != np.eye(4)).any())
        for seed in range(80)
    ]
    assert 0.1 < np.mean(changed) < 0.4
