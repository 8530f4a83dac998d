"""What is a photo in a folder, what is left out, and how folders are read as splits and classes."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clan_tf.config import DataConfig
from clan_tf.data import Source, read_source
from clan_tf.data.sources.split_names import is_split_name, splits_told, tells_split
from clan_tf.errors import UserError
from clan_tf.photos import list_photos
from clan_tf.photos.listing import list_contents, list_folder
from helpers.photos import write_photo


def photos(root: Path, *folders: str, count: int = 4) -> None:
    for folder in folders:
        for index in range(count):
            write_photo(root / folder / f"{index}.jpg", (90, 90, 90), (8, 8))


def read(root: Path) -> Source:
    return read_source(DataConfig(root=root))


def mistake(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(root)
    return str(caught.value)


def left_out(source: Source) -> Counter:
    return sum((Counter({item.reason: item.files}) for item in source.left_out), Counter())


def by_class(source: Source, *splits: str) -> dict[str, int]:
    counts = Counter(source.class_names[photo.label] for split in splits for photo in source.splits[split])
    return dict(counts)


# One folder


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    """Three photos of any suffix, and one file or folder of each kind that isn't used."""
    folder = tmp_path / "untidy"
    photos(folder, ".", ".thumbnails", "@eaDir", "deep/$RECYCLE.BIN", "deep/.ipynb_checkpoints", count=1)
    for name in ("deep/no suffix", "b.jfif", "._a.jpg", "Thumbs.db", "deep/notes.TXT", "README"):
        shutil.copy(folder / "0.jpg", folder / name)
    os.mkfifo(folder / "pipe.jpg")
    return folder


def test_hidden_system_and_special_files_are_left_out_at_any_depth_and_counted(untidy: Path) -> None:
    listing = list_folder(untidy)
    assert [path.relative_to(untidy).as_posix() for path in listing.photos] == ["0.jpg", "b.jfif", "deep/no suffix"]
    found = {Path(item.path).relative_to(untidy).as_posix(): (item.reason, item.files) for item in listing.left_out}
    assert found == {
        ".thumbnails": ("hidden", 1),
        "._a.jpg": ("hidden", 1),
        "@eaDir": ("system", 1),
        "Thumbs.db": ("system", 1),
        "deep/$RECYCLE.BIN": ("system", 1),
        "deep/.ipynb_checkpoints": ("hidden", 1),
        "deep/notes.TXT": ("document", 1),
        "README": ("document", 1),
        "pipe.jpg": ("special", 1),
    }


def test_every_file_is_a_photo_or_left_out(untidy: Path) -> None:
    listing = list_folder(untidy)
    total = sum(len(names) for _, _, names in os.walk(untidy))
    assert len(listing.photos) + sum(item.files for item in listing.left_out) == total


def test_links_to_folders_are_followed_once_and_never_in_a_loop(tmp_path: Path) -> None:
    photos(tmp_path, "far/inner", "class", count=2)
    for link, target in (
        ("class/a", "../far"),
        ("class/b", "../far/inner"),
        ("class/up", ".."),
        ("class/self", "."),
        ("far/back", "../class"),
    ):
        (tmp_path / link).symlink_to(target)
    listing = list_folder(tmp_path / "class")
    assert len(listing.photos) == 4 and len({os.path.realpath(path) for path in listing.photos}) == 4
    assert {item.reason for item in listing.left_out} == {"repeated"}
    assert {Path(item.path).name for item in listing.left_out} >= {"up", "self"}


def test_a_list_of_photos_is_what_training_takes_and_says_what_it_leaves_out(untidy: Path) -> None:
    (untidy / "new.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    shutil.copy(untidy / "0.jpg", untidy / "kept.HEIC")
    notes: list[str] = []
    found = list_photos([str(untidy)], notes.append)
    assert {*found} == {*list_folder(untidy).photos} - {untidy / "new.HEIC"} and untidy / "kept.HEIC" in found
    (note,) = notes
    for part in ("1 hidden file, 2 hidden folders with 2 files", "1 photo in a format that isn't decoded", "new.HEIC"):
        assert part in note
    given = [str(untidy / ".hidden.jpg"), "n" * 300]
    assert list_photos(given) == [Path(name) for name in given], "what is given by name is taken"
    with pytest.raises(UserError, match="has no photos. Left out: 1 hidden"):
        (untidy / "empty" / ".git").mkdir(parents=True)
        (untidy / "empty" / ".git" / "HEAD").touch()
        list_photos([str(untidy / "empty")])


def test_what_cannot_be_read_below_a_folder_is_named_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in "abcdefgh":
        write_photo(tmp_path / folder / "1.png", (1, 2, 3))
    listing, status = os.scandir, Path.stat

    def scandir(path: Any) -> Any:
        if Path(path).name in "acdefg":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listing(path)

    def stat(path: Path, **options: Any) -> os.stat_result:
        if path.name == "b":  # as a process's folder in /proc does
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return status(path, **options)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "stat", stat)
    notes: list[str] = []
    assert list_photos([str(tmp_path)], notes.append) == [tmp_path / "h" / "1.png"]
    assert notes[0].startswith(f"note: 7 folders couldn't be read: {tmp_path / 'a'} (Permission denied); ")
    assert f"{tmp_path / 'b'} (No such file or directory)" in notes[0] and notes[0].endswith("; and 2 more.")
    with pytest.raises(PermissionError):
        list_folder(tmp_path)
    with pytest.raises(UserError, match="a: can't be read: Permission denied"):
        list_photos([str(tmp_path / "a")])


def test_the_kernels_folders_hold_no_photos() -> None:
    contents = list_contents(Path("/"))
    assert not {"/proc", "/sys", "/dev"} & {str(folder) for folder in contents.folders}
    assert {"/proc"} <= {item.path for item in contents.left_out if item.reason == "system"}


@pytest.mark.parametrize("address", ["https://example.org/x.jpg", "s3://bucket/photos", "file:///x.jpg"])
def test_an_address_is_no_photo(address: str) -> None:
    with pytest.raises(UserError) as caught:
        list_photos(["x.jpg", address])
    assert str(caught.value).startswith(f"{address}: is an address, and only files are read.")


# Splits and classes


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "TRAIN", "training_set", "train-images", "train_data", "TrainSet")),
        *((name, "train") for name in ("trainset", "train2017", "data train")),
        *((name, "val") for name in ("val", "validation_set", "valid", "val_images")),
        *((name, "test") for name in ("test", "testing_images", "tests", "test1")),
        *(
            (name, None)
            for name in ("bullet_train", "train_station", "test_tube", "contest", "trainer", "cat", "images")
        ),
    ],
)
def test_names_tell_splits_only_where_nothing_else_is_in_them(name: str, split: str | None) -> None:
    assert tells_split(name) == split
    assert is_split_name(name) is (split is not None)


def test_what_splits_share_in_their_names_is_cut_off() -> None:
    assert splits_told(["seg_train", "seg_test", "seg_pred"]) == {"seg_train": "train", "seg_test": "test"}
    assert splits_told(["bullet_train", "steam_train", "train_station"]) == {}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("train-images", "test-images"),
        ("TRAIN", "Testing"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
    ],
)
def test_splits_by_other_names_are_understood_and_noted(tmp_path: Path, train: str, test: str) -> None:
    photos(tmp_path, f"{train}/cats", f"{train}/dogs", f"{test}/cats", f"{test}/dogs")
    source = read(tmp_path)
    assert source.class_names == ("cats", "dogs") and len(source.splits["test"]) == 8
    assert bool(source.notes) is (train != "TRAIN")
    assert all("read as splits" in note for note in source.notes)


@pytest.mark.parametrize("name", ["dev", "holdout", "eval", "train_augmented", "fold_1"])
def test_names_that_may_mean_a_split_are_refused(tmp_path: Path, name: str) -> None:
    photos(tmp_path, "train/a", "train/b", f"{name}/a", f"{name}/b")
    assert f"{name}/ in {tmp_path} may be splits" in mistake(tmp_path)


@pytest.mark.parametrize("name", ["holdout", "training_set"])
def test_a_folder_named_as_a_split_is_never_a_class(tmp_path: Path, name: str) -> None:
    photos(tmp_path, "a", "b", name)
    assert "is named as a split, and stands beside class folders" in mistake(tmp_path)


def test_two_spellings_of_a_split_are_refused(tmp_path: Path) -> None:
    photos(tmp_path, *(f"{split}/{name}" for split in ("train", "val", "validation") for name in "ab"))
    assert "val/, validation/" in mistake(tmp_path)


def test_a_class_may_be_called_train_and_the_note_says_so(tmp_path: Path) -> None:
    photos(tmp_path, "train", "test", "car", "train_station")
    source = read(tmp_path)
    assert source.class_names == ("car", "test", "train", "train_station")
    assert "test/, train/" in source.notes[0] and "read as a class, not as a split" in source.notes[0]
    photos(tmp_path, "train/steam", "train/diesel")
    assert "If train is a class, rename it" in mistake(tmp_path)


def test_photos_beside_classes_and_splits_are_counted(tmp_path: Path) -> None:
    photos(tmp_path, ".", "train", "train/a", "train/b", "test/a", "test/b", "old", ".git", count=3)
    source = read(tmp_path)
    assert by_class(source, "train", "val") == {"a": 3, "b": 3}
    assert left_out(source) == {"unused": 6, "loose": 3, "hidden": 3}
    assert "6 photos beside the splits" in source.notes[0] and "3 photos beside the class folders" in source.notes[0]


def test_a_split_without_class_folders_is_noted(tmp_path: Path) -> None:
    photos(tmp_path, "train/a", "train/b", "test")
    source = read(tmp_path)
    assert "test" not in source.splits and left_out(source) == {"unlabelled": 4}
    assert "its 4 photos stand in no class folders" in source.notes[0]
    shutil.rmtree(tmp_path / "train")
    photos(tmp_path, "train")
    assert "hold photos and no class folders" in mistake(tmp_path)


@pytest.mark.parametrize("inner", ["images/a images/b", "x/images/a x/images/b", "data/train/a data/train/b"])
def test_a_folder_around_the_classes_is_named(tmp_path: Path, inner: str) -> None:
    photos(tmp_path, *inner.split())
    around = Path(inner.split()[0]).parent
    around = around.parent if around.name == "train" else around
    assert f"--set data.root={tmp_path / around}." in mistake(tmp_path)


def test_splits_inside_of_classes_are_refused(tmp_path: Path) -> None:
    photos(tmp_path, *(f"{name}/{split}" for name in ("cat", "dog") for split in ("train", "test")))
    assert "Expected are the splits outside" in mistake(tmp_path)


def test_one_folder_under_two_names_is_refused(tmp_path: Path) -> None:
    photos(tmp_path, "a", "b")
    (tmp_path / "c").symlink_to("a")
    assert "are one folder, so its photos would have two labels" in mistake(tmp_path)


@pytest.mark.parametrize(
    ("folders", "link", "target"),
    [
        (["a", "b"], "b/more", "a"),
        (["a/in", "b"], "b/x/more", "a/in"),
        (["train/a", "train/b", "test/a", "test/b"], "test/a/x", "train/a"),
    ],
)
def test_a_link_from_one_class_or_split_into_another_is_refused(
    tmp_path: Path, folders: list[str], link: str, target: str
) -> None:
    photos(tmp_path, *folders)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / target)
    assert "would stand in two classes or splits" in mistake(tmp_path)


def test_a_photo_that_is_linked_into_another_class_or_split_is_refused(tmp_path: Path) -> None:
    photos(tmp_path, "train/a", "train/b", "test/a")
    (tmp_path / "train/a/copy.jpg").symlink_to(tmp_path / "train/a/0.jpg")
    assert by_class(read(tmp_path), "train", "val")["a"] == 5
    (tmp_path / "test/a/copy.jpg").symlink_to(tmp_path / "train/a/0.jpg")
    assert "are one photo, which would stand in two classes or splits" in mistake(tmp_path)


def test_classes_that_share_a_word_with_splits_are_not_read_as_splits(tmp_path: Path) -> None:
    photos(tmp_path, *(f"{name}_station/{time}" for name in ("train", "test", "bus") for time in ("day", "night")))
    assert "may be splits, but it isn't clear which" in mistake(tmp_path)


def test_classes_of_several_folders_are_noted(tmp_path: Path) -> None:
    photos(tmp_path, "images/a", "images/b", "masks")
    assert "images/ in" in (note := read(tmp_path).notes[0]) and "all are read as one class each" in note


def test_photos_that_are_not_decoded_are_left_out_with_a_count(tmp_path: Path) -> None:
    photos(tmp_path, "a", "b")
    (tmp_path / "a/phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    source = read(tmp_path)
    assert by_class(source, "train", "val", "test")["a"] == 4 and left_out(source) == {"not_decoded": 1}
    assert "phone.heic" in source.notes[0]


# Names of classes


def test_spellings_that_are_the_same_text_are_one_class(tmp_path: Path) -> None:
    photos(tmp_path, "train/caf\u00e9", "train/b", "test/cafe\u0301", "test/b ")
    source = read(tmp_path)
    assert source.class_names == ("b", "caf\u00e9") and by_class(source, "test") == {"b": 4, "caf\u00e9": 4}


@pytest.mark.parametrize("other", ["c\u200bat", "cat\u00a0x", "cat\u2010x"])
def test_names_that_look_alike_are_refused(tmp_path: Path, other: str) -> None:
    one = {"cat\u00a0x": "cat x", "cat\u2010x": "cat-x"}.get(other, "cat")
    photos(tmp_path, one, other)
    assert "classes whose names look alike" in mistake(tmp_path)


def test_single_letters_are_classes_of_their_own(tmp_path: Path) -> None:
    photos(tmp_path, "a", "A")
    assert read(tmp_path).class_names == ("A", "a")


def test_names_that_differ_in_capitals_alone_are_noted(tmp_path: Path) -> None:
    photos(tmp_path, "Cat", "cat", "dog")
    source = read(tmp_path)
    assert source.class_names == ("Cat", "cat", "dog")
    assert "The classes 'Cat', 'cat' differ in capitals alone" in " ".join(source.notes)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"two\nlines", "has a line end or another control character in it: 'two\\x0alines'"),
        (b"caf\xe9", "isn't UTF-8: 'caf\\xe9'"),
        (b"\xe2\x80\x8b", "is empty, or nothing that can be seen"),
        (b"a\x1b[2J", "'a\\x1b[2J'"),
    ],
)
def test_names_that_a_later_step_cannot_take_are_refused(tmp_path: Path, name: bytes, why: str) -> None:
    photos(tmp_path, "a", "b")
    (tmp_path / "b").rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    assert why in mistake(tmp_path)
