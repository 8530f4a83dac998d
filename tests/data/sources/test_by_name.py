"""Classes of a data set are those of a model by name, whatever their order."""

import unicodedata

from clan_tf.data import Photo, Source
from clan_tf.data.sources.by_name import classes_unknown_to, labelled_by_name

SOURCE = Source(
    ("ash", "grün", "oak", "empty"),
    {"train": [Photo("1", 2), Photo("2", 0)], "test": [Photo("3", 1), Photo("4", 2)]},
    unused={"quarantined": {"train": [Photo("5", 3)]}},
    unknown=[Photo("6", -1)],
)


def names(source: Source) -> dict[str, str]:
    return {photo.name: source.class_names[photo.label] for own in source.splits.values() for photo in own}


def test_each_photo_keeps_its_class_in_another_order_and_beside_further_classes() -> None:
    model = ["oak", "birch", "grün", "ash"]
    source = labelled_by_name(SOURCE, model)
    assert source.class_names == tuple(model) and names(source) == names(SOURCE)
    assert {split: [photo.label for photo in own] for split, own in source.splits.items()} == {
        "train": [0, 3],
        "test": [2, 0],
    }
    assert [photo.label for photo in source.unknown] == [-1] and not source.unused
    assert labelled_by_name(source, model) is source


def test_names_count_as_they_are_seen() -> None:
    model = ["oak ", unicodedata.normalize("NFD", "grün"), "ash"]
    assert classes_unknown_to(model, SOURCE) == []
    assert [photo.label for photo in labelled_by_name(SOURCE, model).splits["test"]] == [1, 0]


def test_only_classes_with_photos_have_to_be_known() -> None:
    assert classes_unknown_to(["oak", "ash"], SOURCE) == ["grün"]
    assert classes_unknown_to(["Oak"], SOURCE) == ["ash", "grün", "oak"]
