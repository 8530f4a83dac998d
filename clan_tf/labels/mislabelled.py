"""Ranks photos by how probably their labels are wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from clan_tf.config import DataConfig, Experiment
from clan_tf.data import ALL, SPLITS, Photo, Source, place_of, read_source
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.sources.corrections import Correction, read_corrections
from clan_tf.data.sources.cutting import unit_keys, units_by_label
from clan_tf.data.sources.source import folder_of, relative_name
from clan_tf.errors import UserError, counted, listed, shown
from clan_tf.labels.features import pooled_features
from clan_tf.labels.out_of_fold import judging_folds, out_of_fold_probabilities
from clan_tf.labels.report import LabelReport, RankedPhoto
from clan_tf.progress import Progress

MOST_NUMBERS = 500_000_000
"""Probabilities that are held at a time: 4 GB, of which there is a copy now and then."""


class _Judged(NamedTuple):
    """Photos, and how probable each class is for them; those without another photo of their class are left out.

    Attributes:
        photos: the photos, with their digests.
        classes: the labels of the classes that have several photos.
        given: which of `classes` each photo is labelled as, int `(photos,)`.
        probabilities: float64 `(photos, classes)`.
        folds: how many folds there were.
    """

    photos: list[Photo]
    classes: np.ndarray
    given: np.ndarray
    probabilities: np.ndarray
    folds: int


def find_mislabelled(
    experiment: Experiment, split: str = "train", folds: int = 5, progress: Progress | None = None
) -> LabelReport:
    """Ranks the photos of a split by the probability of their given class, the lowest first.

    It is predicted from features of the experiment's backbone, with its initial weights, by logistic regression fitted
    to the train photos and those of the split; each photo is predicted by a model that was fitted without its fold.

    Args:
        experiment: whose photos, backbone and sizes are used.
        split: `train`, `val`, `test` or `all`.
        folds: how many parts the photos are divided into, 2 at least.
        progress: where progress is shown.

    Raises:
        UserError: for an unknown split or one without photos, photos that can't be read, or too few of them.

    Reference:
        Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021.
    """
    progress = progress or Progress()
    if split not in (*SPLITS, ALL):
        raise UserError(f"--split: must be {', '.join(SPLITS)} or {ALL}; received {shown(split)}.")
    source = read_source(experiment.data)
    checked = check_splits(_read_splits(source, split), experiment.data, progress)
    wanted = {photo.name for name, each in checked.items() if split in (ALL, name) for photo in each.photos}
    judged = _judge(checked, wanted, folds, experiment, progress)
    ranked, typical = _rank(judged, wanted, source.class_names, folder_of(experiment.data))
    unranked = len(wanted) - len(ranked)
    return LabelReport(
        experiment=experiment,
        split=split,
        photos=ranked,
        typical=typical,
        folds=judged.folds,
        classes=len(source.class_names),
        unranked=unranked,
        corrections=_corrections(experiment.data, {photo.name for photo in ranked}),
        notes=(*source.notes, *_notes(experiment, judged, source.class_names, unranked)),
    )


def _read_splits(source: Source, split: str) -> dict[str, Sequence[Photo]]:
    """Returns the photos that are ranked and, always, the train photos, by which the others are judged too."""
    if split != ALL:
        source.photos(split)
    return {name: source.splits.get(name, ()) for name in SPLITS if name == "train" or split in (ALL, name)}


def _judge(
    checked: Mapping[str, CheckedPhotos], wanted: set[str], folds: int, experiment: Experiment, progress: Progress
) -> _Judged:
    photos = [
        replace(photo, digest=digest)
        for each in checked.values()
        for photo, digest in zip(each.photos, each.digests, strict=True)
    ]
    units = units_by_label(photos)
    kept = [index for index, photo in enumerate(photos) if len(units[photo.label]) > 1]
    judged = [photos[index] for index in kept]
    classes, given = np.unique([photo.label for photo in judged], return_inverse=True)
    if len(classes) < 2 or not any(photo.name in wanted for photo in judged):
        raise UserError(
            f"{place_of(experiment.data)} has too few photos: a label is judged by other photos of its class and of "
            f"other classes, and {len(classes)} of {len(units)} classes have two different photos. Add photos."
        )
    if len(judged) * len(classes) > MOST_NUMBERS:
        raise UserError(
            f"data labels: holds a probability of each of {len(classes):,} classes for each of {len(judged):,} photos; "
            f"at most {MOST_NUMBERS:,} are possible. Take fewer photos: --split, or --set data.fraction=F."
        )
    fold = judging_folds(given, unit_keys(judged), folds)
    features = pooled_features(checked, experiment, progress)[kept]
    probabilities = out_of_fold_probabilities(features, given, fold, progress)
    return _Judged(judged, classes, given, probabilities, int(fold.max()) + 1)


def _rank(
    judged: _Judged, wanted: set[str], class_names: Sequence[str], folder: str | None
) -> tuple[tuple[RankedPhoto, ...], dict[str, Photo]]:
    """Returns the wanted photos, the worst first, and the photo of each class whose label is the most certain."""
    quality = get_label_quality_scores(judged.given, judged.probabilities, method="self_confidence")
    is_issue = find_label_issues(judged.given, judged.probabilities, n_jobs=1)
    names = [class_names[label] for label in judged.classes]
    order = np.argsort(quality, kind="stable")
    ranked = tuple(
        RankedPhoto(
            photo=judged.photos[index],
            name=relative_name(judged.photos[index].name, folder),
            given=names[judged.given[index]],
            suggested=names[int(judged.probabilities[index].argmax())],
            quality=float(quality[index]),
            is_issue=bool(is_issue[index]),
        )
        for index in order
        if judged.photos[index].name in wanted
    )
    return ranked, {names[judged.given[index]]: judged.photos[index] for index in order}


def _corrections(config: DataConfig, ranked: set[str]) -> dict[str, str]:
    """Returns the labels that `data.relabel` gives already, by the name of the photo in a report."""
    if config.relabel is None:
        return {}
    folder = folder_of(config)
    corrections = [
        Correction(tuple(relative_name(name, folder) for name in spellings), label, line)
        for spellings, label, line in read_corrections(config.relabel)
    ]
    return {correction.photo(ranked): correction.label for correction in corrections if correction.label}


def _notes(experiment: Experiment, judged: _Judged, class_names: Sequence[str], unranked: int) -> Iterator[str]:
    """Yields what makes the ranking less sure, or incomplete."""
    if unranked:
        yield f"{counted(unranked, 'photo')} can't be ranked: the class has no other photo to judge by."
    if experiment.model.init:
        yield "model.init isn't used, because that model may have learned these labels: features are of model.weights."
    if experiment.model.weights in (None, "none"):
        yield "model.weights: the backbone has random weights, so the ranking is rough. Use pretrained ones."
    units = units_by_label(judged.photos)
    few = [class_names[label] for label, own in units.items() if len(own) < judged.folds]
    if few:
        yield f"Classes with fewer than {judged.folds} different photos are ranked only roughly: {listed(few)}."
