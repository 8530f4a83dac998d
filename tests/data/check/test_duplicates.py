"""Copies of photos: leaks, conflicts, and what isn't a copy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clan_tf.config import DataConfig
from clan_tf.data import Photo, Source, read_source
from clan_tf.data.check import check_data
from clan_tf.data.check.duplicates import THUMBNAIL_SIZE, near_duplicates
from helpers.data_check import CLASSES, checked, encoded, picture, relative, run


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: encoded(image, quality=40),
        lambda image: encoded(image.resize((86, 86), Image.Resampling.BICUBIC), quality=75),
        lambda image: encoded(image.resize((106, 106), Image.Resampling.LANCZOS), quality=75),
        lambda image: encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=75),
        lambda image: encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((86, 86)), quality=50),
        lambda image: encoded(image, "PNG"),
    ],
    ids=["re-encoded", "smaller", "larger", "mirrored", "mirrored, smaller and re-encoded", "other format"],
)
def test_a_copy_of_a_test_photo_in_train_is_the_one_leak(root: Path, copy: Callable[[Image.Image], bytes]) -> None:
    original = root / "test" / CLASSES[0] / "1.jpg"
    content = copy(Image.open(original))
    suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
    planted = original.parents[2] / "train" / CLASSES[0] / f"copy{suffix}"
    planted.write_bytes(content)
    report = checked(root)
    (leak,) = report.leaks
    assert (leak.a, leak.b, leak.kind, leak.splits) == (str(planted), str(original), "near", ("train", "test"))
    assert report.failed
    assert not report.duplicates and not report.conflicts


def test_no_two_of_many_different_photos_are_taken_for_copies() -> None:
    birds = [Photo(f"bird {n}", n % 2, encoded(picture(n), "PNG")) for n in range(46)]
    report = check_data(Source(CLASSES, {"train": birds}))  # 1,035 pairs
    assert report.pairs == []


def test_the_same_shapes_in_other_colours_are_no_copies() -> None:
    bird = np.asarray(picture(3))
    photos = [Photo(f"{n}", 0, encoded(Image.fromarray(np.roll(bird, n, axis=2)), "PNG")) for n in range(3)]
    assert check_data(Source(CLASSES, {"train": photos})).pairs == []


def test_photos_without_details_are_no_copies_of_each_other() -> None:
    ramp = np.linspace(0, 20, 64)[:, None, None]
    skies = [np.broadcast_to((100 + 20 * n, 150, 200 - 15 * n) + ramp, (64, 64, 3)).astype("uint8") for n in range(5)]
    plain = [Photo(f"{n}", 0, encoded(Image.fromarray(sky), "PNG")) for n, sky in enumerate(skies)]
    assert check_data(Source(CLASSES, {"train": plain})).pairs == []


def test_blocks_do_not_hide_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clan_tf.data.check.duplicates._BLOCK", 3)
    shape = (8, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)
    thumbnails = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    thumbnails[7], thumbnails[5] = thumbnails[1], thumbnails[4][:, ::-1]
    calls = []
    assert near_duplicates(thumbnails, lambda: calls.append(1)).tolist() == [[1, 7], [4, 5]]
    assert len(calls) == 3


def test_the_same_bytes_are_an_exact_duplicate_and_different_labels_a_conflict(root: Path) -> None:
    photo = root / "train" / CLASSES[0] / "0.jpg"
    for name in CLASSES:
        (root / "train" / name / "copy.jpg").write_bytes(photo.read_bytes())
    report = checked(root)
    pairs = {(relative(pair.a, root), relative(pair.b, root), pair.kind) for pair in report.duplicates}
    first = "train/long beak/0.jpg"
    assert pairs == {(first, "train/long beak/copy.jpg", "exact"), (first, "train/short beak/copy.jpg", "exact")}
    assert [pair.labels for pair in report.conflicts] == [CLASSES]
    assert report.leaks == [] and report.failed


def test_every_leaking_copy_is_named_once_more_than_one_or_not(root: Path) -> None:
    content = (root / "test" / CLASSES[0] / "0.jpg").read_bytes()
    for place in ("train/long beak/a.jpg", "train/long beak/b.jpg", "test/long beak/c.jpg"):
        (root / place).write_bytes(content)
    report = checked(root)
    assert {name for leak in report.leaks for name in (Path(leak.a).name, Path(leak.b).name)} == {
        "a.jpg",
        "b.jpg",
        "0.jpg",
        "c.jpg",
    }
    assert len(report.leaks) == 3 and len(report.duplicates) == 2


def test_copies_never_part_where_the_validation_photos_are_cut_at_random(root: Path) -> None:
    shutil.rmtree(root / "val")
    for path in list((root / "train").rglob("*.jpg")):
        path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
    for seed in range(4):
        report = check_data(read_source(DataConfig(root=root, split_seed=seed, validation_fraction=0.4)))
        assert sum(report.counts["val"].values()) > 0
        assert len(report.duplicates) == 12 and not report.across_cut and not report.failed


def test_near_copies_across_our_own_cut_are_reported_but_are_no_leak(root: Path) -> None:
    shutil.rmtree(root / "val")
    for path in list((root / "train").rglob("*.jpg")):
        path.with_name(f"copy of {path.name}").write_bytes(encoded(Image.open(path), quality=60))
    arguments = ["--set", "data.validation_fraction=0.4"]
    result = run(root, *arguments)
    assert result.exit_code == 0, result.output
    assert "across train and val: clan-tf split these photos" in result.output
    answer = json.loads(run(root, "--json", *arguments).stdout)
    assert answer["leaks"] == [] and ["train", "val"] in [pair["splits"] for pair in answer["duplicates"]]
