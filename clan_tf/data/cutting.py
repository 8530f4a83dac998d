"""Splits cut at random from the photos of another split, byte-identical copies together."""

import hashlib
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from clan_tf.data.photos import try_reading
from clan_tf.data.source import Photo, Source, members_by_label, shuffled_members


def cut(photos: Sequence[Photo], fraction: float, seed: int) -> tuple[list[Photo], list[Photo]]:
    """Cuts off a stratified part: about `fraction` of every class, chosen by `seed`.

    Copies of the same bytes stay on one side. A class of two or more different photos has at least one on either side;
    a single photo stays in the first part.

    Returns:
        The photos that stay, and those cut off, both in their given order.
    """
    copies = _copies(photos)
    labels = [photo.label for photo in photos]
    staying = Counter(labels)
    chosen: set[int] = set()
    for label, members in members_by_label(labels).items():
        least = len(members) - max(1, round(fraction * len(members)))
        for member in shuffled_members(members, seed, label):
            together = {member, *copies.get(member, ())} - chosen
            leaving = Counter(labels[index] for index in together)
            leaves_some = all(staying[other] > count for other, count in leaving.items())
            if staying[label] > least and leaves_some:
                chosen |= together
                staying -= leaving
    stay = [photo for index, photo in enumerate(photos) if index not in chosen]
    return stay, [photos[index] for index in sorted(chosen)]


def with_validation(source: Source, fraction: float, seed: int) -> Source:
    """The source with a validation split cut from train, unless it has one: test photos choose nothing."""
    if source.splits.get("val"):
        return source
    train, validation = cut(source.splits["train"], fraction, seed)
    return replace(source, splits={**source.splits, "train": train, "val": validation}, val_is_cut=True)


def _copies(photos: Sequence[Photo]) -> dict[int, list[int]]:
    """For each photo that has byte-identical copies, by index: itself and all of them."""
    alike = _groups(enumerate(map(_size, photos)))
    candidates = [index for group in alike for index in group]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(_digest, [photos[index] for index in candidates])
        return {index: group for group in _groups(zip(candidates, digests, strict=True)) for index in group}


def _groups(keys: Iterable[tuple[int, Hashable]]) -> list[list[int]]:
    """The indices that share a key other than `None`, where there are several."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in keys:
        if key is not None:
            groups.setdefault(key, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _size(photo: Photo) -> int | None:
    """Bytes of the encoded photo; `None` for a file that isn't there, which the check of the photos reports."""
    if photo.content is not None:
        return len(photo.content)
    if photo.span is not None:
        return photo.span.length
    try:
        return os.stat(photo.name).st_size
    except OSError:
        return None


def _digest(photo: Photo) -> bytes | None:
    content, problem = try_reading(photo)
    return None if problem else hashlib.sha256(content).digest()
