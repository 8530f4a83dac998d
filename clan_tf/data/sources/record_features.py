"""Which features of a TFDS data set are the photo, its label and its names."""

from collections.abc import Iterable, Mapping
from typing import Any

from clan_tf.data.sources.shards import Features, Record
from clan_tf.errors import UserError

NAME_FEATURES = ("name", "image/filename", "file_name", "filename", "image_id", "id")
"""Features that name a photo in the data sets of TFDS; the first one present is used."""


def find_features(info: Any, with_box: bool) -> Features:
    """Finds the features to read: by `supervised_keys`, by their usual names, or the only one of its kind.

    Args:
        info: TFDS' `DatasetInfo`.
        with_box: whether each photo's box is needed.

    Raises:
        UserError: if there isn't exactly one image, one class label and, where needed, one box.
    """
    from tensorflow_datasets import features as kinds

    features = dict(info.features.items()) if isinstance(info.features, kinds.FeaturesDict) else {}
    label = _choose(info, features, kinds.ClassLabel, "label")
    texts = [name for name, feature in features.items() if isinstance(feature, kinds.Text)]
    return Features(
        image=_choose(info, features, kinds.Image, "image"),
        label=label,
        photo_name=next((name for name in NAME_FEATURES if name in texts), None),
        class_name=f"{label}_name" if f"{label}_name" in texts else None,
        box=_choose(info, features, kinds.BBoxFeature, "bbox") if with_box else None,
    )


def _choose(info: Any, features: Mapping[str, Any], kind: type, usual_name: str) -> str:
    names = [name for name, feature in features.items() if isinstance(feature, kind)]
    for name in [*(info.supervised_keys or ()), usual_name]:
        if isinstance(name, str) and name in names:
            return name
    if len(names) == 1:
        return names[0]
    raise UserError(
        f"data.source: {info.full_name} must have one {kind.__name__} for each photo; it has "
        f"{', '.join(names) or 'none'} among its features {', '.join(features)}."
    )


def class_names(info: Any, features: Features, records: Iterable[Record]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of the classes, and notes on them.

    Where the label has only numbers, the names come from the records, if these name every class.
    """
    names = info.features[features.label].names
    if names != [str(number) for number in range(len(names))]:
        return tuple(names), ()
    found = {record.label: record.class_name for record in records}
    repaired = tuple(found.get(label) or "" for label in range(len(names)))
    if all(repaired) and len(set(repaired)) == len(names):
        return repaired, ()
    return tuple(names), (f"{info.full_name} has no class names; the classes are numbers.",)
