"""Which photo was in which split of a run: a table that the run writes once, and that its photos are looked up in."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from clan_tf.config import DataConfig
from clan_tf.data import SPLITS, Photo, Source
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.sources import Box
from clan_tf.data.sources.cutting import with_digests
from clan_tf.data.sources.source import folder_of, relative_name
from clan_tf.errors import UserError
from clan_tf.files import read_rows, write_csv

USES = ("used", "skipped", "quarantined", "left out")
WAY_OUT = (
    "Put the run's own file back; or say whose data to use by --config CONFIG, whose test split may hold photos that "
    "the run was trained on."
)
"""What to do about a damaged table."""


class Row(NamedTuple):
    """One photo of a run.

    Attributes:
        split: `train`, `val` or `test`.
        label: index of its class.
        class_name: name of its class.
        photo: its name, relative to the folder of the data if it is inside it.
        box: the part of it that is used; `None` for all.
        digest: SHA-256 of the encoded photo, in hexadecimal; empty where it isn't known.
        use: `used`; `skipped`, because it can't be read; `quarantined`, by `data.relabel` too; or `left out` by
            `data.fraction`.
    """

    split: str
    label: int
    class_name: str
    photo: str
    box: Box | None
    digest: str
    use: str


COLUMNS = ("split", "label", "class", "photo", "box", "sha256", "use")


@dataclass(frozen=True)
class RunSplit:
    """The photos of a run, by split in the order of training.

    Attributes:
        rows: the photos.
        val_is_cut: whether its validation photos were cut from the data's train photos.
    """

    rows: tuple[Row, ...]
    val_is_cut: bool = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels; every class has train photos."""
        return tuple(name for _, name in sorted({row.label: row.class_name for row in self.rows}.items()))

    @property
    def used(self) -> list[Row]:
        """The photos that the run trained on, validated and was tested on."""
        return [row for row in self.rows if row.use == "used"]

    def fingerprint(self) -> str:
        """Computes the SHA-256 of the rows."""
        return hashlib.sha256(repr([tuple(row) for row in self.rows]).encode(errors="surrogateescape")).hexdigest()


def run_split(config: DataConfig, source: Source, checked: Mapping[str, CheckedPhotos]) -> RunSplit:
    """Returns what a run records: its checked photos, and those of the data that it doesn't use."""
    root = folder_of(config)

    def row(split: str, photo: Photo, digest: str | None, use: str) -> Row:
        return Row(
            split, photo.label, source.class_names[photo.label], key_of(photo, root), photo.box, digest or "", use
        )

    rows = []
    for split in sorted(checked, key=SPLITS.index):
        readable, digests = checked[split].photos, checked[split].digests
        rows += [row(split, photo, digest, "used") for photo, digest in zip(readable, digests, strict=True)]
        names = {photo.name for photo in readable}
        broken = [photo for photo in source.splits[split] if photo.name not in names]
        rows += [row(split, photo, photo.digest, "skipped") for photo in broken]
    for use, splits in source.unused.items():
        rows += [row(split, photo, photo.digest, use) for split, photos in splits.items() for photo in photos]
    return RunSplit(tuple(rows), source.val_is_cut)


def write_split(path: Path, split: RunSplit) -> None:
    """Writes `splits.csv`."""
    write_csv(path, COLUMNS, [[*row[:4], _box_cell(row.box), *row[5:]] for row in split.rows])


def read_split(path: Path) -> RunSplit:
    """Reads what `write_split` wrote.

    Raises:
        UserError: if the file is damaged, saying how.
    """
    rows = []
    for number, cells in enumerate(read_rows(path, COLUMNS, WAY_OUT), start=1):
        try:
            rows.append(_row([cells[column] for column in COLUMNS]))
        except ValueError as error:
            raise damaged(path, f"row {number} isn't a photo of a run: {error}") from error
    split = RunSplit(tuple(rows))
    if {row.label for row in rows} != set(range(len(split.class_names))):
        raise damaged(path, "classes are missing")
    return split


def damaged(path: Path, reason: str) -> UserError:
    """Returns the error for a table that can't be used."""
    return UserError(f"{path}: is damaged ({reason}). {WAY_OUT}")


@dataclass(frozen=True)
class Match:
    """A run's photos in the data as it is now.

    Attributes:
        source: the run's classes, and those of its photos that were found, in the run's order and splits.
        rows: what the run recorded of them, by split and in the same order.
        new: names of photos that the run doesn't know.
        missing: the run's photos that weren't found.
        renamed: for missing photos the name under which the same content is now.
        relabelled: the run's photos that have another class now, and which.
        moved: the run's photos that are in another split of the data now, and in which.
        reboxed: the run's photos of which another part is used now.
    """

    source: Source
    rows: Mapping[str, Sequence[Row]]
    new: Sequence[Photo]
    missing: Sequence[Row]
    renamed: Mapping[str, str]
    relabelled: Sequence[tuple[Row, str]]
    moved: Sequence[tuple[Row, str]]
    reboxed: Sequence[Row]

    @property
    def found(self) -> int:
        """How many of the run's photos were found."""
        return sum(map(len, self.rows.values()))


def match(listing: Source, split: RunSplit, root: str | Path | None) -> Match:
    """Looks a run's photos up by name.

    Args:
        listing: the photos of the data as it is now, in whatever splits.
        split: what the run wrote.
        root: the folder of the data now.
    """
    now = {key_of(photo, root): (place, photo) for place, photos in listing.splits.items() for photo in photos}
    known = {row.photo for row in split.rows}
    new = [photo for key, (_, photo) in now.items() if key not in known]
    splits: dict[str, list[Photo]] = {row.split: [] for row in split.used}
    rows: dict[str, list[Row]] = {row.split: [] for row in split.used}
    missing, relabelled, moved, reboxed = [], [], [], []
    for row in split.used:
        if row.photo not in now:
            missing.append(row)
            continue
        place, photo = now[row.photo]
        splits[row.split].append(replace(photo, label=row.label))
        rows[row.split].append(row)
        if (class_name := listing.class_names[photo.label]) != row.class_name:
            relabelled.append((row, class_name))
        if place != row.split and not _was_cut(row.split, place, split, listing):
            moved.append((row, place))
        if photo.box != row.box:
            reboxed.append(row)
    source = replace(
        listing,
        class_names=split.class_names,
        splits=splits,
        problems=(),
        val_is_cut=listing.val_is_cut or ("val" in splits and not listing.splits.get("val")),
        unused={},
    )
    return Match(source, rows, new, missing, _renamed(missing, new, root), relabelled, moved, reboxed)


def changed(rows: Sequence[Row], checked: CheckedPhotos, root: str | Path | None) -> list[Row]:
    """Returns a run's photos in one split whose content has changed; excludes photos that can't be read."""
    digests = dict(zip((key_of(photo, root) for photo in checked.photos), checked.digests, strict=True))
    return [row for row in rows if row.photo in digests and digests[row.photo] != row.digest]


def key_of(photo: Photo, root: str | Path | None) -> str:
    """Returns a photo's name in `splits.csv`."""
    return relative_name(photo.name, root)


def counts_by_split(rows: Sequence[Row]) -> str:
    """Counts rows by split: `2 train, 1 test`."""
    counted = Counter(row.split for row in rows)
    return ", ".join(f"{counted[split]:,} {split}" for split in SPLITS if counted[split])


def _was_cut(name: str, place: str, split: RunSplit, listing: Source) -> bool:
    """Checks whether a photo of the run's split `name` is in the data's `place` because it was cut from there."""
    return place == "train" and (not listing.splits.get(name) or (name == "val" and split.val_is_cut))


def _renamed(missing: Sequence[Row], new: Sequence[Photo], root: str | Path | None) -> dict[str, str]:
    """Maps the names of missing photos to the new names of their content."""
    if not missing or not new:
        return {}
    names = {photo.digest: key_of(photo, root) for photo in with_digests(new)}
    return {row.photo: names[row.digest] for row in missing if row.digest and row.digest in names}


def _row(cells: Sequence[str]) -> Row:
    split, label, class_name, photo, box, digest, use = cells
    if split not in SPLITS:
        raise ValueError(f"split {split!r}")
    if use not in USES:
        raise ValueError(f"use {use!r}")
    if use == "used" and len(digest) != 64:
        raise ValueError(f"sha256 {digest!r}")
    sides = Box(*map(int, box.split(" "))) if box else None
    return Row(split, int(label), class_name, photo, sides, digest, use)


def _box_cell(box: Box | None) -> str:
    return " ".join(map(str, box)) if box else ""
