"""How well a model tells photos of none of its classes: scores of known and of unknown photos, compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from clan_tf.config import DataConfig
from clan_tf.data import ALL, Photo, Source
from clan_tf.data.check import check_splits
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import PhotoReader, evaluation_batches
from clan_tf.data.sources.source import members_by_label
from clan_tf.errors import UserError, counted
from clan_tf.evaluation.intervals import area_interval
from clan_tf.evaluation.metrics import Estimate, Share, as_percent
from clan_tf.inference import KerasPredictor, Predictor, ProbabilityFunction
from clan_tf.inference.views import view_of_model
from clan_tf.models import COMBINED, BranchClassifier
from clan_tf.models.calibration import combined_logits
from clan_tf.photos import list_photos
from clan_tf.progress import Progress
from clan_tf.run import RunData

UNKNOWN = "unknown"
TRAIN_PHOTOS, NEIGHBOURS, FEATURES = 10_000, 5, 4096
"""For distances: at most how many train photos are compared with, which of the nearest, and most numbers of a photo."""
FEW = 30
"""With fewer known or unknown photos, their resamples vary too little for an interval."""


@dataclass(frozen=True)
class ScoreFigures:
    """How well one score tells photos apart.

    Attributes:
        score: its name.
        auroc: the probability that a known photo has a higher score than an unknown one, with a bootstrap interval:
            known and unknown photos are resampled separately. Of fewer than 30 photos of a kind, and where all
            known ones are above the unknown ones or below, it is Newcombe's.
        accepted_at_95: the share of the unknown photos that is accepted if at least 95 % of the known ones are.
        auroc_wrong: the probability that a photo that is classified rightly has a higher score than one that isn't.
    """

    score: str
    auroc: Estimate
    accepted_at_95: Share
    auroc_wrong: float | None


@dataclass(frozen=True)
class Unknown:
    """What a model does with photos of none of its classes.

    Attributes:
        photos: how many there are.
        folder: where they are; `None` for those of `data.unknown_classes`.
        accepted: how many of them the model answers; `None` if it withholds no answers.
        scores: the figures of the scores; the first is the probability that its thresholds are compared with.
    """

    photos: int
    accepted: Share | None
    scores: list[ScoreFigures]
    folder: str | None = None


def measured_unknown(
    predictor: Predictor,
    data: RunData,
    split: str,
    folder: str | None,
    known: CheckedPhotos,
    probabilities: np.ndarray,
    progress: Progress,
) -> Unknown | None:
    """Compares the evaluated photos with those of a folder or of `data.unknown_classes`; `None` if there are neither.

    Args:
        predictor: the model.
        data: the photos of its classes.
        split: which of them are evaluated.
        folder: photos of none of its classes.
        known: the evaluated photos.
        probabilities: the combined prediction for these, `(photos, classes)`.
        progress: where progress is shown.

    Distances are to the photos that the model was trained on, so that there are none if these are unknown, as with
    other data than the run's, or among the evaluated ones. Without a run, the data's train photos stand for them.

    Raises:
        UserError: as in `unknown_photos`.
    """
    unknown = unknown_photos(data.source, folder, data.config, progress)
    if unknown is None:
        return None
    own = {*known.digests, *(row.digest for row in data.split.used)} if data.split else {*known.digests}
    if known_too := sum(digest in own for digest in unknown.digests):
        progress.note(
            f"note: {known_too:,} of the {len(unknown.photos):,} unknown photos have the same content as photos of the "
            "model's classes: are they unknown?"
        )
    train = None
    if isinstance(predictor, KerasPredictor):
        if data.run and data.match is None:
            reason = "this data isn't the run's own"
        elif split in (ALL, "train"):
            reason = "these are among the evaluated ones"
        else:
            reason, train = "", compared_photos(data.source, data.config, progress)
        if reason:
            progress.note(f"note: no distances to train photos are computed: {reason}")
    figures = unknown_figures(predictor, known, probabilities, unknown, train, progress)
    return replace(figures, folder=None if folder is None else str(Path(folder).absolute()))


def unknown_photos(source: Source, folder: str | None, config: DataConfig, progress: Progress) -> CheckedPhotos | None:
    """Checks the photos of a folder, or those of `data.unknown_classes`; `None` if there are neither.

    Raises:
        UserError: if there is no such folder, it has no photos, or some can't be read and `data.on_broken` is `refuse`.
    """
    photos = source.unknown
    if folder is not None:
        if not Path(folder).is_dir():
            raise UserError(f"--unknown: there is no folder {folder}. Give a folder of photos of none of the classes.")
        photos = [Photo(str(path.absolute()), -1) for path in list_photos([folder], progress.note)]
    return check_splits({UNKNOWN: photos}, config, progress)[UNKNOWN] if photos else None


def compared_photos(source: Source, config: DataConfig, progress: Progress) -> CheckedPhotos | None:
    """Checks about `TRAIN_PHOTOS` train photos at most, as many of each class; `None` if there are none."""
    photos = source.splits.get("train", ())
    some = _some_of_each_class(photos)
    if len(some) < len(photos):
        progress.note(f"note: distances are to {len(some):,} of {len(photos):,} train photos")
    return check_splits({"train": some}, config, progress).get("train")


def _some_of_each_class(photos: Sequence[Photo]) -> Sequence[Photo]:
    if len(photos) <= TRAIN_PHOTOS:
        return photos
    members = members_by_label([photo.label for photo in photos])
    most = max(2, TRAIN_PHOTOS // len(members))
    return [photos[index] for own in members.values() for index in own[:: -(-len(own) // most)]]


def unknown_figures(
    predictor: Predictor,
    known: CheckedPhotos,
    probabilities: np.ndarray,
    unknown: CheckedPhotos,
    train: CheckedPhotos | None,
    progress: Progress,
) -> Unknown:
    """Compares scores of photos of the model's classes with those of others.

    Of every model the largest probability (Hendrycks and Gimpel, ICLR 2017) and the negative entropy; of a Keras model
    also the negative energy (Liu et al., NeurIPS 2020), the largest logit (Vaze et al., ICLR 2022) and, of what its
    heads take, the distance to the nearest class mean in the metric of the covariance that all classes share
    (Mahalanobis: Lee et al., NeurIPS 2018) and to the fifth nearest train photo (Sun et al., ICML 2022), both negative.

    Args:
        predictor: the model.
        known: photos of its classes.
        probabilities: its combined prediction for these, `(photos, classes)`.
        unknown: photos of none of its classes.
        train: those that it was trained on, for distances; `None` for none.
        progress: where progress is shown.
    """
    own = {"known": probabilities, UNKNOWN: predictor.answers(unknown, progress)[COMBINED]}
    scores = {
        "largest probability": {name: values.max(axis=1) for name, values in own.items()},
        "negative entropy": {name: _negative_entropy(values) for name, values in own.items()},
    }
    if isinstance(predictor, KerasPredictor):
        parts = {"known": known, UNKNOWN: unknown} | ({} if train is None else {"train": train})
        scores |= _model_scores(predictor.model, predictor.chosen, parts, progress)
    right = probabilities.argmax(axis=1) == known.labels
    rejection = predictor.rejection
    accepted = None
    if rejection:
        accepted = Share.of(int(rejection.accepts(own[UNKNOWN]).sum()), len(unknown.photos))
    figures = [_figures(name, values["known"], values[UNKNOWN], right) for name, values in scores.items()]
    return Unknown(len(unknown.photos), accepted, figures)


def auroc(is_known: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Computes the area under the ROC curve over the last axis, by ranks; ties count half. There are both kinds."""
    from scipy.stats import rankdata

    known = is_known.sum(axis=-1)
    unknown = is_known.shape[-1] - known
    above = (rankdata(scores, axis=-1) * is_known).sum(axis=-1) - known * (known + 1) / 2
    return above / (known * unknown)


def score_rows(unknown: Unknown) -> list[tuple[str, str, str, str, str]]:
    """Returns what to show: the score, AUROC, its interval, accepted unknown photos, AUROC of wrong answers."""
    return [
        (
            one.score,
            f"{one.auroc.value:.3f}",
            one.auroc.interval("{:.3f}".format),
            as_percent(one.accepted_at_95.value),
            "" if one.auroc_wrong is None else f"{one.auroc_wrong:.3f}",
        )
        for one in unknown.scores
    ]


def unknown_text(unknown: Unknown) -> str:
    """Returns a sentence on what the model's thresholds do to unknown photos."""
    if unknown.accepted is None:
        return f"Every answer is given, also for the {counted(unknown.photos, 'unknown photo')}."
    share = unknown.accepted
    interval = f"95 % interval {share.interval}"
    answered = f"{share.right:,} are answered ({as_percent(share.value)}, {interval})"
    return f"Of the {counted(share.photos, 'unknown photo')} {answered}."


def _figures(name: str, known: np.ndarray, unknown: np.ndarray, right: np.ndarray) -> ScoreFigures:
    # The highest threshold that at least 95 % of the known photos reach: at most one of 20 is below it.
    accepted = int((unknown >= np.sort(known)[len(known) // 20]).sum())
    wrong = float(auroc(right.astype("float64"), known)) if 0 < right.sum() < len(right) else None
    return ScoreFigures(name, _area(known, unknown), Share.of(accepted, len(unknown)), wrong)


def _area(known: np.ndarray, unknown: np.ndarray) -> Estimate:
    """Computes an AUROC with its interval: resamples say too little if photos are few, or separated perfectly."""
    is_known, scores = np.r_[np.ones(len(known)), np.zeros(len(unknown))], np.r_[known, unknown]
    area = float(auroc(is_known, scores))
    if area in (0, 1) or min(len(known), len(unknown)) < FEW:
        return Estimate(area, *area_interval(area, len(known), len(unknown)))
    return Estimate.of(auroc, is_known, scores, strata=(len(known), len(unknown)))


def _negative_entropy(probabilities: np.ndarray) -> np.ndarray:
    from scipy.special import xlogy

    return xlogy(probabilities, probabilities).sum(axis=1)


def _model_scores(
    model: BranchClassifier, branches: Sequence[str], parts: Mapping[str, CheckedPhotos], progress: Progress
) -> dict[str, dict[str, np.ndarray]]:
    from scipy.special import logsumexp

    heads = _head_inputs(model, branches) if "train" in parts else {}
    network = keras.Model(model.input, {**model.logits_model().output, **heads})
    answers = {name: _run(network, model, checked, name, progress) for name, checked in parts.items()}
    logits = {name: combined_logits(model, answers[name], branches) for name in ("known", UNKNOWN)}
    scores = {
        "negative energy": {name: logsumexp(values, axis=1) for name, values in logits.items()},
        "largest logit": {name: values.max(axis=1) for name, values in logits.items()},
    }
    if "train" not in parts:
        return scores
    if not heads:
        progress.note(f"note: no distances are computed: the heads take no vectors of at most {FEATURES:,} numbers")
        return scores
    features = {name: np.concatenate([values[head] for head in heads], axis=1) for name, values in answers.items()}
    labels = parts["train"].labels
    scores["nearest train photos"] = _distances_of_neighbours(features)
    if len(labels) == len(np.unique(labels)):
        progress.note("note: no distances to class means are computed: no class has two train photos")
        return scores
    return scores | {"class means (Mahalanobis)": _distances_of_means(features, labels)}


def _head_inputs(model: BranchClassifier, branches: Sequence[str]) -> dict[str, keras.KerasTensor]:
    """Returns the vectors that the heads of some branches take; nothing if they are too long together."""
    layers = {layer.name: layer for layer in model.layers}
    heads = {f"features_{branch}": layers.get(f"logits_{branch}") for branch in branches}
    inputs = {name: head.input for name, head in heads.items() if isinstance(head, keras.layers.Dense)}
    are_short = sum(vector.shape[-1] for vector in inputs.values()) <= FEATURES
    return inputs if are_short and all(len(vector.shape) == 2 for vector in inputs.values()) else {}


def _run(
    network: keras.Model, model: BranchClassifier, checked: CheckedPhotos, name: str, progress: Progress
) -> dict[str, np.ndarray]:
    labels = np.maximum(checked.labels, 0)  # unknown photos have none
    batches = evaluation_batches(PhotoReader(checked, view_of_model(model)), labels, 32)
    with progress.track(f"scores of {name} photos", -(-len(checked.photos) // 32)) as advance:
        return ProbabilityFunction(network)(batches, len(checked.photos), advance)


def _distances_of_means(features: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    from sklearn.covariance import LedoitWolf
    from sklearn.neighbors import NearestNeighbors

    train = features["train"].astype("float64")
    classes, own = np.unique(labels, return_inverse=True)
    means = np.stack([train[own == label].mean(axis=0) for label in range(len(classes))])
    precision = LedoitWolf(assume_centered=True).fit(train - means[own]).precision_
    whiten = np.linalg.cholesky(precision)
    nearest = NearestNeighbors(n_neighbors=1).fit(means @ whiten)
    return {name: -nearest.kneighbors(features[name] @ whiten)[0][:, -1] for name in ("known", UNKNOWN)}


def _distances_of_neighbours(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    from sklearn.neighbors import NearestNeighbors

    train = _unit(features["train"])
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train))).fit(train)
    return {name: -nearest.kneighbors(_unit(features[name]))[0][:, -1] for name in ("known", UNKNOWN)}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
