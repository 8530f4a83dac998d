"""Groups of photos that belong together (`data.group`): which photo is in which, and which are in several splits."""

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clan_tf.config.groups import GroupRule
from clan_tf.data.sources.class_names import normal_name
from clan_tf.data.sources.grouped_cut import join_units
from clan_tf.data.sources.source import SPLITS, Photo, Source, relative_name
from clan_tf.errors import UserError, counted, shortened, shown
from clan_tf.in_parallel import in_parallel
from clan_tf.photos import PhotoError


@dataclass(frozen=True)
class DividedGroup:
    """A group whose photos are in several splits of the data.

    Attributes:
        name: of the group; of near copies that of the first photo.
        photos: names of its photos, by split.
    """

    name: str
    photos: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        counts = ", ".join(f"{len(names):,} {split}" for split, names in self.photos.items())
        return f"{shown(self.name)} ({counts})"


def with_groups(source: Source, rule: GroupRule | None, root: Path | str | None) -> Source:
    """Returns the source with the group of each photo that has one, and notes on them.

    Args:
        source: the photos, in the splits that the data has; those of a table have the groups of its column.
        rule: how groups are recognised; `None` if there are none.
        root: the folder that paths are below.

    Raises:
        UserError: if no photo has a group.
    """
    if rule is None:
        return source
    photos = [photo for own in source.splits.values() for photo in own]
    names = {photo.name: relative_name(photo.name, root) for photo in photos}
    if rule.kind == "path":
        groups = _by_path(names, rule.value)
    elif rule.kind == "copies":
        groups = _by_picture(photos, names)
    else:
        groups = {photo.name: photo.group for photo in photos}
    splits = {
        split: [replace(photo, group=groups[photo.name]) for photo in own] for split, own in source.splits.items()
    }
    source = replace(source, splits=splits)
    return replace(source, notes=(*source.notes, *_notes(rule, groups, names)))


def divided_groups(source: Source) -> list[DividedGroup]:
    """Returns the groups with photos in several splits, which only the data's own splits can cause."""
    groups: dict[str, dict[str, list[str]]] = {}
    for split in SPLITS:
        for photo in source.splits.get(split, ()):
            if photo.group is not None:
                groups.setdefault(photo.group, {}).setdefault(split, []).append(photo.name)
    return [DividedGroup(name, photos) for name, photos in groups.items() if len(photos) > 1]


def _by_path(names: Mapping[str, str], expression: str) -> dict[str, str | None]:
    pattern = re.compile(expression)
    found = {name: pattern.search(relative) for name, relative in names.items()}
    return {name: (normal_name(match[1] or "") or None) if match else None for name, match in found.items()}


def _by_picture(photos: Sequence[Photo], names: Mapping[str, str]) -> dict[str, str | None]:
    """Returns the name of the first near copy of each photo that has any."""
    # The check of photos imports this package.
    from clan_tf.data.check.duplicates import near_duplicates
    from clan_tf.data.check.inspection import inspect_photo

    readable, thumbnails = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large photos and damaged EXIF
        for photo, inspected in zip(photos, in_parallel(inspect_photo, photos), strict=True):
            try:
                thumbnails.append(inspected.result().thumbnail)
                readable.append(names[photo.name])
            except PhotoError:  # the check before training names it
                continue
    alike = []
    if readable:
        alike = [(readable[first], readable[second]) for first, second in near_duplicates(np.stack(thumbnails))]
    joined = join_units([one for one, _ in alike], [other for _, other in alike])
    first_copy = {name: first for pair, first in zip(alike, joined, strict=True) for name in pair}
    return {name: first_copy.get(relative) for name, relative in names.items()}


def _notes(rule: GroupRule, groups: Mapping[str, str | None], names: Mapping[str, str]) -> list[str]:
    """Returns how many photos have no group, and what the groups are.

    Raises:
        UserError: if no photo has one.
    """
    without = [names[name] for name, group in groups.items() if group is None]
    sizes = Counter(group for group in groups.values() if group is not None)
    if rule.kind != "copies" and groups and not sizes:
        raise UserError(f"data.group: {_nothing_found(rule, without)}")
    notes = []
    if without and rule.kind != "copies":
        why = "match nothing" if rule.kind == "path" else f"have nothing in the column {rule.value!r}"
        of = f"{len(without):,} of {counted(len(groups), 'photo')}"
        notes.append(f"data.group: {of} {why} (such as {shown(without[0])}): each is a group of its own.")
    shared = {group: size for group, size in sizes.items() if size > 1}
    if not shared:
        return [*notes, "data.group: changes nothing, because no two photos are in one group."]
    (largest, size), *_ = sorted(shared.items(), key=lambda entry: -entry[1])
    held = f"{sum(shared.values()):,} of {counted(len(groups), 'photo')}"
    are = "1 group of several photos holds" if len(shared) == 1 else f"{len(shared):,} groups of several photos hold"
    return [*notes, f"data.group: {are} {held}; the largest is {shown(largest)} ({size:,} photos)."]


def _nothing_found(rule: GroupRule, names: Sequence[str]) -> str:
    if rule.kind == "column":
        return f"the column {rule.value!r} is empty in all {len(names):,} rows."
    such = ", ".join(map(shown, names[:2]))
    return f"path:{shortened(rule.value)} matches none of {counted(len(names), 'photo')}, whose paths are {such} …"


def divided_notes(source: Source) -> list[str]:
    """Returns a note on groups with photos in several splits, if there are any."""
    divided = divided_groups(source)
    if not divided:
        return []
    photos = sum(len(names) for group in divided for names in group.photos.values())
    is_one = len(divided) == 1
    return [
        f"data.group: {counted(len(divided), 'group')} ({photos:,} photos) {'is' if is_one else 'are'} in more than "
        f"one of the data's own splits, which clan-tf doesn't change, such as {divided[0]}: accuracies of new groups "
        "will be lower."
    ]
