"""Splits and folds are those of the data's own labels: correcting one (`data.relabel`) moves no other photo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clan_tf.config import DataConfig
from clan_tf.data import Source, list_source, read_folds, read_source
from clan_tf.errors import UserError
from helpers.photos import write_photo
from helpers.sources import GREY, mistake

CLASSES = ("auk", "gull", "tern")
GROUPS = r"path:^([^/]+/\d+)_"
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight groups of one to four photos in each of three classes; the data has no splits."""
    folder = tmp_path_factory.mktemp("birds")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for group in range(8):
            for index in range(int(rng.integers(1, 5))):
                write_photo(folder / name / f"{group}_{index}.png", GREY, (9, 9))
    return folder


def table(folder: Path, labels: Mapping[str, str]) -> Path:
    path = folder / "labels.csv"
    path.write_text("photo,label\n" + "".join(f"{photo},{label}\n" for photo, label in labels.items()))
    return path


def splits(source: Source, root: Path) -> dict[str, str]:
    """The split of each photo, by its name."""
    return {Path(p.name).relative_to(root).as_posix(): split for split, own in source.splits.items() for p in own}


def class_of(source: Source, root: Path, photo: str) -> str:
    (found,) = (each for own in source.splits.values() for each in own if each.name == str(root / photo))
    return source.class_names[found.label]


def some_photos(root: Path, seed: int) -> list[str]:
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return np.random.default_rng(seed).choice(names, 6, replace=False).tolist()


def another(photo: str) -> str:
    """A class that a photo isn't of."""
    return CLASSES[(CLASSES.index(photo.partition("/")[0]) + 1) % 3]


@pytest.mark.parametrize("group", [None, GROUPS])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_corrected_label_moves_no_photo(root: Path, tmp_path: Path, seed: int, group: str | None) -> None:
    keys: dict[str, Any] = {"root": root, "group": group, "split_seed": seed}
    before = splits(read_source(DataConfig(**keys)), root)
    assert set(before.values()) == {"train", "val", "test"}
    for photo in some_photos(root, seed):
        relabel = table(tmp_path, {photo: another(photo)})
        after = read_source(DataConfig(**keys, relabel=relabel))
        assert splits(after, root) == before
        assert class_of(after, root, photo) == another(photo)


@pytest.mark.parametrize("group", [None, GROUPS])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_corrected_label_moves_no_photo_to_another_fold(
    root: Path, tmp_path: Path, seed: int, group: str | None
) -> None:
    config = DataConfig(root=root, group=group, split_seed=seed)
    before = [splits(source, root) for source in read_folds(config, 3)]
    for photo in some_photos(root, seed):
        relabel = table(tmp_path, {photo: another(photo)})
        after = read_folds(config.model_copy(update={"relabel": relabel}), 3)
        assert [splits(source, root) for source in after] == before
        assert {class_of(source, root, photo) for source in after} == {another(photo)}


@pytest.mark.parametrize("group", [None, GROUPS])
def test_many_corrections_move_no_photo_and_leaving_out_neither(root: Path, tmp_path: Path, group: str | None) -> None:
    first, *rest = some_photos(root, 7)
    relabel = table(tmp_path, {photo: another(photo) for photo in rest} | {first: "-"})
    config = DataConfig(root=root, group=group)
    corrected = config.model_copy(update={"relabel": relabel})
    before = splits(read_source(config), root)
    assert splits(read_source(corrected), root) == {photo: split for photo, split in before.items() if photo != first}
    for own, same in zip(read_folds(config, 4), read_folds(corrected, 4), strict=True):
        assert splits(same, root) == {photo: split for photo, split in splits(own, root).items() if photo != first}


@pytest.mark.parametrize("group", [None, GROUPS])
def test_corrections_from_and_to_unknown_classes_move_no_other_photo(
    root: Path, tmp_path: Path, group: str | None
) -> None:
    config = DataConfig(root=root, group=group, unknown_classes=["tern"])
    photos = [photo for seed in range(3) for photo in some_photos(root, seed)]
    of_tern = [photo for photo in photos if photo.startswith("tern/")]
    of_gull = [photo for photo in photos if photo.startswith("gull/")]
    assert of_tern and of_gull
    relabel = table(tmp_path, dict.fromkeys(of_tern, "auk") | dict.fromkeys(of_gull, "tern"))
    before = splits(read_source(config), root)
    after = read_source(config.model_copy(update={"relabel": relabel}))
    known = splits(after, root)
    assert {photo: known.get(photo) for photo in before if photo not in of_gull} == {
        photo: split for photo, split in before.items() if photo not in of_gull
    }
    assert known.keys() == before.keys() - set(of_gull) | set(of_tern)
    assert {class_of(after, root, photo) for photo in of_tern} == {"auk"}
    unknown = {Path(photo.name).relative_to(root).as_posix() for photo in after.unknown}
    assert set(of_gull) <= unknown and not unknown & known.keys()
    assert {photo.label for photo in after.unknown} == {-1}
    folded = read_folds(config.model_copy(update={"relabel": relabel}), 3)
    tested = [photo for source in folded for photo, split in splits(source, root).items() if split == "test"]
    assert sorted(tested) == sorted(known)


def test_a_photo_of_an_unknown_class_that_becomes_known_stays_with_its_copies(tmp_path: Path) -> None:
    for name in CLASSES:
        for number in range(12):
            write_photo(tmp_path / "birds" / name / f"{number}.png", GREY, (9, 9))
    root = tmp_path / "birds"
    for number in range(12):
        (root / "tern" / f"copy_{number}.png").write_bytes((root / "auk" / f"{number}.png").read_bytes())
    relabel = table(tmp_path, {f"tern/copy_{number}.png": "auk" for number in range(12)})
    config = DataConfig(root=root, unknown_classes=["tern"], relabel=relabel, test_fraction=0.4)
    for source in (read_source(config), *read_folds(config, 3)):
        own = splits(source, root)
        assert all(own[f"tern/copy_{number}.png"] == own[f"auk/{number}.png"] for number in range(12))


def test_a_class_of_which_corrections_leave_no_train_photo_is_named_with_another_cut(tmp_path: Path) -> None:
    root = tmp_path / "birds"
    for name, photos in (("auk", 9), ("gull", 9), ("tern", 2)):
        for number in range(photos):
            write_photo(root / name / f"{number}.png", GREY, (9, 9))
    before = splits(read_source(DataConfig(root=root)), root)
    (trained,) = (photo for photo in before if photo.startswith("tern/") and before[photo] == "train")
    said = mistake(root=root, relabel=table(tmp_path, {trained: "gull"}))
    assert "no train photos of 'tern'. Other splits have photos of 'tern'. Another data.split_seed cuts" in said


def test_a_class_may_have_corrected_photos_alone(root: Path, tmp_path: Path) -> None:
    """Its only own photo is left out, and the others are in the splits of their former class."""
    other = tmp_path / "birds"
    for path in root.rglob("*.png"):
        write_photo(other / path.relative_to(root), GREY, (9, 9))
    write_photo(other / "puffin" / "0.png", GREY, (9, 9))
    moved = [f"auk/{path.name}" for path in sorted((other / "auk").glob("*.png"))[:8]]
    labels = dict.fromkeys(moved, "puffin") | {"puffin/0.png": "-"}
    before = splits(read_source(DataConfig(root=other)), other)
    after = read_source(DataConfig(root=other, relabel=table(tmp_path, labels)))
    assert splits(after, other) == {photo: split for photo, split in before.items() if photo != "puffin/0.png"}
    folds = read_folds(DataConfig(root=other, relabel=table(tmp_path, labels)), 2)
    assert [class_of(source, other, moved[0]) for source in folds] == ["puffin"] * 2


def test_too_few_photos_for_the_folds_are_named_by_the_corrected_labels(tmp_path: Path) -> None:
    root = tmp_path / "birds"
    for name in ("auk", "gull"):
        for number in range(5):
            write_photo(root / name / f"{number}.png", GREY, (9, 9))
    relabel = table(tmp_path, {"auk/0.png": "gull"})
    with pytest.raises(UserError, match=r"5 folds need at least 5 different photos.*'auk' \(4\)"):
        read_folds(DataConfig(root=root, relabel=relabel), 5)
    assert len(read_folds(DataConfig(root=root, relabel=relabel), 4)) == 4


@pytest.mark.parametrize("fraction", [0.05, 0.3])
def test_a_fraction_keeps_its_photos_when_a_label_is_corrected(root: Path, tmp_path: Path, fraction: float) -> None:
    config = DataConfig(root=root, fraction=fraction)
    before = splits(read_source(config), root)
    for photo in some_photos(root, 3):
        after = splits(
            read_source(config.model_copy(update={"relabel": table(tmp_path, {photo: another(photo)})})), root
        )
        assert before.items() <= after.items() and len(after) <= len(before) + 1


def test_the_data_is_listed_with_the_corrected_labels_and_without_unknown_ones(root: Path, tmp_path: Path) -> None:
    photo = some_photos(root, 1)[0]
    relabel = table(tmp_path, {photo: another(photo)})
    source = list_source(DataConfig(root=root, relabel=relabel, unknown_classes=[another(photo)]))
    assert str(root / photo) not in {each.name for own in source.splits.values() for each in own}
    assert str(root / photo) in {each.name for each in source.unknown}
