"""Augmentation of photos and batches."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import AugmentationConfig
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline.augmentation import batch_augmentation, photo_augmentation
from helpers.pipeline import experiment, images


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
