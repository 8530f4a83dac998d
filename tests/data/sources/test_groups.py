"""Photos that belong together (`data.group`) stay on one side of every cut; each mistake has its message."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from clan_tf.config import DataConfig
from clan_tf.data import Photo, Source, read_source, survey_source
from clan_tf.data.sources.cutting import cut, with_test, with_validation
from helpers.data_check import encoded, picture
from helpers.photos import write_photo
from helpers.sources import GREY, mistake, write_lines


def herd(label: int, sizes: Sequence[int]) -> list[Photo]:
    """Photos of one class, in groups of the given sizes; the content of each is its name."""
    return [
        Photo(name, label, name.encode(), group=f"{label}-{number}")
        for number, size in enumerate(sizes)
        for name in [f"{label}/{number}_{index}" for index in range(size)]
    ]


def groups_of(photos: Sequence[Photo]) -> set[str | None]:
    return {photo.group for photo in photos}


def share_by_label(part: Sequence[Photo], photos: Sequence[Photo]) -> list[float]:
    taken, total = (Counter(photo.label for photo in own) for own in (part, photos))
    return [taken[label] / total[label] for label in sorted(total)]


@pytest.mark.parametrize("seed", range(8))
def test_no_group_is_on_two_sides_and_every_class_is_on_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    photos = [photo for label in range(6) for photo in herd(label, rng.integers(1, 9, 14))]
    source = with_test(Source(tuple("abcdef"), {"train": photos}, is_uncut=True), 0.2, seed)
    source = with_validation(source, 0.2, seed)
    sides = [groups_of(source.splits[split]) for split in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6 * 14
    assert all({photo.label for photo in own} == set(range(6)) for own in source.splits.values())
    assert sum(map(len, source.splits.values())) == len(photos) and not source.notes


def test_groups_are_cut_to_about_the_fraction_of_every_class() -> None:
    photos = [photo for label in range(10) for photo in herd(label, [4] * 50)]
    for fraction in (0.1, 0.2, 0.5):
        _, taken = cut(photos, fraction, seed=0)
        # A group is 2 % of its class, so that the nearest whole number of groups is at most 1 % away.
        assert share_by_label(taken, photos) == pytest.approx([fraction] * 10, abs=0.01)


def test_groups_across_classes_are_cut_to_about_the_fraction_too() -> None:
    rng = np.random.default_rng(0)
    photos = [Photo(f"{n}", int(rng.integers(5)), f"{n}".encode(), group=f"{rng.integers(80)}") for n in range(2000)]
    for seed in range(4):
        stay, taken = cut(photos, 0.2, seed)
        assert groups_of(stay).isdisjoint(groups_of(taken))
        assert share_by_label(taken, photos) == pytest.approx([0.2] * 5, abs=0.06)


def test_a_cut_of_groups_depends_on_its_seed_and_not_on_the_order_of_the_photos() -> None:
    photos = [photo for label in range(3) for photo in herd(label, [3, 1, 4, 1, 5, 2, 6])]
    shuffled = [photos[index] for index in np.random.default_rng(1).permutation(len(photos))]
    cuts = [{photo.name for photo in cut(photos, 0.3, seed)[1]} for seed in range(5)]
    assert cuts[2] == {photo.name for photo in cut(shuffled, 0.3, 2)[1]}
    assert len(set(map(frozenset, cuts))) > 1


def test_copies_of_the_same_bytes_join_their_groups() -> None:
    for seed in range(20):
        photos = [photo for label in range(2) for photo in herd(label, [2] * 10)]
        photos += [Photo("a", 0, b"same", group="0-0"), Photo("b", 1, b"same", group="1-3"), Photo("c", 0, b"same")]
        stay, taken = cut(photos, 0.3, seed)
        joined = {photo.name for photo in photos if photo.group in ("0-0", "1-3") or photo.content == b"same"}
        assert joined <= {photo.name for photo in stay} or joined <= {photo.name for photo in taken}
        assert {photo.content for photo in stay}.isdisjoint(photo.content for photo in taken)


def test_a_class_of_two_groups_has_one_on_either_side_however_small_the_fraction() -> None:
    photos = herd(0, [5, 30]) + herd(1, [2] * 20)
    stay, taken = cut(photos, 0.02, seed=0)
    assert {photo.group for photo in taken if photo.label == 0} == {"0-0"}
    assert {photo.label for photo in stay} == {photo.label for photo in taken} == {0, 1}


def test_a_class_in_one_group_stays_in_train_and_a_note_counts_its_photos() -> None:
    photos = herd(0, [3] * 10) + herd(1, [7])
    source = with_test(Source(("gull", "tern"), {"train": photos}, is_uncut=True), 0.3, seed=1)
    assert {photo.label for photo in source.splits["test"]} == {0}
    (note,) = source.notes
    assert "no test photo could be cut of 'tern', whose 7 photos are all in train" in note


@pytest.fixture
def burst_folders(tmp_path: Path) -> Path:
    """Two classes of eight bursts of three photos each, `CLASS/BURST_NUMBER.jpg`, and a photo of its own in one."""
    for name in ("grün", "tern"):
        for burst in range(8):
            for number in range(3):
                write_photo(tmp_path / name / f"{name[0]}{burst}_{number}.jpg", GREY)
    write_photo(tmp_path / "tern" / "alone.jpg", GREY)
    return tmp_path


def bursts(source: Source, split: str) -> set[str]:
    return {Path(photo.name).stem.split("_")[0] for photo in source.splits[split]}


@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_the_path_names_the_group(burst_folders: Path, seed: int) -> None:
    source = read_source(DataConfig(root=burst_folders, group=r"path:^[^/]+/(\w+)_\d+", split_seed=seed))
    train, val, test = (bursts(source, split) for split in ("train", "val", "test"))
    assert train | val | test == {f"{letter}{n}" for letter in "gt" for n in range(8)} | {"alone"}
    assert not train & val and not train & test and not val & test
    assert any("1 of 49 photos match nothing (such as 'tern/alone.jpg')" in note for note in source.notes)
    assert any("16 groups of several photos hold 48 of 49 photos" in note for note in source.notes)


def test_without_groups_bursts_would_part(burst_folders: Path) -> None:
    source = read_source(DataConfig(root=burst_folders))
    assert bursts(source, "train") & (bursts(source, "test") | bursts(source, "val"))


def test_groups_that_change_nothing_are_told(burst_folders: Path) -> None:
    source = read_source(DataConfig(root=burst_folders, group="path:(.+)"))
    assert "data.group: changes nothing, because no two photos are in one group." in source.notes


def animals(tmp_path: Path, header: str, *cells: str, separator: str = ",") -> Path:
    """A table of two classes in turn, and the cells of a further column."""
    for index in range(len(cells)):
        write_photo(tmp_path / "photos" / f"{index:03d}.jpg", GREY)
    rows = [separator.join([f"photos/{i:03d}.jpg", f"bird {i % 2}", cell]) for i, cell in enumerate(cells)]
    write_lines(tmp_path / "photos.csv", separator.join(["path", "label", header]), *rows)
    return tmp_path / "photos.csv"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_column_of_the_table_names_the_group(tmp_path: Path, separator: str) -> None:
    cells = [f"{i % 2} Zoë {i // 8}" for i in range(40)]
    cells[3], cells[5] = "  ", ""
    table = animals(tmp_path, "animal", *cells, separator=separator)
    source = read_source(DataConfig(source="csv", csv=table, group="column:animal"))
    places: dict[str, set[str]] = {}
    for split, photos in source.splits.items():
        for photo in photos:
            cell = cells[int(Path(photo.name).stem)].strip()
            places.setdefault(cell or photo.name, set()).add(split)
    assert len(places) == 12 and all(len(splits) == 1 for splits in places.values())
    assert any("2 of 40 photos have nothing in the column 'animal'" in note for note in source.notes)


def test_two_spellings_of_a_cell_are_one_group(tmp_path: Path) -> None:
    cells = [("caf\u00e9", " cafe\u0301")[i % 2] if i < 8 else f"{i}" for i in range(20)]
    table = animals(tmp_path, "animal", *cells)
    source = survey_source(DataConfig(source="csv", csv=table, group="column:animal"))
    assert any("hold" in note and "8 of 20 photos; the largest is 'caf\u00e9'" in note for note in source.notes)


def test_near_copies_are_groups(tmp_path: Path) -> None:
    for name in ("gull", "tern"):
        (tmp_path / name).mkdir()
        for number in range(8):
            image = picture(number + 100 * (name == "tern"))
            for copy, quality in enumerate((95, 60)):
                (tmp_path / name / f"{number}_{copy}.jpg").write_bytes(encoded(image, quality=quality))
    (tmp_path / "tern" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    parted = 0
    for seed in range(4):
        config = DataConfig(root=tmp_path, split_seed=seed)
        for group in (None, "copies"):
            source = survey_source(config.model_copy(update={"group": group}))
            pictures = [
                {Path(photo.name).parent.name + Path(photo.name).name.split("_")[0] for photo in photos}
                for photos in source.splits.values()
            ]
            overlap = sum(map(len, pictures)) - len(set.union(*pictures))
            parted += overlap if group is None else 0
            assert group is None or overlap == 0
    assert parted  # by the cuts without groups
    assert any("16 groups of several photos hold 32 of 33 photos" in note for note in source.notes)


def test_official_splits_stay_and_groups_across_them_are_told(tmp_path: Path) -> None:
    for split, numbers in (("train", range(12)), ("test", range(10, 14))):
        for name in ("gull", "tern"):
            for number in numbers:
                write_photo(tmp_path / split / name / f"{name}{number}_{split}.jpg", GREY)
    config = DataConfig(root=tmp_path, group=r"path:(\w+)_")
    grouped, plain = read_source(config), read_source(config.model_copy(update={"group": None}))
    assert grouped.splits["test"] == plain.splits["test"]
    (note,) = [note for note in grouped.notes if "more than one" in note]
    assert "4 groups (8 photos) are in more than one of the data's own splits" in note
    assert "such as 'gull10' (1 train, 1 test)" in note or "such as 'gull10' (1 val, 1 test)" in note


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("animal", "must be column:NAME, path:REGEX or copies; received 'animal'"),
        ("copy", "Did you mean copies?"),
        ("copies:all", "must be column:NAME"),
        ("column:", "names no column"),
        ("column:label", "must name another column than path, label, split"),
        ("path:", "needs parentheses"),
        ("path:[a-z]+_", "needs parentheses"),
        ("path:(?:a)b", "needs parentheses"),
        ("path:([a-z+", "isn't a regular expression"),
        ("column:animal", "only the source csv has; the source is folders. Use path:REGEX or copies"),
    ],
)
def test_mistakes_in_the_key_are_told(group: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig(root="/photos", group=group)
    assert words in str(caught.value)


def test_an_unknown_or_empty_column_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    table = animals(tmp_path, "animal", *[" "] * 12)
    text = mistake(source="csv", csv=table, group="column:animals")
    assert "has no column 'animals'. Did you mean animal?" in text
    assert "Its columns are 'path', 'label', 'animal'." in text
    assert "the column 'animal' is empty in all 12 rows" in mistake(source="csv", csv=table, group="column:animal")


def test_an_expression_that_matches_no_photo_is_told_with_their_paths(burst_folders: Path) -> None:
    text = mistake(root=burst_folders, group=r"path:^/photos/(\w+)")
    assert "path:^/photos/(\\w+) matches none of 49 photos, whose paths are 'grün/g0_0.jpg'" in text


@pytest.mark.parametrize("group", ["path:(.)", "path:([^/]+)/"])
def test_groups_that_cannot_be_cut_keep_training_from_starting(burst_folders: Path, group: str) -> None:
    from clan_tf.config import load_experiment
    from clan_tf.data.check import training_problems

    experiment = load_experiment("demo", ["data.source=folders", f"data.root={burst_folders}"])
    config = experiment.data.model_copy(update={"group": group})
    (problem,) = training_problems(experiment.model_copy(update={"data": config}), survey_source(config))
    assert problem.startswith("data.group: leaves no validation photos") and "a class has 1 group at most" in problem
