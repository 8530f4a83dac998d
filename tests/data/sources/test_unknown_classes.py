"""Classes that a model doesn't get to know (`data.unknown_classes`)."""

from pathlib import Path

import pytest

from clan_tf.config import DataConfig
from clan_tf.data import list_source, read_source
from clan_tf.errors import UserError


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
        (["grün", "red bird"], r"has one class \('blue, small'\)"),
    ],
)
def test_an_unknown_class_must_be_there_and_two_must_remain(
    unknown: list[str], message: str, colour_folders: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_source(config(colour_folders, *unknown))
