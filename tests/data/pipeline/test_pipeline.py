"""Resizing, fused decoding, caches, order and augmentation, each against something computed in another way."""

import os
from collections import Counter
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from clan_tf.config import AugmentationConfig, DataConfig, Experiment, load_experiment
from clan_tf.data import Photo
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos, check_photos, used_part
from clan_tf.data.pipeline import (
    PhotoReader,
    View,
    evaluation_batches,
    evaluation_view,
    open_reader,
    resizing,
    training_batches,
    training_view,
)
from clan_tf.data.pipeline.augmentation import batch_augmentation, photo_augmentation
from clan_tf.data.pipeline.cache import CachedReader, available_memory, decide_cache
from clan_tf.data.pipeline.order import photo_order
from clan_tf.data.pipeline.pipeline import Worker
from clan_tf.data.pipeline.resizing import Axis, resize_photo
from clan_tf.data.sources import Box, Span
from clan_tf.data.sources.content import read_content
from clan_tf.errors import UserError
from clan_tf.progress import Progress

SIZES = ((40, 50), (37, 23), (90, 64), (64, 64), (200, 31))


def encoded(pixels: np.ndarray, file_format: str, mode: str = "RGB", orientation: int = 1) -> bytes:
    stream, exif = BytesIO(), Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).convert(mode).save(
        stream, file_format, exif=exif, **{"JPEG": {"quality": 90}}.get(file_format, {})
    )
    return stream.getvalue()


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    """JPEGs with and without colour, CMYK and turned, and PNGs, of several sizes, two with boxes."""
    rng = np.random.default_rng(0)
    made = []
    kinds = [("JPEG", "RGB", 1), ("JPEG", "L", 1), ("JPEG", "CMYK", 1), ("JPEG", "RGB", 6), ("PNG", "RGB", 1)]
    for index, ((height, width), kind) in enumerate(zip(SIZES * 2, kinds + kinds[::-1], strict=True)):
        noise = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype="uint8")
        pixels = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
        box = Box(3, 2, -1, -5) if index in (4, 7) else None
        made.append(Photo(f"{index}", index % 4, encoded(pixels, *kind), box=box))
    return made


@pytest.fixture(scope="module")
def checked(photos: list[Photo]) -> CheckedPhotos:
    return check_photos(photos)


def reference(checked: CheckedPhotos, index: int, view: View) -> np.ndarray:
    """The whole resized photo by TensorFlow's own function, float32."""
    image = used_part(checked, index)
    height, width = image.shape[:2]
    shorter = min(height, width)
    size = (view.full_size, view.full_size)
    if view.mode == "keep_aspect":
        size = tuple(round(side * view.full_size / shorter) for side in (height, width))
    return tf.image.resize(image, size, antialias=True).numpy()


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


@pytest.mark.parametrize("mode", ["memory", "disk"])
@pytest.mark.parametrize("resize_mode", ["stretch", "keep_aspect"])
def test_a_cache_holds_the_same_photos(
    checked: CheckedPhotos, mode: Any, resize_mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "cache"))
    view = View(24, 32, resize_mode)
    cached = open_reader(checked, view, mode, Progress().track)
    assert isinstance(cached, CachedReader)
    window = tf.function(cached.window)
    for index in range(len(checked.photos)):
        whole = reference(checked, index, view)
        for mirrored in (False, True):
            part = window(*map(tf.constant, (index, "", 1, 2, mirrored))).numpy()
            assert np.abs(part - whole[1:25, 2:26][:, :: -1 if mirrored else 1]).max() < 0.51


def test_a_disk_cache_is_used_again_and_made_anew_for_other_photos(
    colour_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path))
    copy = tmp_path / "a.jpg"
    source = sorted(colour_folders.rglob("*.jpg"))[0]

    def files_after(content: bytes, view: View) -> dict[str, int]:
        if not copy.is_file() or copy.read_bytes() != content:
            copy.write_bytes(content)
        open_reader(check_photos([Photo(str(copy), 0)]), view, "disk", Progress().track)
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pixels")}

    first = files_after(source.read_bytes(), View(24, 32))
    assert len(first) == 1 and not list(tmp_path.glob(".partial*"))
    assert files_after(source.read_bytes(), View(16, 32)) == first
    assert len(files_after(source.read_bytes(), View(24, 30))) == 2
    assert len(files_after(source.read_bytes() + b"\0", View(24, 32))) == 3


def entry_of(checked: CheckedPhotos, view: View, folder: Path) -> Path:
    open_reader(checked, view, "disk", Progress().track)
    (entry,) = folder.glob("*.pixels")
    return entry


@pytest.mark.parametrize("damage", ["a bit", "cut", "longer", "empty", "zeros", "a folder of that name is no cache"])
def test_a_disk_cache_that_is_not_as_it_was_written_is_made_anew(
    damage: str, checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path))
    view = View(24, 32)
    entry = entry_of(checked, view, tmp_path)
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[1000] ^= 1
    contents = {"a bit": bytes(flipped), "cut": whole[:-1], "longer": whole + b"\0", "empty": b""}
    if damage.startswith("a folder"):
        entry.unlink()
        entry.mkdir()
        with pytest.raises(UserError, match="is a folder"):
            open_reader(checked, view, "disk", Progress().track)
        return
    entry.write_bytes(contents.get(damage, bytes(len(whole))))
    open_reader(checked, view, "disk", Progress().track)
    assert entry.read_bytes() == whole


def test_a_disk_cache_is_keyed_by_the_content_of_the_photos(
    colour_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal names, sizes and times with other pictures are other photos; other names with the same pictures aren't."""
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "cache"))
    first, second = (path.read_bytes() for path in sorted(colour_folders.rglob("*.jpg"))[:2])
    length = max(len(first), len(second))
    entries = []
    for name, content in (("a.jpg", first), ("a.jpg", second), ("b.jpg", first)):
        path = tmp_path / name
        path.write_bytes(content + b"\0" * (length - len(content)))
        os.utime(path, (1, 1))
        open_reader(check_photos([Photo(str(path), 0)]), View(24, 32), "disk", Progress().track)
        entries.append(len(list((tmp_path / "cache").iterdir())))
    assert entries == [1, 2, 2]


def test_a_disk_cache_is_read_whatever_becomes_of_its_file(
    checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may clear or replace it."""
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path))
    view = View(24, 32)
    cached = open_reader(checked, view, "disk", Progress().track)
    before = cached.centre(tf.constant(1), tf.constant("")).numpy()
    (entry,) = tmp_path.glob("*.pixels")
    other = tmp_path / "other"
    other.write_bytes(bytes(entry.stat().st_size))
    other.replace(entry)
    np.testing.assert_array_equal(cached.centre(tf.constant(1), tf.constant("")).numpy(), before)


def test_a_cache_folder_that_cannot_be_written_or_found_is_the_users_mistake(
    checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"data.cache: .*file/cache can't be written: .*Set CLAN_TF_CACHE"):
        open_reader(checked, View(24, 32), "disk", Progress().track)
    monkeypatch.delenv("CLAN_TF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", os.devnull)
    with pytest.raises(UserError, match="data.cache: there is no home folder"):
        decide_cache([checked], View(24, 32), "disk", uses=2)


def test_auto_caches_only_what_is_used_again_and_fits(checked: CheckedPhotos, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(24, 32)
    assert decide_cache([checked, checked], view, "auto", uses=1) == "none"
    assert decide_cache([checked, checked], view, "auto", uses=2) == "memory"
    assert decide_cache([checked], view, "disk", uses=1) == "disk"
    needed = len(checked.photos) * 32 * 32 * 3
    monkeypatch.setattr("clan_tf.data.pipeline.cache.available_memory", lambda: 5 * needed)
    assert decide_cache([checked], view, "auto", uses=2) == "memory"
    assert decide_cache([checked, checked], view, "auto", uses=2) == "none"
    monkeypatch.setattr("clan_tf.data.pipeline.cache.available_memory", lambda: 10_000)
    with pytest.raises(UserError, match="data.cache.*memory has 0.00 GB free"):
        decide_cache([checked], view, "memory", uses=1)


def test_a_disk_without_room_is_told_before_anything_is_written(
    checked: CheckedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAN_TF_CACHE", str(tmp_path / "cache"))
    view = View(24, 32)
    needed = len(checked.photos) * 32 * 32 * 3
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(UserError, match="data.cache.*the disk has 0.00 GB free"):
        decide_cache([checked], view, "disk", uses=1)
    assert list(tmp_path.iterdir()) == []
    open_reader(checked, view, "disk", Progress().track)
    assert decide_cache([checked], view, "disk", uses=1) == "disk", "what is there already needs no room"


def test_pages_of_files_that_nobody_uses_count_as_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": ["MemTotal: 9000000 kB", "MemAvailable: 8000000 kB"],
        "/sys/fs/cgroup/memory.max": ["1000000"],
        "/sys/fs/cgroup/memory.current": ["900000"],
        "/sys/fs/cgroup/memory.stat": ["anon 200000", "active_file 100000", "inactive_file 600000"],
    }
    monkeypatch.setattr("clan_tf.data.pipeline.cache._lines", lambda path: files[path])
    assert available_memory() == 700_000


def indices(order: Any, epoch: int, places: int) -> list[int]:
    return [int(order(tf.constant(epoch), tf.constant(place))) for place in range(places)]


def test_repeats_put_the_same_photo_into_neighbouring_places() -> None:
    order = photo_order(np.arange(9), "shuffle", 3, seed=0)
    found = indices(order, 0, 27)
    assert found[::3] == found[1::3] == found[2::3]
    assert sorted(found[::3]) == list(range(9))


def test_class_balanced_order_takes_every_class_equally_and_no_photo_again_before_the_others() -> None:
    labels = np.array([0] * 12 + [1] * 3 + [2] * 5)
    found = indices(photo_order(labels, "class_balanced", 1, seed=0), 1, 36)
    assert Counter(labels[found].tolist()) == {0: 12, 1: 12, 2: 12}
    for start in range(0, 36, 3):
        assert sorted(labels[found[start : start + 3]]) == [0, 1, 2]
    for label, count in ((0, 12), (1, 3), (2, 5)):
        own = [index for index in found if labels[index] == label]
        for start in range(0, len(own) - count + 1, count):
            assert len(set(own[start : start + count])) == count
    assert found != indices(photo_order(labels, "class_balanced", 1, seed=0), 2, 36)


def experiment(*overrides: str) -> Experiment:
    common = ["training.batch_size=4", "training.epochs=2", "data.image_size=24", "data.resize_size=32"]
    return load_experiment("demo", [*common, *overrides])


def images(checked: CheckedPhotos, setup: Experiment, **kwargs: Any) -> list[np.ndarray]:
    reader = PhotoReader(checked, training_view(setup.data))
    return [batch.numpy() for batch, _ in training_batches(reader, checked.labels, 4, setup, **kwargs)]


EVERYTHING = "data.augmentation={policy: rand_augment, color_jitter: 0.3, random_erasing: 0.5, mixup: 0.5, cutmix: 0.5}"


@pytest.mark.parametrize("augmentation", ["data.augmentation={policy: none}", EVERYTHING])
def test_batches_depend_on_seed_and_position_alone(checked: CheckedPhotos, augmentation: str) -> None:
    whole = images(checked, experiment(augmentation))
    again = images(checked, experiment(augmentation), start_step=2)
    assert len(whole) == 4
    for one, other in zip(whole[2:], again, strict=True):
        np.testing.assert_array_equal(one, other)
    other_seed = images(checked, experiment(augmentation, "training.seed=5"))
    assert not np.array_equal(whole[0], other_seed[0])


def test_batches_do_not_depend_on_how_many_calls_run_in_parallel(checked: CheckedPhotos) -> None:
    setup = experiment(EVERYTHING)
    reader = PhotoReader(checked, training_view(setup.data))

    def with_threads(threads: int) -> list[np.ndarray]:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = training_batches(reader, checked.labels, 4, setup).with_options(options)
        return [value.numpy() for batch in dataset for value in batch]

    for one, other in zip(with_threads(1), with_threads(8), strict=True):
        np.testing.assert_array_equal(one, other)


def test_workers_read_the_parts_of_each_batch(checked: CheckedPhotos) -> None:
    whole = images(checked, experiment())
    parts = [images(checked, experiment(), worker=Worker(index, 2)) for index in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(batch, np.concatenate([first, second]))
    with pytest.raises(UserError, match="can't be divided among 3 workers"):
        images(checked, experiment(), worker=Worker(0, 3))


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


def test_no_epoch_repeats_the_order_of_another() -> None:
    order = tf.function(photo_order(np.arange(3000), "shuffle", 1, seed=0))
    starts = [tuple(int(order(tf.constant(epoch), tf.constant(place))) for place in range(4)) for epoch in range(300)]
    assert len(set(starts)) == 300
