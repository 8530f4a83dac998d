"""What every source of photos provides: class names, and the photos of each split."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clan_tf.config import DataConfig
from clan_tf.data.sources.class_names import class_name_problems
from clan_tf.errors import UserError, listed
from clan_tf.photos.listing import LeftOut

SPLITS = ("train", "val", "test")
ALL = "all"
"""Names the photos of all splits, where one is chosen."""


class Box(NamedTuple):
    """The part of a photo that is used, in pixels of the photo as stored.

    `right` and `bottom` count from the left and upper edge or, where they are 0 or negative, from the right and lower
    edge: `Box(0, 0, 0, -20)` cuts off the lowest 20 rows.
    """

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


class Span(NamedTuple):
    """The position of an encoded photo inside a TFRecord file.

    `record` is where in `file` the record begins (its length field), in bytes; `offset` and `length` say which bytes
    of the record's data are the photo. TensorFlow reads a record at a given place natively, from any file system.
    """

    file: str
    record: int
    offset: int
    length: int


@dataclass(frozen=True)
class Photo:
    """One labelled photo: a file, a part of a file, or bytes.

    Attributes:
        name: its path, or any unique name where `content` or `span` is given.
        label: index of its class.
        content: the encoded photo, where it is in memory.
        span: its position, if it is part of a larger file.
        box: the part of it that is used; `None` for all.
        digest: SHA-256 of the encoded photo in hexadecimal, where it is known already.
        group: names the photos that are never cut apart from it (`data.group`); `None` if there are none.
        own_label: the label that the data has for it, if a user corrected it (`data.relabel`): -1 if it is one of
            `data.unknown_classes`. `None` for others.
    """

    name: str
    label: int
    content: bytes | None = None
    span: Span | None = None
    box: Box | None = None
    digest: str | None = field(default=None, compare=False)
    group: str | None = field(default=None, compare=False)
    own_label: int | None = field(default=None, compare=False)

    @property
    def cut_label(self) -> int:
        """The label by which splits are cut: the data's own, so that no other photo moves if it is corrected."""
        return self.label if self.own_label is None else self.own_label


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        class_names: in the order of the labels.
        splits: the photos of `train`, `val` and `test`.
        notes: what a user should know about it, such as counts that differ from the official ones.
        problems: what keeps training from starting.
        left_out: files and folders among the photos that aren't used, and why; from the sources that list folders.
        val_is_cut: whether the validation photos were cut at random from the data's train photos.
        is_uncut: whether the data has no splits, so that the test photos are still to be cut from train.
        unused: by reason (`quarantined`, `left out`) the photos of each split that the data has, but that aren't used.
        unknown: the photos of `data.unknown_classes`, of all splits, which have no label (-1).
        test_is_cut: whether the test photos were cut at random, because the data has no splits.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Photo]]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    val_is_cut: bool = False
    is_uncut: bool = False
    unused: Mapping[str, Mapping[str, Sequence[Photo]]] = field(default_factory=dict)
    unknown: Sequence[Photo] = ()
    test_is_cut: bool = False

    def photos(self, split: str) -> Sequence[Photo]:
        """Returns the photos of a split, or of `ALL`; a `UserError` where there are none."""
        photos = self.splits.get(split, ())
        if split == ALL:
            photos = [photo for name in SPLITS for photo in self.splits.get(name, ())]
        if not photos:
            existing = ", ".join(name for name in SPLITS if self.splits.get(name))
            raise UserError(f"The data has no photos in the split {split!r}. Splits with photos: {existing}.")
        return photos

    def fingerprint(self) -> str:
        """Computes the SHA-256 of each photo's split, name and label, without the folders above the data."""
        digest = hashlib.sha256()
        names = [photo.name for photos in self.splits.values() for photo in photos]
        prefix = len(_common_folder(names))
        for split in sorted(self.splits):
            for photo in sorted(self.splits[split], key=lambda photo: photo.name):
                digest.update(f"{split}\t{photo.name[prefix:]}\t{photo.label}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def photo_of(split: str) -> str:
    """Returns what to call a photo of a split: `test photo`, and just `photo` where it may be of any."""
    return "photo" if split == ALL else f"{split} photo"


def every_photo(source: Source) -> Iterator[Photo]:
    """Yields all photos of a source, unknown ones too."""
    for photos in source.splits.values():
        yield from photos
    yield from source.unknown


def members_by_label(labels: Sequence[int]) -> dict[int, list[int]]:
    """Returns the indices of each label's photos, labels in order."""
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    return dict(sorted(members.items()))


def shuffled_members(members: Sequence[int], seed: int, label: int) -> list[int]:
    """Returns one class's photos in an order that depends on `seed` and `label`."""
    return np.random.default_rng([seed, label]).permutation(members).tolist()


def relative_name(name: str, root: Path | str | None) -> str:
    """Returns a photo's name without the folder of the data, if it is inside it."""
    path = Path(name)
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else name


def folder_of(config: DataConfig) -> str | None:
    """Returns the folder that the names of photos are relative to."""
    return config.root or (str(config.csv.resolve().parent) if config.csv else None)


def require_folder(root: Path | str | None, source: str) -> Path:
    """Returns `root`, absolute; a `UserError` unless it is a folder."""
    if root is None:
        raise UserError(f"data.root: the source {source!r} needs the folder of the photos: --set data.root=FOLDER.")
    if not Path(root).is_dir():
        raise UserError(f"data.root: there is no folder {root}. Say where the photos are: --set data.root=FOLDER.")
    return Path(root).resolve()


def inside(root: Path, name: str, listed_in: Path) -> Path:
    """Returns the photo `name` below `root`; a `UserError` if it leaves `root`, by a link too, or doesn't exist."""
    if "\0" in name:
        raise UserError(f"{listed_in}: {name!r} is no path.")
    path = root / name
    if not _is_inside(path, root):
        link = _link_out_of(root, name)
        if link is None:
            raise UserError(f"{listed_in}: {name!r} leaves {root}.")
        raise UserError(
            f"{listed_in}: {name!r} leaves {root}, because {link} is a link to {os.path.realpath(link)}. Set data.root "
            "to where the photos are, or put the photos themselves there."
        )
    if path.is_dir():
        raise UserError(f"{listed_in}: {path} is a folder, not a photo.")
    if not path.is_file():
        raise UserError(f"{listed_in}: there is no {path}.")
    return path


def _is_inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _link_out_of(root: Path, name: str) -> Path | None:
    """Returns the link by which the path from `root` to `name` leaves `root`, if there is one."""
    ways = [root.joinpath(*Path(name).parts[:count]) for count in range(1, len(Path(name).parts) + 1)]
    left = next(way for way in ways if not _is_inside(way, root))
    return left if left.is_symlink() else None


def drawn_box(left: float, top: float, right: float, bottom: float, listed_in: Path | str) -> Box:
    """Returns an annotated box, whose sides count from the left and upper edge; a `UserError` if nothing is in it."""
    box = Box(round(left), round(top), round(right), round(bottom))
    if box.right <= max(box.left, 0) or box.bottom <= max(box.top, 0):
        raise UserError(f"{listed_in}: a box must be wider and higher than 0; received {(left, top, right, bottom)}.")
    return box


def official_counts(splits: Mapping[str, Sequence[Photo]], expected: Mapping[str, int]) -> tuple[str, ...]:
    """Returns notes on the splits whose number of photos isn't the official one."""
    return tuple(
        f"{split} has {len(splits.get(split, ()))} photos; the official {split} split has {count}."
        for split, count in expected.items()
        if len(splits.get(split, ())) != count
    )


def class_problems(source: Source, place: str, expected: str = "") -> tuple[str, ...]:
    """Returns what keeps training from starting: unusable names, only one class, classes without train photos.

    Args:
        source: the data.
        place: the key that names it, and its path.
        expected: how its classes are laid out, for a source with only one class.
    """
    if not source.class_names:
        return (f"{place} names no classes.",)
    return (*class_name_problems(source.class_names, place), *_class_count_problems(source, place, expected))


def _class_count_problems(source: Source, place: str, expected: str) -> tuple[str, ...]:
    if len(source.class_names) < 2:
        only = f"{place} has one class ({source.class_names[0]!r}); telling classes apart needs at least two."
        return (f"{only} {expected}".rstrip(),)
    missing = _without_photos(source, "train")
    if not missing:
        return ()
    nowhere = {*_without_photos(source, "val")} & {*_without_photos(source, "test")}
    elsewhere = [name for name in missing if name not in nowhere]
    hint = f" Other splits have photos of {listed(elsewhere)}." if elsewhere else ""
    if elsewhere and (source.test_is_cut or source.val_is_cut):
        hint += " Another data.split_seed cuts them otherwise."
    return (f"{place} has no train photos of {listed(missing)}.{hint} Add some, or leave such classes out.",)


def _without_photos(source: Source, split: str) -> list[str]:
    present = {photo.label for photo in source.splits.get(split, ())}
    return [name for label, name in enumerate(source.class_names) if label not in present]


def _common_folder(names: Sequence[str]) -> str:
    if not names or not Path(names[0]).is_absolute():
        return ""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("/", 0, length) + 1]
