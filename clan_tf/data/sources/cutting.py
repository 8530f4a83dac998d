"""Splits cut at random from the photos of another split: by a hash of each photo's content, whatever the others are."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from clan_tf.data.sources.content import read_content
from clan_tf.data.sources.source import Photo, Source
from clan_tf.errors import listed
from clan_tf.in_parallel import in_parallel

WAYS_OUT = (
    "Add photos (three different ones of a class or more); or give a folder val/ beside train/ with photos; or "
    "leave such classes out."
)
"""What to do with classes of one or two photos."""


def cut(photos: Sequence[Photo], fraction: float, seed: int, part: str = "test") -> tuple[list[Photo], list[Photo]]:
    """Cuts off about `fraction` of every class.

    A photo is cut off if a hash of its content, `seed` and `part`, as a number 0…1, is below `fraction`. So copies of
    the same bytes stay on one side, whatever their names and classes, and no photo moves because another was added,
    removed or renamed. There is one exception, because a class of two or more different photos has at least one on
    either side: where no hash of a class is below `fraction`, the photo with the smallest is cut off, and where all
    are, the one with the largest stays. Such a photo may move if its class gets or loses photos; it is at most one of
    a class, and of `n` photos it is needed with a chance of `(1 - fraction) ** n + fraction ** n`. A class' only photo
    stays, and may be cut off once there is a second one.

    Args:
        photos: the photos to cut.
        fraction: 0…1; of 0 nothing is read and nothing cut off.
        seed: a different seed gives a different cut.
        part: names what is cut off, so that cuts one after the other are independent.

    Returns:
        The photos that stay, and those cut off, both in their given order, with their digests.
    """
    if not fraction:
        return list(photos), []
    photos = with_digests(photos)
    chosen = _chosen(photos, places_by_content(photos, seed, part), fraction)
    stay = [photo for photo in photos if content_key(photo) not in chosen]
    return stay, [photo for photo in photos if content_key(photo) in chosen]


def with_validation(source: Source, fraction: float, seed: int) -> Source:
    """Returns the source with a validation split cut from train, unless it has one: test photos choose nothing."""
    if source.splits.get("val"):
        return source
    train, validation = cut(source.splits["train"], fraction, seed, "val")
    splits, notes = {**source.splits, "train": train, "val": validation}, source.notes
    covered = contents_by_label(validation)
    few = [source.class_names[label] for label in contents_by_label(train) if label not in covered]
    if validation and few:
        notes += (f"No validation photo is left for {listed(few)}: there are too few different ones. {WAYS_OUT}",)
    return replace(source, splits=splits, val_is_cut=True, notes=notes)


def with_digests(photos: Sequence[Photo]) -> list[Photo]:
    """Returns the photos with the SHA-256 of their content, on all cores; without it those that can't be read."""
    return [digested.result() for digested in in_parallel(_with_digest, photos)]


def content_key(photo: Photo) -> str:
    """Returns what copies of the same bytes share: the digest, or the file's name of a photo that can't be read."""
    return photo.digest or Path(photo.name).name


def places_by_content(photos: Iterable[Photo], seed: int, part: str) -> dict[str, float]:
    """Maps each content to a number 0…1, evenly spread, that depends only on the content, `seed` and `part`."""
    return {key: _place(key, seed, part) for key in map(content_key, photos)}


def contents_by_label(photos: Iterable[Photo]) -> dict[int, set[str]]:
    """Returns the different contents of each label's photos, labels in order."""
    contents: dict[int, set[str]] = {}
    for photo in photos:
        contents.setdefault(photo.label, set()).add(content_key(photo))
    return dict(sorted(contents.items()))


def _chosen(photos: Sequence[Photo], places: dict[str, float], fraction: float) -> set[str]:
    """Returns the contents that are cut off."""
    contents = contents_by_label(photos)
    labels: dict[str, set[int]] = {}
    for photo in photos:
        labels.setdefault(content_key(photo), set()).add(photo.label)
    chosen = {key for key, place in places.items() if place < fraction}
    chosen -= {max(own, key=places.__getitem__) for own in contents.values() if own <= chosen}
    for own in contents.values():
        if len(own) > 1 and own.isdisjoint(chosen):
            # A copy in another class may be all that class has left.
            may_leave = (
                key
                for key in sorted(own, key=places.__getitem__)
                if all(len(contents[label] - chosen) > 1 for label in labels[key])
            )
            chosen |= {key for key in [next(may_leave, None)] if key is not None}
    return chosen


def _place(key: str, seed: int, part: str) -> float:
    digest = hashlib.sha256(f"{seed}\n{part}\n{key}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _with_digest(photo: Photo) -> Photo:
    if photo.digest:
        return photo
    try:
        content = read_content(photo, verified=False)
    except OSError:  # the check before training names it
        return photo
    return replace(photo, digest=hashlib.sha256(content).hexdigest())
