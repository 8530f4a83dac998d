"""Which of a source's photos are used: all but the quarantined ones, or a fraction for a quick trial."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from posixpath import normpath

from clan_tf.data.sources.class_names import normal_name
from clan_tf.data.sources.cutting import content_key, places_by_content, with_digests
from clan_tf.data.sources.source import Photo, Source, members_by_label, relative_name
from clan_tf.errors import UserError, counted, listed, nearest, shown
from clan_tf.files import parse_json, read_text

Splits = Mapping[str, Sequence[Photo]]


def quarantined_photos(photos: Iterable[Photo], quarantine: Path | None, folder: str | None) -> frozenset[str]:
    """Returns the names of the photos in a file of `clan-tf data check --quarantine FILE`.

    Args:
        photos: all photos of the data, whether they are used or not.
        quarantine: a text file with one photo per line: its name, relative to `folder` or absolute, or a JSON string;
            `#` starts a comment line, and spaces around a name don't count, unless a photo is named so.
        folder: that the names of photos are relative to.

    Raises:
        UserError: if the file can't be read, or names a photo that the data doesn't have.
    """
    if quarantine is None:
        return frozenset()
    lines = (line.rstrip("\r") for line in read_text(quarantine, "data.quarantine").split("\n"))
    own = {photo.name: photo.name for photo in photos}
    own |= {relative_name(name, folder): name for name in own}
    quarantined = {_name(line, own) for line in lines if line.strip() and not line.startswith("#")}
    unknown = quarantined - own.keys()
    if unknown:
        raise UserError(
            f"data.quarantine: {quarantine} names {counted(len(unknown), 'photo')} that the data doesn't have, such as "
            f"{min(unknown)!r}. Remove such lines, or write another list: clan-tf data check CONFIG --quarantine FILE."
        )
    return frozenset(own[name] for name in quarantined)


def without(splits: Splits, names: Collection[str]) -> dict[str, list[Photo]]:
    """Returns the splits without the photos of some names."""
    return {split: [photo for photo in photos if photo.name not in names] for split, photos in splits.items()}


def without_classes(source: Source, names: Sequence[str], place: str) -> Source:
    """Returns the source without some classes, whose photos become its `unknown` ones.

    Those that are of such a class only by a correction are in the splits, too, until these are cut (`without_unknown`).

    Args:
        source: the data.
        names: classes that a model mustn't know.
        place: the key that names the data, and its path.

    Raises:
        UserError: if the data doesn't have one of them, or no others.
    """
    if not names:
        return source
    own = {normal_name(name): index for index, name in enumerate(source.class_names)}
    for name in names:
        if normal_name(name) not in own:
            raise UserError(
                f"data.unknown_classes: there is no class {shown(name)} ({place})."
                f"{nearest(name, list(source.class_names))}"
            )
    unknown_labels = {own[normal_name(name)] for name in names}
    known = [index for index in range(len(source.class_names)) if index not in unknown_labels]
    if not known:
        classes = "class" if len(own) == 1 else "classes"
        raise UserError(f"data.unknown_classes: leaves 0 of {len(own)} {classes} ({place}). Name fewer.")
    labels = {index: label for label, index in enumerate(known)}
    splits = {
        split: [_with_labels(photo, labels) for photo in photos if {photo.label, photo.cut_label} & labels.keys()]
        for split, photos in source.splits.items()
    }
    everything = (photo for photos in source.splits.values() for photo in photos)
    unknown = [_with_labels(photo, labels) for photo in everything if photo.label not in labels]
    unknown_names = listed([source.class_names[label] for label in sorted(unknown_labels)])
    note = f"{counted(len(unknown), 'photo')} of data.unknown_classes ({unknown_names}) are in no split."
    class_names = tuple(source.class_names[index] for index in known)
    return replace(source, class_names=class_names, splits=splits, unknown=unknown, notes=(*source.notes, note))


def _with_labels(photo: Photo, labels: Mapping[int, int]) -> Photo:
    own = None if photo.own_label is None else labels.get(photo.own_label, -1)
    return replace(photo, label=labels.get(photo.label, -1), own_label=own)


def without_unknown(splits: Splits) -> dict[str, list[Photo]]:
    """Returns the splits without photos that corrections gave one of `data.unknown_classes`."""
    return {split: [photo for photo in photos if photo.label >= 0] for split, photos in splits.items()}


def take_fraction(splits: Splits, fraction: float, seed: int) -> dict[str, list[Photo]]:
    """Returns about `fraction` of each split's photos of every class, at least one, in their given order.

    They are chosen by a hash of their content and `seed`, as `cut` does, so that a larger fraction holds the smaller
    one and added photos change nothing for the others.
    """
    if fraction == 1:
        return {split: list(photos) for split, photos in splits.items()}
    return {split: _part(with_digests(photos), fraction, seed) for split, photos in splits.items()}


def _name(line: str, own: Container[str]) -> str:
    """Returns the name in a line, which may be a JSON string; a line that only begins like one is the name itself.

    It is the line as it is written if a photo has that name, or else without spaces around it or `./` before it.
    """
    name = line.strip()
    try:
        value = parse_json(name) if name.startswith('"') else None
    except ValueError:
        value = None
    if isinstance(value, str):
        return value
    return next((each for each in (line, name, normpath(name)) if each in own), name)


def _part(photos: Sequence[Photo], fraction: float, seed: int) -> list[Photo]:
    places = places_by_content(photos, seed, "fraction")
    own = [places[content_key(photo)] for photo in photos]
    chosen = {index for index, place in enumerate(own) if place < fraction}
    # By the labels of the cut first, so that a corrected one takes no other photo away.
    for labels in ([photo.cut_label for photo in photos], [photo.label for photo in photos]):
        for members in members_by_label(labels).values():
            if chosen.isdisjoint(members):
                chosen.add(min(members, key=own.__getitem__))
    return [photos[index] for index in sorted(chosen)]


def left_behind(splits: Splits, kept: Splits) -> dict[str, list[Photo]]:
    """Returns the photos of each split that are in `splits` and not in `kept`, where there are any."""
    names = {photo.name for photos in kept.values() for photo in photos}
    behind = {split: [photo for photo in photos if photo.name not in names] for split, photos in splits.items()}
    return {split: photos for split, photos in behind.items() if photos}
