"""Sources, photo checks and the pipeline."""

import os
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.linear_model import LogisticRegression

from clan_tf.config import DataConfig, Experiment, load_experiment
from clan_tf.data import Photo, read_source
from clan_tf.data.check import check_data, check_splits
from clan_tf.data.checked_photos import CheckedPhotos, check_photos, probe, used_part
from clan_tf.data.pipeline import (
    PhotoReader,
    View,
    evaluation_batches,
    evaluation_view,
    training_batches,
    training_view,
)
from clan_tf.data.sources.cutting import cut, places_by_content, with_digests
from clan_tf.data.sources.generated import CLASS_NAMES, draw_photo
from clan_tf.data.sources.selection import take_fraction
from clan_tf.errors import UserError
from clan_tf.progress import Progress
from helpers.photos import write_photo


def test_split_folders_keep_names_and_cut_a_validation_split_from_train(colour_folders: Path) -> None:
    source = read_source(DataConfig(root=colour_folders, validation_fraction=0.25))
    assert source.class_names == ("blue, small", "grün", "red bird")
    counts = {split: len(photos) for split, photos in source.splits.items()}
    assert counts["test"] == 15 and counts["train"] + counts["val"] == 36
    assert (
        {photo.label for photo in source.splits["val"]}
        == {photo.label for photo in source.splits["train"]}
        == {0, 1, 2}
    )
    names = [photo.name for photos in source.splits.values() for photo in photos]
    assert len(set(names)) == len(names)
    for photo in source.splits["val"]:
        assert Path(photo.name).parent.name == source.class_names[photo.label]
        assert "/train/" in photo.name


def test_one_folder_is_cut_into_stratified_splits_by_the_seed(colour_folders: Path) -> None:
    def labels_and_names(seed: int) -> dict[str, list[str]]:
        source = read_source(DataConfig(root=colour_folders / "train", split_seed=seed))
        assert {photo.label for photo in source.splits["test"]} == {0, 1, 2}
        return {split: [photo.name for photo in photos] for split, photos in source.splits.items()}

    assert labels_and_names(0) == labels_and_names(0)
    assert labels_and_names(0)["test"] != labels_and_names(1)["test"]
    assert sum(map(len, labels_and_names(0).values())) == 36


def drawn(label: int, numbers: Iterable[int]) -> list[Photo]:
    """Photos of one class, the content of each its number."""
    return [Photo(f"{label}/{number}", label, str(number).encode()) for number in numbers]


def test_cutting_leaves_a_photo_of_every_class_on_both_sides() -> None:
    for seed in range(30):
        photos = drawn(0, [1]) + drawn(1, [2, 3]) + drawn(2, range(10, 14))
        stay, taken = cut(photos, 0.1, seed)
        assert {photo.label for photo in stay} == {0, 1, 2} and {photo.label for photo in taken} == {1, 2}
        assert [sum(photo.label == 1 for photo in side) for side in (stay, taken)] == [1, 1]
        assert sorted(p.name for p in stay + taken) == sorted(p.name for p in photos)
        almost_all, _ = cut(photos, 0.99, seed)
        assert {photo.label for photo in almost_all} == {0, 1, 2}


def test_cutting_takes_about_the_fraction() -> None:
    for fraction in (0.1, 0.2, 0.5):
        _, taken = cut(drawn(0, range(4000)), fraction, seed=3)
        assert len(taken) / 4000 == pytest.approx(fraction, abs=4 * (fraction * (1 - fraction) / 4000) ** 0.5)


def test_no_photo_moves_because_others_were_added_removed_or_renamed() -> None:
    """Over many additions and removals one at a time; each class has photos enough for both sides."""
    rng = np.random.default_rng(0)
    pool = [drawn(label, range(1000 * label, 1000 * label + 150)) for label in range(3)]
    present = [photo for own in pool for photo in own[:80]]
    _, taken = cut(present, 0.2, seed=0)
    side = {photo.name: False for photo in present} | {photo.name: True for photo in taken}
    for _ in range(200):
        own = pool[rng.integers(3)]
        photo = own[rng.integers(150)]
        present = [p for p in present if p != photo] if photo in present else [photo, *present]
        now = {p.name for p in cut(present, 0.2, seed=0)[1]}
        for p in present:
            assert side.setdefault(p.name, p.name in now) == (p.name in now)
    renamed = [replace(photo, name=f"/elsewhere/{photo.name}") for photo in present]
    assert {photo.content for photo in cut(renamed, 0.2, seed=0)[1]} == {p.content for p in present if side[p.name]}


def test_in_a_small_class_only_the_photo_that_had_to_change_sides_may_move() -> None:
    for seed in range(40):
        present = drawn(0, range(2))
        for number in range(2, 40):
            places = places_by_content(with_digests(present), seed, "test")
            natural = {content for content, place in places.items() if place < 0.2}
            before = {photo.digest for photo in cut(present, 0.2, seed)[1]}
            present += drawn(0, [number])
            after = {photo.digest for photo in cut(present, 0.2, seed)[1]}
            moved = (before ^ after) & places.keys()
            assert moved <= before ^ natural and len(moved) <= 1


def test_copies_stay_on_one_side_whatever_their_class() -> None:
    for seed in range(40):
        photos = [
            Photo(f"{label}/{copy}/{number}", label, bytes([number]))
            for label in (0, 1)
            for copy in (0, 1)
            for number in range(5)
        ]
        photos += (
            drawn(2, range(6)) + [Photo(f"same {i}", 3, b"same") for i in range(4)] + [Photo("same too", 2, b"same")]
        )
        stay, taken = cut(photos, 0.3, seed)
        assert {photo.content for photo in stay}.isdisjoint(photo.content for photo in taken)
        assert {photo.label for photo in stay} == {0, 1, 2, 3} and {photo.label for photo in taken} == {0, 1, 2}


def test_cuts_one_after_the_other_are_independent() -> None:
    rest, _ = cut(drawn(0, range(3000)), 0.2, seed=0)
    _, validation = cut(rest, 0.1, seed=0, part="val")
    assert len(validation) / len(rest) == pytest.approx(0.1, abs=0.025)


def test_a_larger_fraction_holds_the_smaller_one() -> None:
    splits = {"train": drawn(0, range(300)) + drawn(1, [5000])}
    small, large = ({p.name for p in take_fraction(splits, share, 0)["train"]} for share in (0.1, 0.4))
    assert small < large and "1/5000" in small
    assert len(small) / 300 == pytest.approx(0.1, abs=0.06)
    more = {"train": drawn(0, range(-50, 300)) + splits["train"][300:]}
    assert {p.name for p in take_fraction(more, 0.1, 0)["train"]} & {p.name for p in splits["train"]} == small


def test_photos_that_cannot_be_read_are_cut_by_their_names(tmp_path: Path) -> None:
    photos = [Photo(str(tmp_path / f"{number}.jpg"), 0) for number in range(50)]
    stay, taken = cut(photos, 0.3, seed=0)
    assert 3 < len(taken) < 30 and len(stay) + len(taken) == 50


@pytest.fixture
def cub_root(tmp_path: Path) -> Path:
    """The official layout: ids with gaps, two classes, the last photo of each for testing."""
    lines: dict[str, list[str]] = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    for number, (label, index) in enumerate([(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)], start=7):
        name = f"{label:03d}.Bird {label}/Bird_{index}.jpg"
        write_photo(tmp_path / "images" / name, (100, 100, 100))
        lines["images"].append(f"{number} {name}")
        lines["image_class_labels"].append(f"{number} {label}")
        lines["train_test_split"].append(f"{number} {int(index < 2)}")
    lines["classes"] = ["1 001.Bird 1", "2 002.Bird 2"]
    for name, content in lines.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(content) + "\n", encoding="utf-8")
    return tmp_path


def test_cub_is_read_by_its_official_split(cub_root: Path) -> None:
    source = read_source(DataConfig(source="cub", root=cub_root))
    assert source.class_names == ("001.Bird 1", "002.Bird 2")
    assert [Path(photo.name).name for photo in source.splits["test"]] == ["Bird_2.jpg", "Bird_2.jpg"]
    assert [photo.label for photo in source.splits["test"]] == [0, 1]
    assert len(source.splits["train"]) + len(source.splits["val"]) == 4


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("images.txt", "7 ../../secret.jpg\n", "leaves"),
        ("images.txt", "7 001.Bird 1/none.jpg\n", "there is no"),
        ("images.txt", "7\n", "line 1"),
        ("image_class_labels.txt", "7 1\n", "no line for number 8"),
        (
            "image_class_labels.txt",
            "\n".join(f"{n} 9" for n in range(7, 13)),
            r"image_class_labels.txt: .* 7 \(001.*'9'.* 1 to 2",
        ),
        ("train_test_split.txt", "7 1\n8 2\n", "train_test_split.txt: number 8 must be 0.* received '2'"),
        ("train_test_split.txt", "7 True\n", "received 'True'"),
        ("classes.txt", None, "classes.txt"),
    ],
)
def test_a_damaged_cub_is_refused(cub_root: Path, file: str, text: str | None, expected: str) -> None:
    (cub_root / file).unlink() if text is None else (cub_root / file).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        read_source(DataConfig(source="cub", root=cub_root))


def test_a_root_without_usable_classes_is_refused(tmp_path: Path) -> None:
    def mistake(root: Path | None) -> str:
        with pytest.raises(UserError) as caught:
            read_source(DataConfig(root=root))
        return str(caught.value)

    assert "needs the folder" in mistake(None)
    assert "there is no folder" in mistake(tmp_path / "nowhere")
    assert "no class folders" in mistake(tmp_path)
    (tmp_path / "a").mkdir()
    assert "are empty" in mistake(tmp_path)
    write_photo(tmp_path / "a" / "1.png", (1, 2, 3))
    assert "at least two" in mistake(tmp_path)
    (tmp_path / "b").mkdir()
    assert "no train photos of 'b'" in mistake(tmp_path)


@pytest.mark.parametrize("inner", ["a", "a/summer"])
def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str) -> None:
    for name in ("a/summer", "b"):
        for index in range(3):
            write_photo(tmp_path / name / f"{index}.jpg", (90, 90, 90))
    listing, closed = os.scandir, str(tmp_path / inner)

    def scandir(path: Any) -> Any:
        if os.fspath(path) == closed:
            raise PermissionError(13, "Permission denied", closed)
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=f"{closed}: can't be read: Permission denied"):
        read_source(DataConfig(root=tmp_path))


def test_links_that_lead_nowhere_are_broken_photos_unless_they_are_named_otherwise(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for index in range(3):
            write_photo(tmp_path / name / f"{index}.jpg", (90, 90, 90))
    names = ("lost.jpg", "lost without suffix", "notes.txt", ".hidden.jpg", "itself.png")
    for name in names:
        (tmp_path / "a" / name).symlink_to(name if name == "itself.png" else "nowhere")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    (tmp_path / "README.md").symlink_to("nowhere")
    report = check_data(read_source(DataConfig(root=tmp_path)))
    problems = {Path(entry["path"]).name: entry["problem"] for entry in report.broken}
    assert problems == {
        "lost.jpg": "No such file or directory",
        "lost without suffix": "No such file or directory",
        "itself.png": "Too many levels of symbolic links",
    }
    left_out = {Path(item.path).name: item.reason for item in report.left_out}
    assert left_out == {
        "notes.txt": "document",
        "README.md": "document",
        ".hidden.jpg": "hidden",
        "pipe.jpg": "special",
    }
    (tmp_path / "c").symlink_to("nowhere")
    with pytest.raises(UserError, match="c is a link to nowhere, which isn't there"):
        read_source(DataConfig(root=tmp_path))


def test_photos_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    write_photo(tmp_path / "good.jpg", (90, 90, 90))
    (tmp_path / "text.jpg").write_text("not a photo", encoding="utf-8")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:-300])
    (tmp_path / "empty.jpg").touch()
    photos = [Photo(str(tmp_path / name), 0) for name in ("good.jpg", "text.jpg", "cut.jpg", "empty.jpg", "gone.jpg")]
    with pytest.raises(UserError) as caught:
        check_splits({"train": photos[:3], "test": photos[3:]}, DataConfig(), Progress())
    text = str(caught.value)
    assert "4 photos can't be read" in text and "good.jpg" not in text and "test: " in text
    for name in (
        "text.jpg: not an image",
        "cut.jpg: truncated",
        "empty.jpg: the file is empty",
        "gone.jpg: No such file",
    ):
        assert name in text


def test_a_jpeg_that_was_cut_and_closed_again_is_broken_for_training_too(tmp_path: Path) -> None:
    whole = BytesIO()
    Image.fromarray(draw_photo(3, np.random.default_rng(0), 300)).save(whole, "JPEG")
    content = whole.getvalue()
    path = tmp_path / "closed.jpg"
    path.write_bytes(content[: len(content) // 2] + content[-2:])
    with pytest.raises(UserError, match="closed.jpg: truncated: its picture data ends early"):
        check_splits({"train": [Photo(str(path), 0), Photo("whole", 0, content)]}, DataConfig(), Progress())


def test_a_photo_without_details_is_whole() -> None:
    """Its lowest rows are one colour, as those of a cut photo are."""
    plain = BytesIO()
    Image.new("RGB", (400, 300), (200, 210, 220)).save(plain, "JPEG")
    assert not isinstance(probe(plain.getvalue()), str)


@pytest.mark.parametrize(
    ("start", "name"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x20ftypavif", "AVIF"), (b"\xff\x0a", "JPEG XL"), (b"", "not an image")],
)
def test_formats_that_are_not_decoded_are_named_with_the_way_out(start: bytes, name: str) -> None:
    problem = probe(start + bytes(100))
    assert isinstance(problem, str) and name in problem
    assert ("convert" in problem) is bool(start)


def test_a_tiff_is_named_with_the_way_out() -> None:
    content = BytesIO()
    Image.new("RGB", (8, 8)).save(content, "TIFF")
    assert "the format TIFF isn't decoded; convert it" in str(probe(content.getvalue()))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_every_mode_of_photo_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    if (mode, suffix) in {("CMYK", "png"), ("RGBA", "jpg"), ("P", "jpg"), ("I;16", "jpg")}:
        pytest.skip("no such file can be written")
    path = tmp_path / f"photo.{suffix}"
    _grey_photo(mode).save(path)
    checked = check_photos([Photo(str(path), 0)])
    decoded = used_part(checked, 0).numpy()
    assert decoded.shape == (12, 16, 3)
    assert np.abs(decoded.astype(int) - 200).max() <= 3


def _grey_photo(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.full((12, 16), 200 * 257, "uint16"))
    grey = Image.new("RGB", (16, 12), (200, 200, 200))
    return grey.quantize(4) if mode == "P" else grey.convert(mode)


@pytest.mark.parametrize("suffix", ["bmp", "gif", "webp"])
def test_other_formats_named_jpg_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    Image.new("RGB", (16, 12), (10, 120, 240)).save(path)
    assert not isinstance(probe(path.read_bytes()), str)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype="uint8")
    Image.fromarray(pixels).save(path, exif=exif)
    checked = check_photos([Photo(str(path), 0)])
    decoded = used_part(checked, 0).numpy()
    with Image.open(path) as image:
        np.testing.assert_array_equal(decoded, np.asarray(ImageOps.exif_transpose(image)))


@pytest.fixture(scope="module")
def numbered() -> list[Photo]:
    """Eleven photos whose brightness is their label."""
    return [Photo(f"{i}", i, tf.io.encode_png(np.full((24, 24, 3), 20 * i, "uint8")).numpy()) for i in range(11)]


def batches_of(checked: CheckedPhotos, experiment: Experiment, **kwargs: Any) -> tf.data.Dataset:
    reader = PhotoReader(checked, training_view(experiment.data))
    return training_batches(reader, checked.labels, 11, experiment, **kwargs)


def test_every_epoch_shows_each_photo_at_most_once_in_another_order(numbered: list[Photo]) -> None:
    experiment = load_experiment("demo", ["training.batch_size=4", "training.epochs=3", "data.image_size=16"])
    batches = list(batches_of(check_photos(numbered), experiment))
    assert len(batches) == 6
    epochs = [np.concatenate([labels for _, labels in batches[start : start + 2]]) for start in (0, 2, 4)]
    for labels in epochs:
        assert len(set(labels)) == 8
    assert not np.array_equal(epochs[0], epochs[1])
    for photos, labels in batches:
        np.testing.assert_allclose(photos.numpy().mean(axis=(1, 2, 3)), 20 * labels.numpy(), atol=0.01)


def test_the_pipeline_depends_on_seed_and_position_alone() -> None:
    experiment = load_experiment("demo", ["training.batch_size=4", "training.epochs=2", "data.image_size=80"])
    photos = [
        Photo(f"{i}", i % 8, tf.io.encode_png(draw_photo(i % 8, np.random.default_rng(i), 40)).numpy())
        for i in range(9)
    ]
    checked = check_photos(photos)
    whole = [photos.numpy() for photos, _ in batches_of(checked, experiment)]
    late = [photos.numpy() for photos, _ in batches_of(checked, experiment, start_step=3)]
    np.testing.assert_array_equal(whole[3], late[0])
    other = load_experiment("demo", ["training.batch_size=4", "training.seed=1", "data.image_size=80"])
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
        batches_of(check_photos(numbered), load_experiment("demo"))


def test_generated_photos_depend_on_seed_split_and_index() -> None:
    config = load_experiment("demo", ["data.generated_photos={train: 16, val: 8, test: 8}"]).data
    first, again = read_source(config), read_source(config)
    assert first.splits == again.splits
    contents = [photo.content for photos in first.splits.values() for photo in photos]
    assert len(set(contents)) == len(contents)
    assert sorted({photo.label for photo in first.splits["val"]}) == list(range(8)) == list(range(len(CLASS_NAMES)))


def test_average_colour_does_not_solve_the_generated_photos() -> None:
    photos = np.stack([draw_photo(i % 8, np.random.default_rng([3, i]), 48) for i in range(1200)])
    features = np.concatenate([photos.mean(axis=(1, 2)), photos.std(axis=(1, 2))], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = np.arange(1200) % 8
    model = LogisticRegression(max_iter=2000).fit(features[:800], labels[:800])
    assert model.score(features[800:], labels[800:]) < 0.25  # chance is 0.125
