"""TFDS data sets, by name or as the folder that `clan-tf data pack` wrote: photos are read in place."""

from collections.abc import Mapping, Sequence
from itertools import chain

from clan_tf.config import DataConfig
from clan_tf.data.sources.pack_facts import PackFacts
from clan_tf.data.sources.record_features import class_names, find_features
from clan_tf.data.sources.shards import Features, Record, read_shard
from clan_tf.data.sources.source import Photo, Source, require_folder
from clan_tf.data.sources.tfds_builders import Prepared, open_folder, open_named
from clan_tf.errors import UserError

SPLIT_NAMES = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
UNLABELLED = -1
"""The label that TFDS gives to photos without one."""


def read_tfds(config: DataConfig) -> Source:
    """Reads `tfds:NAME`: a labelled data set that TFDS has prepared in `data.root` or in `TFDS_DATA_DIR`.

    Without a labelled test split the validation split is the test split, as is usual; without either the test photos
    are cut from train by a seeded stratified split.

    Raises:
        UserError: if it isn't prepared, its files are damaged, or its photos don't have one label each.
    """
    return _read(open_named(config.source.removeprefix("tfds:"), config.root), config)


def read_records(config: DataConfig) -> Source:
    """Reads the folder that `clan-tf data pack` wrote, with its splits; or the version folder of any TFDS data set.

    Raises:
        UserError: as `read_tfds`.
    """
    if config.root and "://" in config.root:
        return _read(open_folder(config.root), config)
    return _read(open_folder(str(require_folder(config.root, "records"))), config)


def _read(prepared: Prepared, config: DataConfig) -> Source:
    info = prepared.info
    pack = PackFacts.from_metadata(prepared.metadata, prepared.folder)
    features = find_features(info, with_box=config.crop_to_box and pack is None)
    records = {
        name: _records(prepared.shards(split), split.shard_lengths, features)
        for name, split in info.splits.items()
        if name in SPLIT_NAMES
    }
    if pack:
        splits = {split: _photos(found, len(pack.class_names), "") for split, found in records.items()}
        return Source(tuple(pack.class_names), splits, pack.notes(config), val_is_cut=pack.val_is_cut)
    names, notes = class_names(info, features, chain.from_iterable(records.values()))
    labelled, split_notes = _labelled(records, sorted(set(info.splits) - SPLIT_NAMES.keys()))
    splits = {SPLIT_NAMES[name]: _photos(found, len(names), f"{name}/") for name, found in labelled.items()}
    if not splits.get("train"):
        raise UserError(f"data.source: {info.full_name} has no split 'train'; it has {', '.join(info.splits)}.")
    splits, test_notes = _with_test(splits)
    return Source(names, splits, notes + split_notes + test_notes, is_uncut="test" not in splits)


def _records(shards: Sequence[str], lengths: Sequence[int], features: Features) -> list[Record]:
    """Reads the records of a split's shards; each must have as many as TFDS wrote."""
    records: list[Record] = []
    for file, expected in zip(shards, lengths, strict=True):
        before = len(records)
        records += read_shard(file, features)
        if len(records) - before != expected:
            raise UserError(f"{file}: has {len(records) - before} records instead of {expected}. Copy it again.")
    return records


def _photos(records: Sequence[Record], classes: int, prefix: str) -> list[Photo]:
    """Names photos as the data set does, if its names are unique, or numbers them."""
    named = len({record.photo_name for record in records}) == len(records) and all(r.photo_name for r in records)
    photos = []
    for number, record in enumerate(records):
        if not 0 <= record.label < classes:
            raise UserError(f"{record.span.file}: has the label {record.label}; labels are 0 to {classes - 1}.")
        name = record.photo_name if named else f"{number:06d}"
        photos.append(Photo(prefix + name, record.label, span=record.span, box=record.box))
    return photos


def _labelled(
    records: Mapping[str, Sequence[Record]], unused: Sequence[str]
) -> tuple[dict[str, Sequence[Record]], tuple[str, ...]]:
    """Returns the splits with labels, and notes on the others and on the `unused`."""
    labelled = {name: found for name, found in records.items() if any(record.label != UNLABELLED for record in found)}
    notes = [f"The split {name!r} has no labelled photos, and isn't used." for name in records if name not in labelled]
    notes += [f"The split {name!r} isn't used." for name in unused]
    return labelled, tuple(notes)


def _with_test(splits: dict[str, list[Photo]]) -> tuple[dict[str, list[Photo]], tuple[str, ...]]:
    """Returns the splits including one to test on, if there is one, and a note where the data doesn't name it so."""
    if "test" in splits:
        return splits, ()
    if "val" in splits:
        note = "There is no labelled test split: the validation split is the test split, as is usual for such data."
        return {"train": splits["train"], "test": splits["val"]}, (note,)
    return splits, ("There is only one split: the test photos are cut from it by data.split_seed.",)
