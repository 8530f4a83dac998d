"""The table of sources, and the steps common to all of them: corrected labels, cuts, quarantine, fractions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from clan_tf.config import SOURCES, DataConfig
from clan_tf.data.sources.aircraft import read_aircraft
from clan_tf.data.sources.cars import read_cars
from clan_tf.data.sources.class_names import case_notes
from clan_tf.data.sources.corrections import Corrected, with_corrections
from clan_tf.data.sources.csv_table import locate, read_csv
from clan_tf.data.sources.cub import read_cub
from clan_tf.data.sources.cutting import with_test, with_validation
from clan_tf.data.sources.folders import read_folders
from clan_tf.data.sources.folds import in_folds, without_splits
from clan_tf.data.sources.generated import read_generated
from clan_tf.data.sources.groups import divided_notes, with_groups
from clan_tf.data.sources.records import read_records, read_tfds
from clan_tf.data.sources.selection import (
    left_behind,
    quarantined_photos,
    take_fraction,
    without,
    without_classes,
    without_unknown,
)
from clan_tf.data.sources.source import Photo, Source, class_problems, every_photo, folder_of
from clan_tf.errors import UserError

SOURCE_READERS: dict[str, Callable[[DataConfig], Source]] = {
    "folders": read_folders,
    "csv": read_csv,
    "cub": read_cub,
    "cars": read_cars,
    "aircraft": read_aircraft,
    "tfds": read_tfds,
    "records": read_records,
    "generated": read_generated,
}
"""A reader gives the class names and the photos of the splits that the data has; `read_source` does the rest."""

CLASSES_ARE = {
    "folders": "Expected are a folder for each class, or train/ and test/ with a folder for each class.",
    "csv": "Expected are two different texts or more in the column label.",
}
"""How the classes of the sources that users lay out themselves are recognised."""


def read_source(config: DataConfig) -> Source:
    """Reads the photos that an experiment's `data` section names, with a validation split.

    Raises:
        UserError: saying what is wrong with them.
    """
    return _without_problems(survey_source(config))


def read_folds(config: DataConfig, folds: int) -> list[Source]:
    """Reads the photos of a `data` section once, and returns a source for each fold of a cross-validation.

    Raises:
        UserError: saying what is wrong with them.
    """
    corrected = _grouped(config)
    sources = in_folds(corrected.source, folds, config.split_seed)
    return [_without_problems(_completed(replace(corrected, source=source), config)) for source in sources]


def survey_source(config: DataConfig) -> Source:
    """Reads photos like `read_source`, but collects problems that only block training in `problems`."""
    corrected = _grouped(config)
    if config.folds and config.fold:
        source = in_folds(corrected.source, config.folds, config.split_seed)[config.fold - 1]
    else:
        source = with_test(corrected.source, config.test_fraction, config.split_seed)
    return _completed(replace(corrected, source=source), config)


def _grouped(config: DataConfig) -> Corrected:
    corrected = _listed(config)
    return replace(corrected, source=with_groups(corrected.source, config.group_rule, _folder(config)))


def _listed(config: DataConfig) -> Corrected:
    """Returns the photos in the data's own splits, with corrected labels, of the classes that a model gets to know.

    Those to leave out are still in its splits, quarantined ones among them.
    """
    corrected = with_corrections(_read(config), config)
    known = without_classes(corrected.source, config.unknown_classes, place_of(config))
    left_out = corrected.left_out | quarantined_photos(every_photo(known), config.quarantine, folder_of(config))
    unknown = [photo for photo in known.unknown if photo.name not in left_out]
    return replace(corrected, source=replace(known, unknown=unknown), left_out=left_out)


def _completed(corrected: Corrected, config: DataConfig) -> Source:
    """Returns a source that has its test split, if any, with validation photos and without those that aren't used."""
    # Photos that aren't used are removed last, so that every other photo stays in its split.
    source = with_validation(corrected.source, config.validation_fraction, config.split_seed)
    source = replace(source, splits=without_unknown(source.splits))
    clean = without(source.splits, corrected.left_out)
    taken = take_fraction(clean, config.fraction, config.split_seed)
    unused = {"quarantined": left_behind(source.splits, clean), "left out": left_behind(clean, taken)}
    source = replace(source, splits=taken, unused=unused)
    notes = (*source.notes, *case_notes(source.class_names), *divided_notes(source), *_notes_on_table(config))
    source = replace(source, notes=notes)
    named = "Name fewer data.unknown_classes." if config.unknown_classes else CLASSES_ARE.get(_kind(config), "")
    return replace(source, problems=class_problems(source, place_of(config), named))


def _notes_on_table(config: DataConfig) -> list[str]:
    if config.csv is None or config.source == "csv":
        return []
    return [f"data.csv: {config.csv} isn't read, because data.source is {config.source}; data.source=csv reads it."]


def _without_problems(source: Source) -> Source:
    if source.problems:
        raise UserError("\n".join(source.problems))
    return source


def list_source(config: DataConfig) -> Source:
    """Lists all photos of the data in the splits that it has itself, with corrected labels (`data.relabel`).

    Nothing is grouped, cut, quarantined or left out. Photos that `data.folds` divides are all in train.

    Raises:
        UserError: if the data can't be read.
    """
    source = _listed(config.model_copy(update={"group": None, "quarantine": None})).source
    source = replace(source, splits=without_unknown(source.splits))
    return without_splits(source) if config.folds else source


def regrouped(photos: Sequence[Photo], config: DataConfig) -> Sequence[Photo]:
    """Returns photos that `list_source` listed with their groups by `data.group`.

    Near copies (`copies`) are looked for among these photos alone, which decodes each once.

    Raises:
        UserError: if none of them has a group, or the table no longer has the column.
    """
    if config.group_rule and config.group_rule.kind == "column":
        groups = {photo.name: photo.group for own in read_csv(config).splits.values() for photo in own}
        photos = [replace(photo, group=groups.get(photo.name)) for photo in photos]
    return with_groups(Source((), {"": photos}), config.group_rule, _folder(config)).splits[""]


def place_of(config: DataConfig) -> str:
    """Returns the key that names the data, and its path: `data.root: /photos`."""
    if _kind(config) == "csv":
        return f"data.csv: {locate(config)[0]}"
    return f"data.root: {config.root or config.source}"


def _read(config: DataConfig) -> Source:
    facts = SOURCES.get(config.source)  # `tfds:NAME` stands for every data set of TFDS
    if config.crop_to_box and facts and not facts.boxes:
        raise UserError(f"data.crop_to_box: the source {_kind(config)!r} has no boxes. Set it to false.")
    try:
        return SOURCE_READERS[_kind(config)](config)
    except OSError as error:
        unread = error.filename or config.root or config.source
        reason = error.strerror or error
        raise UserError(f"{unread}: can't be read: {reason}. Mend that, or name other data by data.root.") from error


def _folder(config: DataConfig) -> Path | str | None:
    """Returns the folder that the paths of photos are below."""
    return locate(config)[1] if _kind(config) == "csv" else config.root


def _kind(config: DataConfig) -> str:
    return config.source.partition(":")[0]
