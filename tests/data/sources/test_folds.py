"""Folds of cross-validation: every photo is in one, classes are spread evenly, and groups stay whole."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from clan_tf.config import DataConfig
from clan_tf.data import Photo, list_source, read_folds, read_source
from clan_tf.data.sources.cutting import with_digests
from clan_tf.data.sources.folds import folds_of
from clan_tf.errors import UserError
from helpers.photos import write_photo
from helpers.sources import GREY


def drawn(label: int, numbers: Iterable[int], per_group: int | None = None) -> list[Photo]:
    """Photos of one class, the content of each its label and number, in groups of equally many."""
    return [
        Photo(f"{label}/{n}", label, f"{label} {n}".encode(), group=per_group and f"{label}-{n // per_group}")
        for n in numbers
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_class_is_spread_evenly(folds: int, seed: int) -> None:
    photos = with_digests([photo for label in range(4) for photo in drawn(label, range(15 + label))])
    fold_of = folds_of(photos, folds, seed)
    for label in range(4):
        counts = Counter(fold for fold, photo in zip(fold_of, photos, strict=True) if photo.label == label)
        assert set(counts) == set(range(folds)) and max(counts.values()) - min(counts.values()) <= 2


def test_as_many_photos_as_folds_are_one_in_each() -> None:
    photos = with_digests([photo for label in range(3) for photo in drawn(label, range(5))])
    fold_of = folds_of(photos, 5, seed=0)
    assert all(sorted(fold_of[5 * label : 5 * label + 5]) == list(range(5)) for label in range(3))


def test_groups_and_copies_are_in_one_fold() -> None:
    photos = [photo for label in range(3) for photo in drawn(label, range(40), per_group=4)]
    photos += [Photo("a", 0, b"same"), Photo("b", 1, b"same"), Photo("c", 2, b"same", group="2-0")]
    photos = with_digests(photos)
    for seed in range(6):
        places: dict[str | None, set[int]] = {}
        for fold, photo in zip(folds_of(photos, 4, seed).tolist(), photos, strict=True):
            joined = "2-0" if photo.content == b"same" else photo.group
            places.setdefault(joined, set()).add(fold)
        assert len(places) == 30 and all(len(folds) == 1 for folds in places.values())


def test_folds_follow_from_the_seed_and_not_from_the_order_of_the_photos() -> None:
    photos = with_digests([photo for label in range(3) for photo in drawn(label, range(20))])
    order = np.random.default_rng(0).permutation(len(photos))
    fold_of = folds_of(photos, 4, seed=1)
    assert (folds_of([photos[index] for index in order], 4, seed=1) == fold_of[order]).all()
    assert (folds_of(photos, 4, seed=2) != fold_of).any()


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    for name in ("gull", "tern"):
        for number in range(10):
            write_photo(tmp_path / name / f"{number}.jpg", GREY)
    return tmp_path


def names(photos: Iterable[Photo]) -> set[str]:
    return {photo.name for photo in photos}


def test_each_photo_is_tested_once_and_never_by_a_model_that_saw_it(class_folders: Path) -> None:
    config = DataConfig(root=class_folders, validation_fraction=0.2)
    sources = read_folds(config, 3)
    every = names(list_source(config).splits["train"])
    assert set.union(*(names(source.splits["test"]) for source in sources)) == every
    assert sum(len(source.splits["test"]) for source in sources) == len(every) == 20
    for source in sources:
        train, val, test = (names(source.splits[split]) for split in ("train", "val", "test"))
        assert train | val | test == every and len(train) + len(val) + len(test) == 20 and val


def test_the_keys_give_the_same_fold(class_folders: Path) -> None:
    config = DataConfig(root=class_folders)
    for fold, source in enumerate(read_folds(config, 3), start=1):
        assert read_source(config.model_copy(update={"folds": 3, "fold": fold})).splits == source.splits


def test_the_test_photos_of_official_splits_are_in_no_fold(colour_folders: Path) -> None:
    sources = read_folds(DataConfig(root=colour_folders), 3)
    tested = set.union(*(names(source.splits["test"]) for source in sources))
    assert tested == {str(path) for path in (colour_folders / "train").rglob("*.jpg")}
    assert "The data's own test split (15 photos) is in no fold, and isn't used." in sources[0].notes
    assert "The test split is fold 1 of 3: 12 photos." in sources[0].notes


def test_official_validation_photos_are_folded_too(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("gull", "tern"):
            for number in range(3):
                write_photo(tmp_path / split / name / f"{number}.jpg", GREY)
    sources = read_folds(DataConfig(root=tmp_path), 3)
    assert sum(len(source.splits["test"]) for source in sources) == 12
    assert all(source.val_is_cut and source.splits["val"] for source in sources)


def test_classes_with_fewer_photos_or_groups_than_folds_are_named_with_their_counts(class_folders: Path) -> None:
    for number in range(3):
        write_photo(class_folders / "auk" / f"{number}.jpg", GREY)
    with pytest.raises(UserError) as caught:
        read_folds(DataConfig(root=class_folders), 5)
    assert str(caught.value) == (
        "data.folds: 5 folds need at least 5 different photos of every class; 1 of 3 classes have fewer: 'auk' (3). "
        "Use fewer folds, add photos, or leave such classes out."
    )
    # The photos 0 and 1 of a class are a group each, and all others one.
    with pytest.raises(UserError, match=r"5 groups of every class; 3 of 3 classes have fewer: 'auk' \(3\), 'gull' \(3"):
        read_folds(DataConfig(root=class_folders, group=r"path:^(\w+/[01]?)"), 5)


@pytest.mark.parametrize("keys", [{"folds": 5}, {"fold": 1}, {"folds": 3, "fold": 4}, {"folds": 1, "fold": 1}])
def test_a_fold_goes_with_the_number_of_folds(keys: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="fold must be 1 to folds|greater than or equal to 2"):
        DataConfig(**keys)
