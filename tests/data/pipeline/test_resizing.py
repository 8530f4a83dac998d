"""Resizing and fused decoding, against TensorFlow's own functions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.config import DataConfig
from clan_tf.data import Photo
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos, check_photos, used_part
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches, evaluation_view, resizing
from clan_tf.data.pipeline.resizing import Axis, resize_photo
from clan_tf.data.sources import Box, Span
from clan_tf.data.sources.content import read_content
from clan_tf.errors import UserError
from clan_tf.progress import Progress
from helpers.pipeline import encoded, reference


@pytest.mark.parametrize("size", [(30, 50), (60, 90), (100, 80), (20, 300)])
def test_resizing_is_tensorflows_antialiased_bilinear_rounded(size: tuple[int, int], rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (*size, 3), dtype="uint8")
    expected = np.floor(tf.image.resize(image, (48, 48), antialias=True).numpy() + 0.5)
    np.testing.assert_array_equal(resize_photo(tf.constant(image), 48), expected)


def test_both_ways_to_resize_give_the_same_pixels(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tf.constant(rng.integers(0, 256, (100, 130, 3), dtype="uint8"))
    rows, columns = Axis(100, 70, 3, 60), Axis(130, 90, 7, 60)
    windows = []
    for limit in (0.0, 1.0):
        monkeypatch.setattr(resizing, "MUCH_SMALLER", limit)
        windows.append(resizing.resample(image[2:], (2, 0), rows, columns, mirrored=True).numpy())
    np.testing.assert_array_equal(*windows)


@pytest.mark.parametrize("mode", ["stretch", "keep_aspect"])
def test_a_window_decoded_in_part_equals_the_same_window_of_the_whole(checked: CheckedPhotos, mode: Any) -> None:
    view = View(24, 32, mode)
    reader = PhotoReader(checked, view)
    window = tf.function(reader.window)
    rng = np.random.default_rng(1)
    for index in range(len(checked.photos)):
        whole = reference(checked, index, view)
        assert tuple(int(length) for length in reader.full_lengths(tf.constant(index))) == whole.shape[:2]
        top, left = (int(rng.integers(0, length - 24 + 1)) for length in whole.shape[:2])
        mirrored = bool(index % 2)
        content = read_content(checked.photos[index])
        part = window(*map(tf.constant, (index, content, top, left, mirrored))).numpy()
        expected = whole[top : top + 24, left : left + 24][:, :: -1 if mirrored else 1]
        # Half a level is the rounding; a hundredth, that of the part's own arithmetic.
        assert np.abs(part - expected).max() < 0.51


@pytest.mark.parametrize("mode", ["stretch", "keep_aspect"])
def test_every_user_of_a_photo_sees_the_same_pixels(checked: CheckedPhotos, mode: Any) -> None:
    """Evaluation by index, prediction from the whole photo."""
    view = View(24, 32, mode)
    batches = evaluation_batches(PhotoReader(checked, view), checked.labels, batch_size=5)
    seen = np.concatenate([images for images, _, _ in batches])
    assert seen.dtype == np.uint8
    for index, image in enumerate(seen):
        predicted = evaluation_view(used_part(checked, index), view).numpy()
        difference = np.abs(image.astype(int) - predicted)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_evaluation_sees_exactly_the_centre_of_the_stretched_photo(checked: CheckedPhotos) -> None:
    """As a file does that takes the whole resized photo and cuts the centre itself."""
    seen, whole = (
        np.concatenate([images for images, _, _ in evaluation_batches(PhotoReader(checked, view), checked.labels, 5)])
        for view in (View(24, 32), View(32, 32))
    )
    np.testing.assert_array_equal(seen, whole[:, 4:28, 4:28])


def test_a_box_cuts_the_stored_photo_before_it_is_turned() -> None:
    pixels = np.zeros((20, 30, 3), "uint8")
    pixels[:15] = 255
    pixels[15:] = (255, 0, 0)  # a banner below
    content = encoded(pixels, "PNG", orientation=6)
    whole = check_photos([Photo("a", 0, content)])
    cut = check_photos([Photo("a", 0, content, box=Box(bottom=-5))])
    assert whole.upright_sizes.tolist() == [[30, 20]] and cut.upright_sizes.tolist() == [[30, 15]]
    assert used_part(cut, 0).numpy().min() == 255 and used_part(whole, 0).numpy().min() == 0


def test_a_box_outside_its_photo_is_a_broken_photo() -> None:
    content = encoded(np.zeros((8, 8, 3), "uint8"), "PNG")
    (problem,) = check_photos([Photo("a", 0, content, box=Box(9, 0, 12, 4))]).broken
    assert "outside the photo of 8 x 8" in problem


def test_broken_photos_are_skipped_where_that_is_asked_for(photos: list[Photo]) -> None:
    bad, config = Photo("bad.jpg", 1, b"no photo"), DataConfig(on_broken="skip")
    checked = check_splits({"train": [photos[0], bad, photos[1]]}, config, Progress())["train"]
    assert [photo.name for photo in checked.photos] == ["0", "1"]
    assert checked.broken == ["bad.jpg: not an image"]
    with pytest.raises(UserError, match="no train photos of 1 classes"):
        check_splits({"train": [photos[0], bad]}, config, Progress())
    with pytest.raises(UserError, match="no test photos at all"):
        check_splits({"test": [bad]}, config, Progress())


def test_photos_inside_record_files_are_read_where_they_stand(photos: list[Photo], tmp_path: Path) -> None:
    path, spans, place = str(tmp_path / "a.tfrecord"), [], 0
    with tf.io.TFRecordWriter(path) as writer:
        for photo in photos:
            data = b"before" + photo.content + b"behind"
            writer.write(data)
            spans.append(Span(path, place, 6, len(photo.content)))
            place += 12 + len(data) + 4  # length and checksum, data, checksum
    inside = [
        Photo(photo.name, photo.label, span=span, box=photo.box) for photo, span in zip(photos, spans, strict=True)
    ]
    view = View(24, 32)
    for one, other in zip(
        evaluation_batches(PhotoReader(check_photos(photos), view), np.arange(10, dtype="int32"), 5),
        evaluation_batches(PhotoReader(check_photos(inside), view), np.arange(10, dtype="int32"), 5),
        strict=True,
    ):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("box", [None, Box(16, 16, 48, 48), Box(bottom=-5)])
def test_jpegs_with_subsampled_colour_are_decoded_in_part_as_in_whole(box: Box | None) -> None:
    rng = np.random.default_rng(0)
    contents = [encoded(rng.integers(0, 256, (60, 70, 3), dtype="uint8"), "JPEG") for _ in range(3)]
    checked = check_photos([Photo(str(index), 0, content, box=box) for index, content in enumerate(contents)])
    view = View(24, 32)
    reader = PhotoReader(checked, view)
    for index in range(3):
        whole = reference(checked, index, view)
        for place in (0, 5, 8):
            part = reader.window(*map(tf.constant, (index, contents[index], place, place))).numpy()
            assert np.abs(part - whole[place : place + 24, place : place + 24]).max() < 0.51
