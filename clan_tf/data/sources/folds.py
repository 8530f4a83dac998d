"""Folds of cross-validation: each is the test split once, and all others are train (`data.folds`, `data.fold`)."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clan_tf.data.sources.cutting import (
    has_groups,
    place_of_unit,
    unit_keys,
    units_by_cut_label,
    units_by_label,
    with_digests,
)
from clan_tf.data.sources.source import Photo, Source
from clan_tf.errors import UserError, counted, listed


def without_splits(source: Source) -> Source:
    """Returns the photos that are folded, all in train: test photos that the data sets apart aren't among them."""
    photos = [*source.splits["train"], *source.splits.get("val", ())]
    return replace(source, splits={"train": photos}, is_uncut=False, val_is_cut=False)


def in_folds(source: Source, folds: int, seed: int) -> list[Source]:
    """Returns a source for each fold, with it as the test split and all others as train.

    Args:
        source: the photos, in the splits that the data has; its own test photos are left out.
        folds: how many folds there are.
        seed: another seed gives other folds.

    Raises:
        UserError: naming the classes with fewer different photos, or groups, than folds.
    """
    apart, whole = source.splits.get("test", ()), without_splits(source)
    photos = with_digests(whole.splits["train"])
    _require_enough(photos, source.class_names, folds)
    fold_of = folds_of(photos, folds, seed)
    return [_with_fold(whole, photos, fold_of, fold, folds, len(apart)) for fold in range(folds)]


def folds_of(photos: Sequence[Photo], folds: int, seed: int) -> np.ndarray:
    """Divides photos into folds with about the same share of every class.

    Copies of the same bytes are in one fold, and so are groups. The folds depend on the photos' content, groups and
    classes (`cut_label`), not on their order. A photo without such a class is where its copies and its group are or, if
    it has none, where its hash puts it.

    Args:
        photos: with their digests.
        folds: how many.
        seed: another seed gives other folds.

    Returns:
        The fold of each photo, counted from 0, int64 `(photos,)`.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # which takes long to import, and is rarely needed

    units = unit_keys(photos)
    places = {unit: place_of_unit(unit, seed, "folds") for unit in units}
    ranked = {unit: rank for rank, unit in enumerate(sorted(places, key=places.__getitem__))}
    own = [(photo.cut_label, unit) for photo, unit in zip(photos, units, strict=True) if photo.cut_label >= 0]
    labels = np.array([label for label, _ in own])
    ranks = np.array([ranked[unit] for _, unit in own])
    fold_of = {unit: int(place * folds) for unit, place in places.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes that corrections alone make large enough
        # Unless it shuffles, it takes equally large groups in the order of their numbers.
        for fold, (_, members) in enumerate(StratifiedGroupKFold(folds).split(ranks, labels, ranks)):
            fold_of |= {own[member][1]: fold for member in members}
    return np.array([fold_of[unit] for unit in units], dtype="int64")


def _with_fold(
    source: Source, photos: Sequence[Photo], fold_of: np.ndarray, fold: int, folds: int, apart: int
) -> Source:
    splits: dict[str, list[Photo]] = {"train": [], "test": []}
    for photo, own in zip(photos, fold_of, strict=True):
        splits["test" if own == fold else "train"].append(photo)
    notes = [*source.notes, f"The test split is fold {fold + 1} of {folds}: {counted(len(splits['test']), 'photo')}."]
    if apart:
        notes.append(f"The data's own test split ({counted(apart, 'photo')}) is in no fold, and isn't used.")
    covered = {photo.label for photo in splits["test"]}
    missing = [name for label, name in enumerate(source.class_names) if label not in covered]
    if missing:
        what = "groups" if has_groups(photos) else "photos"
        notes.append(f"Fold {fold + 1} has no photo of {listed(missing)}: their {what} are in other folds.")
    return replace(source, splits=splits, notes=tuple(notes))


def _require_enough(photos: Sequence[Photo], class_names: Sequence[str], folds: int, most: int = 5) -> None:
    units = units_by_label(photos)
    own = units_by_cut_label(photos)
    if all(len(each) < folds for each in own.values()):
        units = own  # however labels were corrected, these can't be divided
    few = [
        f"{name!r} ({len(units.get(label, ()))})"
        for label, name in enumerate(class_names)
        if len(units.get(label, ())) < folds
    ]
    if not few:
        return
    what = "groups" if has_groups(photos) else "different photos"
    more = f" and {len(few) - most:,} more" if len(few) > most else ""
    raise UserError(
        f"data.folds: {folds} folds need at least {folds} {what} of every class; {len(few):,} of "
        f"{len(class_names):,} classes have fewer: {', '.join(few[:most])}{more}. Use fewer folds, add photos, or "
        "leave such classes out."
    )
