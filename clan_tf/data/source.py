"""What every source of photos fills: class names, and the photos of each split."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clan_tf.errors import UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Photo:
    """One labelled photo.

    Attributes:
        name: its path, or any unique name where `content` is given.
        label: index of its class.
        content: the encoded photo, where it isn't a file.
    """

    name: str
    label: int
    content: bytes | None = None


@dataclass(frozen=True)
class Source:
    """A data set: the class names in the order of the labels, and the photos by split (`train`, `val`, `test`)."""

    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Photo]]

    def photos(self, split: str) -> Sequence[Photo]:
        """The photos of a split; a `UserError` where there are none."""
        if not self.splits.get(split):
            existing = ", ".join(name for name in SPLITS if self.splits.get(name))
            raise UserError(f"The data has no photos in the split {split!r}. Splits with photos: {existing}.")
        return self.splits[split]

    def fingerprint(self) -> str:
        """SHA-256 of the file list: split, name and label of every photo, without the folders above the data."""
        digest = hashlib.sha256()
        names = [photo.name for photos in self.splits.values() for photo in photos]
        prefix = len(_common_folder(names))
        for split in sorted(self.splits):
            for photo in sorted(self.splits[split], key=lambda photo: photo.name):
                digest.update(f"{split}\t{photo.name[prefix:]}\t{photo.label}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def cut(photos: Sequence[Photo], fraction: float, seed: int) -> tuple[list[Photo], list[Photo]]:
    """Cuts off a stratified part: about `fraction` of every class, chosen by `seed`.

    A class of two or more photos has at least one on either side; a single photo stays in the first part.

    Returns:
        The photos that stay, and those cut off, both in their given order.
    """
    chosen: set[int] = set()
    for label in sorted({photo.label for photo in photos}):
        members = [index for index, photo in enumerate(photos) if photo.label == label]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        order = np.random.default_rng([seed, label]).permutation(len(members))
        chosen.update(members[position] for position in order[:count])
    stay = [photo for index, photo in enumerate(photos) if index not in chosen]
    return stay, [photos[index] for index in sorted(chosen)]


def with_validation(splits: Mapping[str, Sequence[Photo]], fraction: float, seed: int) -> dict[str, Sequence[Photo]]:
    """The splits with a validation split cut from train, unless there is one: test photos choose nothing."""
    if splits.get("val"):
        return dict(splits)
    train, validation = cut(splits["train"], fraction, seed)
    return {**splits, "train": train, "val": validation}


def require_folder(root: Path | None, source: str) -> Path:
    """`root`, absolute; a `UserError` unless it is a folder."""
    if root is None:
        raise UserError(f"data.root: the source {source!r} needs the folder of the photos: --set data.root=FOLDER.")
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}.")
    return root.resolve()


def check_classes(source: Source, root: Path) -> Source:
    """The source, if there are two or more classes and train photos of each; a `UserError` otherwise."""
    if len(source.class_names) < 2:
        raise UserError(
            f"data.root: {root} has one class ({source.class_names[0]!r}); telling classes apart needs at least two. "
            "Expected are a folder for each class, or train/ and test/ with a folder for each class."
        )
    present = {photo.label for photo in source.splits["train"]}
    missing = [name for label, name in enumerate(source.class_names) if label not in present]
    if missing:
        raise UserError(f"data.root: {root} has no train photos of {_listed(missing)}.")
    return source


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + rest


def _common_folder(names: Sequence[str]) -> str:
    if not names or not Path(names[0]).is_absolute():
        return ""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("/", 0, length) + 1]
