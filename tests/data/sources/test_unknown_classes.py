"""Classes that a model doesn't get to know (`data.unknown_classes`)."""

import unicodedata
from pathlib import Path

import pytest

from clan_tf.config import DataConfig, load_experiment
from clan_tf.data import list_source, read_source
from clan_tf.data.check import check_data
from clan_tf.data.sources.source import every_photo
from clan_tf.errors import UserError
from clan_tf.progress import Progress
from clan_tf.training.training_data import prepare_data
from helpers import TINY_DEMO
from helpers.photos import write_photo


def config(root: Path, *unknown: str, **keys: object) -> DataConfig:
    return DataConfig(source="folders", root=str(root), unknown_classes=list(unknown), validation_fraction=0.25, **keys)


def test_unknown_photos_are_in_no_split_and_the_other_classes_keep_theirs(colour_folders: Path) -> None:
    everything = read_source(config(colour_folders))
    source = read_source(config(colour_folders, "grün"))
    assert source.class_names == ("blue, small", "red bird")
    assert len(source.unknown) == 17 and {Path(photo.name).parent.name for photo in source.unknown} == {"grün"}
    for split, photos in source.splits.items():
        before = [photo for photo in everything.splits[split] if everything.class_names[photo.label] != "grün"]
        assert [photo.name for photo in photos] == [photo.name for photo in before]
        assert all(source.class_names[photo.label] == Path(photo.name).parent.name for photo in photos)
    assert "17 photos of data.unknown_classes ('grün') are in no split." in source.notes
    assert list_source(config(colour_folders, "grün")).class_names == source.class_names


@pytest.mark.parametrize(
    ("unknown", "message"),
    [
        (["grun"], r"data\.unknown_classes: there is no class 'grun' \(data\.root: .*\)\. Did you mean grün\?"),
        (["grün", "red bird"], r"has one class \('blue, small'\);.* at least two. Name fewer data\.unknown_classes"),
    ],
)
def test_an_unknown_class_must_be_there_and_two_must_remain(
    unknown: list[str], message: str, colour_folders: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_source(config(colour_folders, *unknown))


def test_photos_that_are_quarantined_or_left_out_are_among_no_photos_at_all(
    colour_folders: Path, tmp_path: Path
) -> None:
    """Of an unknown class, of one that stays, and of the test split that folds leave out."""
    unknown, left_out = "train/grün/0.jpg", "train/grün/1.jpg"
    known, tested = "train/red bird/2.jpg", "test/red bird/0.jpg"
    (tmp_path / "bad.txt").write_text(f"{unknown}\n{known}\n{tested}\n{left_out}\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text(f"photo,label\n{left_out},-\ntrain/red bird/3.jpg,-\n", encoding="utf-8")
    tables = {"quarantine": tmp_path / "bad.txt", "relabel": tmp_path / "labels.csv"}
    for keys in ({}, {"folds": 3, "fold": 1}):
        source = read_source(config(colour_folders, "grün", **tables, **keys))
        names = {Path(photo.name).relative_to(colour_folders).as_posix() for photo in every_photo(source)}
        assert names.isdisjoint({unknown, left_out, known, tested, "train/red bird/3.jpg"})
        assert len(source.unknown) == 15
    (tmp_path / "bad.txt").write_text("train/red bird/99.jpg\n", encoding="utf-8")
    with pytest.raises(UserError, match="names 1 photo that the data doesn't have"):
        read_source(config(colour_folders, "grün", **tables))


def test_names_are_compared_as_they_are_written_elsewhere(colour_folders: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "grün")
    source = read_source(config(colour_folders, decomposed, decomposed))
    assert "grün" not in source.class_names and "('grün')" in source.notes[-1]
    with pytest.raises(UserError, match=r"data\.unknown_classes: leaves 0 of 3 classes"):
        read_source(config(colour_folders, "grün", "red bird", "blue, small"))


def test_unknown_photos_that_cannot_be_read_stop_the_check_before_training(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        for index in range(4):
            write_photo(tmp_path / name / f"{index}.png", (10 * index, 90, 90))
    (tmp_path / "c" / "1.png").write_bytes(b"no photo")
    experiment = load_experiment(
        TINY_DEMO, [f"data={{source: folders, root: {tmp_path}, unknown_classes: [c], image_size: 32}}"]
    )
    source = read_source(experiment.data)
    with pytest.raises(UserError, match=r"(?s)1 photo can't be read:.*unknown: .*c/1\.png"):
        prepare_data(experiment, source, Progress())
    assert [entry["path"] for entry in check_data(source).broken] == [str(tmp_path / "c" / "1.png")]
