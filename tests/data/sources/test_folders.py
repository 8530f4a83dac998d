"""Folders of classes and splits: what is read, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from clan_tf.config import DataConfig
from clan_tf.data import read_source
from clan_tf.data.check import check_data
from clan_tf.errors import UserError
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


def test_a_root_without_usable_classes_is_refused(tmp_path: Path) -> None:
    def mistake(root: Path | None) -> str:
        with pytest.raises(UserError) as caught:
            read_source(DataConfig(root=root))
        return str(caught.value)

    assert "needs the folder" in mistake(None)
    assert "there is no folder" in mistake(tmp_path / "nowhere")
    assert "holds no photos" in mistake(tmp_path)
    (tmp_path / "a").mkdir()
    assert "hold no photos. Put photos into them." in mistake(tmp_path)
    write_photo(tmp_path / "a" / "1.png", (1, 2, 3))
    assert "at least two" in mistake(tmp_path)
    (tmp_path / "b").mkdir()
    assert "no train photos of 'b'. Add some, or leave such classes out." in mistake(tmp_path)


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
