"""Splits cut at random from the photos of another split: by a hash of each photo's content, whatever the others are.

Photos with groups (`data.group`) are cut by `grouped_cut.py`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from clan_tf.data.sources.content import read_content
from clan_tf.data.sources.grouped_cut import choose_units, join_units
from clan_tf.data.sources.source import Photo, Source
from clan_tf.errors import counted, listed
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

    If photos have groups, groups are cut off whole, in an order that follows from a hash of their names, until about
    `fraction` of each class is reached; added photos may then move a few groups. What holds for a class of several
    photos holds for one of several groups, unless another class needs them.

    Classes are those of `cut_label`, whatever labels were corrected. A photo without such a class is where its copies
    and its group are or, if it has none, where its hash puts it.

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
    units = unit_keys(photos)
    places = {unit: place_of_unit(unit, seed, part) for unit in units}
    if has_groups(photos):
        counts = _counts(photos, units)
        chosen = choose_units(counts, sorted(places, key=places.__getitem__), fraction)
        chosen |= {unit for unit, own in counts.items() if not own and places[unit] < fraction}
    else:
        chosen = _chosen(photos, places, fraction)
    sides: tuple[list[Photo], list[Photo]] = ([], [])
    for photo, unit in zip(photos, units, strict=True):
        sides[unit in chosen].append(photo)
    return sides


def with_test(source: Source, fraction: float, seed: int) -> Source:
    """Returns the source with a test split cut from train, if the data has no splits."""
    if not source.is_uncut:
        return source
    train, test = cut(source.splits["train"], fraction, seed)
    notes = (*source.notes, *_without_groups_to_cut(source, train, test, "test"))
    return replace(
        source, splits={**source.splits, "train": train, "test": test}, is_uncut=False, test_is_cut=True, notes=notes
    )


def with_validation(source: Source, fraction: float, seed: int) -> Source:
    """Returns the source with a validation split cut from train, unless it has one: test photos choose nothing."""
    if source.splits.get("val"):
        return source
    train, validation = cut(source.splits["train"], fraction, seed, "val")
    splits, notes = {**source.splits, "train": train, "val": validation}, source.notes
    covered = {photo.label for photo in validation}
    few = [source.class_names[label] for label in sorted({photo.label for photo in train} - covered - {-1})]
    if has_groups(train):
        notes += _without_groups_to_cut(source, train, validation, "validation")
    elif validation and few:
        why = "there are too few different ones"
        if any(photo.own_label is not None for photo in train):
            why += ", or data.relabel gave them another class"
        notes += (f"No validation photo is left for {listed(few)}: {why}. {WAYS_OUT}",)
    return replace(source, splits=splits, val_is_cut=True, notes=notes)


def with_digests(photos: Sequence[Photo]) -> list[Photo]:
    """Returns the photos with the SHA-256 of their content, on all cores; without it those that can't be read."""
    return [digested.result() for digested in in_parallel(_with_digest, photos)]


def content_key(photo: Photo) -> str:
    """Returns what copies of the same bytes share: the digest, or the file's name of a photo that can't be read."""
    return photo.digest or Path(photo.name).name


def places_by_content(photos: Iterable[Photo], seed: int, part: str) -> dict[str, float]:
    """Maps each content to a number 0…1, evenly spread, that depends only on the content, `seed` and `part`."""
    return {key: place_of_unit(key, seed, part) for key in map(content_key, photos)}


def place_of_unit(key: str, seed: int, part: str) -> float:
    """Returns a number 0…1, evenly spread, that depends only on a key, `seed` and `part`."""
    digest = hashlib.sha256(f"{seed}\n{part}\n{key}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def has_groups(photos: Iterable[Photo]) -> bool:
    """Checks whether any of the photos has a group."""
    return any(photo.group is not None for photo in photos)


def unit_keys(photos: Sequence[Photo]) -> list[str]:
    """Returns for each photo a key of what is never cut apart: copies of the same bytes, and groups.

    Groups that share a copy are one unit.
    """
    contents = [content_key(photo) for photo in photos]
    if not has_groups(photos):
        return contents
    # A group's name comes before any content, so that units are named after groups.
    groups = [None if photo.group is None else f"\0{photo.group}" for photo in photos]
    return join_units(contents, [group or content for group, content in zip(groups, contents, strict=True)])


def units_by_label(photos: Sequence[Photo]) -> dict[int, set[str]]:
    """Returns the different contents or, if photos have groups, units of each label's photos, labels in order."""
    return _units_by_label([photo.label for photo in photos], unit_keys(photos))


def units_by_cut_label(photos: Sequence[Photo]) -> dict[int, set[str]]:
    """Returns the same by the labels by which splits are cut, as if none had been corrected."""
    return _units_by_label([photo.cut_label for photo in photos], unit_keys(photos))


def _units_by_label(labels: Sequence[int], keys: Sequence[str]) -> dict[int, set[str]]:
    units: dict[int, set[str]] = {}
    for label, unit in zip(labels, keys, strict=True):
        if label >= 0:
            units.setdefault(label, set()).add(unit)
    return dict(sorted(units.items()))


def _counts(photos: Sequence[Photo], units: Sequence[str]) -> dict[str, Counter[int]]:
    """Counts the photos of each `cut_label` in each unit."""
    counts: dict[str, Counter[int]] = {unit: Counter() for unit in units}
    for photo, unit in zip(photos, units, strict=True):
        if photo.cut_label >= 0:
            counts[unit][photo.cut_label] += 1
    return counts


def _without_groups_to_cut(source: Source, stay: Sequence[Photo], taken: Sequence[Photo], part: str) -> tuple[str, ...]:
    """Returns a note on the classes whose groups keep all their photos in train, if there are groups."""
    covered = {photo.label for photo in taken}
    photos = Counter(photo.label for photo in stay if photo.label not in {*covered, -1})
    if not photos or not has_groups(stay):
        return ()
    names = listed([source.class_names[label] for label in sorted(photos)])
    return (
        f"data.group: no {part} photo could be cut of {names}, whose {counted(photos.total(), 'photo')} are all in "
        "train: the photos of such a class are in one group, or in groups that another class needs.",
    )


def _chosen(photos: Sequence[Photo], places: dict[str, float], fraction: float) -> set[str]:
    """Returns the contents that are cut off."""
    contents = units_by_cut_label(photos)
    labels: dict[str, set[int]] = {}
    for label, own in contents.items():
        for key in own:
            labels.setdefault(key, set()).add(label)
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


def _with_digest(photo: Photo) -> Photo:
    if photo.digest:
        return photo
    try:
        content = read_content(photo, verified=False)
    except OSError:  # the check before training names it
        return photo
    return replace(photo, digest=hashlib.sha256(content).hexdigest())
