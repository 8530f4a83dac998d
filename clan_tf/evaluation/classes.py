"""The classes of a model, and those of the photos that it is evaluated on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clan_tf.data import Photo
from clan_tf.data.sources.by_name import classes_unknown_to, labelled_by_name
from clan_tf.data.sources.source import photo_of
from clan_tf.errors import UserError, listed
from clan_tf.run import RunData


def with_model_classes(path: Path, class_names: Sequence[str], data: RunData) -> RunData:
    """Returns the data with the labels of a model: classes are names, in whatever order, and some may have no photos.

    Args:
        path: the model's file.
        class_names: the model's classes.
        data: the data.

    Raises:
        UserError: if there are photos of classes that the model doesn't have.
    """
    unknown = classes_unknown_to(class_names, data.source)
    if unknown:
        meant = [name for name in class_names if _letters(name) == _letters(unknown[0])]
        hint = f" Is {unknown[0]!r} its {meant[0]!r}? Then rename it." if meant else ""
        raise UserError(
            f"{path}: has no class {listed(unknown)}, which photos of this data are of.{hint} Its "
            f"{len(class_names):,} classes are {listed(class_names)}. Leave photos of others out, for example by "
            "data.unknown_classes; or move them elsewhere, and give evaluate that folder: --unknown FOLDER."
        )
    return replace(data, source=labelled_by_name(data.source, class_names))


def without_photos(class_names: Sequence[str], photos: Sequence[Photo], data: RunData, split: str) -> str | None:
    """Returns a note on the model's classes of which a split of other data than the run's has no photos, if any."""
    present = {photo.label for photo in photos}
    missing = [name for label, name in enumerate(class_names) if label not in present]
    if data.match or not missing:
        return None
    return (
        f"no {photo_of(split)} of this data is of {len(missing):,} of the model's {len(class_names):,} classes: "
        f"{listed(missing)}"
    )


def _letters(name: str) -> str:
    """Returns the letters and digits of a name, without case: another spelling, such as `Red_bird`, has the same."""
    return "".join(character for character in name.casefold() if character.isalnum())
