"""Batches: which photos they hold, and what is seen of them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from clan_tf.config import Experiment, load_experiment
from clan_tf.data import Photo
from clan_tf.data.checked_photos import CheckedPhotos, check_photos
from clan_tf.data.pipeline import (
    PhotoReader,
    View,
    evaluation_batches,
    evaluation_view,
    training_batches,
    training_view,
)
from clan_tf.data.sources.generated import draw_photo
from clan_tf.errors import UserError
from helpers import TINY_DEMO


@pytest.fixture(scope="module")
def numbered() -> list[Photo]:
    """Eleven photos whose brightness is their label."""
    return [Photo(f"{i}", i, tf.io.encode_png(np.full((24, 24, 3), 20 * i, "uint8")).numpy()) for i in range(11)]


def batches_of(checked: CheckedPhotos, experiment: Experiment, **kwargs: Any) -> tf.data.Dataset:
    reader = PhotoReader(checked, training_view(experiment.data))
    return training_batches(reader, checked.labels, 11, experiment, **kwargs)


def test_every_epoch_shows_each_photo_at_most_once_in_another_order(numbered: list[Photo]) -> None:
    experiment = load_experiment(TINY_DEMO, ["training.batch_size=4", "training.epochs=3", "data.image_size=16"])
    batches = list(batches_of(check_photos(numbered), experiment))
    assert len(batches) == 6
    epochs = [np.concatenate([labels for _, labels in batches[start : start + 2]]) for start in (0, 2, 4)]
    for labels in epochs:
        assert len(set(labels)) == 8
    assert not np.array_equal(epochs[0], epochs[1])
    for photos, labels in batches:
        np.testing.assert_allclose(photos.numpy().mean(axis=(1, 2, 3)), 20 * labels.numpy(), atol=0.01)


def test_the_pipeline_depends_on_seed_and_position_alone() -> None:
    experiment = load_experiment(TINY_DEMO, ["training.batch_size=4", "training.epochs=2", "data.image_size=80"])
    photos = [
        Photo(f"{i}", i % 8, tf.io.encode_png(draw_photo(i % 8, np.random.default_rng(i), 40)).numpy())
        for i in range(9)
    ]
    checked = check_photos(photos)
    whole = [photos.numpy() for photos, _ in batches_of(checked, experiment)]
    late = [photos.numpy() for photos, _ in batches_of(checked, experiment, start_step=3)]
    np.testing.assert_array_equal(whole[3], late[0])
    other = load_experiment(TINY_DEMO, ["training.batch_size=4", "training.seed=1", "data.image_size=80"])
    assert not np.array_equal(whole[0], next(iter(batches_of(checked, other)))[0].numpy())


def test_evaluation_batches_hold_every_photo_once_and_fill_up_with_weight_zero(numbered: list[Photo]) -> None:
    checked = check_photos(numbered)
    batches = list(evaluation_batches(PhotoReader(checked, View(16, 20)), checked.labels, batch_size=4))
    labels, weights = (np.concatenate([batch[i].numpy() for batch in batches]) for i in (1, 2))
    assert [len(batch[0]) for batch in batches] == [4, 4, 4]
    np.testing.assert_array_equal(labels[weights == 1], range(11))


def test_the_evaluation_view_is_the_resized_photos_centre() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype="uint8")
    view = evaluation_view(tf.constant(image), View(16, 20)).numpy().astype(float)
    with Image.fromarray(image) as photo:
        expected = np.asarray(photo.resize((20, 20), Image.Resampling.BILINEAR), dtype="float32")[2:18, 2:18]
    # Pillow's antialiased bilinear filter rounds to whole numbers twice.
    assert np.abs(view - expected).max() < 1.5


@pytest.mark.parametrize("size", [(20, 300), (300, 20), (64, 48)])
def test_the_evaluation_view_is_the_window_that_evaluation_reads(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype="uint8")
    checked = check_photos([Photo("wide", 0, tf.io.encode_png(pixels).numpy())])
    view = View(48, 64, "keep_aspect")
    (batch,) = evaluation_batches(PhotoReader(checked, view), checked.labels, batch_size=1)
    np.testing.assert_array_equal(evaluation_view(tf.constant(pixels), view), batch[0][0])


def peak_memory() -> int:
    """Bytes of the process' memory at its largest since the peak was last reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to measure memory")
def test_the_evaluation_view_of_a_panorama_takes_memory_for_its_window_only() -> None:
    """The whole of it, resized, would be 512 x 76,800 pixels: 0.5 GB in float32, and more on the way."""
    panorama = tf.zeros((20, 3000, 3), tf.uint8)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak_memory()
    assert evaluation_view(panorama, View(448, 512, "keep_aspect")).shape == (448, 448, 3)
    assert peak_memory() - before < 100e6


def test_a_batch_larger_than_the_data_is_refused(numbered: list[Photo]) -> None:
    with pytest.raises(UserError, match="batch_size: 32 is more than the 11"):
        batches_of(check_photos(numbered), load_experiment(TINY_DEMO))
