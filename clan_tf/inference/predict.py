"""Labels for photos and folders of photos. TensorFlow is imported only for models that need it."""

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from clan_tf.errors import UserError
from clan_tf.in_parallel import in_parallel
from clan_tf.inference.given import GivenPhoto, PhotoInput, given_photos
from clan_tf.inference.levels import LevelChoice
from clan_tf.inference.locate import locate
from clan_tf.inference.open import open_predictor
from clan_tf.inference.predictor import Predictor
from clan_tf.photos import PhotoError
from clan_tf.progress import Progress
from clan_tf.rejection import Rejection
from clan_tf.runtime import ranked_labels

UNSURE_REASON = "unsure"
"""Why a photo has no label, in its result."""
READERS = 8
"""How many photos are read at a time at most: whole photos fill the memory."""


def predict(
    model: str | os.PathLike[str],
    paths: PhotoInput | Iterable[PhotoInput],
    top: int = 5,
    progress: Progress | None = None,
    batch_size: int = 32,
    level: str | None = None,
    unsure_below: float | None = None,
    unsure_otherwise: float | None = None,
) -> list[dict[str, Any]]:
    """Predicts labels of photos by the model's combined prediction.

    Args:
        model: a run directory, a `.keras` file, or an export: its folder, or the `.tflite` or `.onnx` file or
            SavedModel folder, which contains its labels and preprocessing. `.tflite` and `.onnx` files need no
            TensorFlow.
        paths: photos, one or several, in any mixture. Files; folders, whose photos are predicted, subfolders included,
            by the same rules as for training; skipped files are noted. NumPy arrays, uint8: RGB `(height, width, 3)`,
            RGBA `(height, width, 4)`, whose alpha is dropped, or grey `(height, width)` or `(height, width, 1)`; a
            batch `(photos, height, width, channels)` counts as its photos, if it isn't in a list. Pillow images, which
            are turned upright by their EXIF data and converted as files are: the same pixels give the same answer.
        top: how many labels per photo.
        progress: where progress is shown.
        batch_size: how many photos are predicted at a time, at most; as many are read meanwhile.
        level: the level of the model's taxonomy whose labels are predicted, each with the sum of its classes'
            probabilities; or `auto` for the finest, for each photo, whose most probable label is an answer, and the
            coarsest if none is. `None` for the classes.
        unsure_below: the probability, 0…1, below which the most probable label is no answer. `None` for what the model
            was calibrated for (`accept_error`).
        unsure_otherwise: the same for models that weren't; with `None` each label is an answer, or for `auto` those
            from 0.9.

    Returns:
        For each photo, in order, `{"path", "label", "predictions": [{"label", "probability"}]}`, most probable first,
        or `{"path", "error"}`. `label` is the most probable one, or `None` beside `"reason": "unsure"` if that is no
        answer. With `level` also the `level` of the labels. For an array or image `path` is `None`, and `index` its
        place in `paths`.

    Raises:
        UserError: if the model can't be loaded or lacks the level, a folder has no photos, an array or image isn't a
            photo, `unsure_below` isn't a probability, or `top` or `batch_size` isn't positive.
        CheckFailed: if the model outputs NaN.
    """
    progress = progress or Progress()
    if top < 1:
        raise UserError(f"top: must be at least 1; received {top}.")
    photos = given_photos(paths, progress.note)
    located = locate(os.fspath(model))
    if not located.is_exported:
        from clan_tf.run.unfinished import note_unless_finished

        note_unless_finished(located.run, progress.note)
    results: list[dict[str, Any]] = []
    with (
        open_predictor(located, batch_size=batch_size) as predictor,
        progress.track("predicting photos", len(photos)) as advance,
    ):
        rejection = _rejection(predictor, unsure_below, unsure_otherwise)
        levels = LevelChoice(predictor.taxonomy, level, predictor.path, rejection) if level is not None else None
        # The next batch is read while the model is busy with one.
        with closing(in_parallel(partial(_view, predictor), photos, predictor.batch_size, READERS)) as views:
            for start in range(0, len(photos), predictor.batch_size):
                batch = photos[start : start + predictor.batch_size]
                read = [view.result() for view in islice(views, len(batch))]
                for result in _results(predictor, batch, read, top, rejection, levels):
                    results.append(result)
                    advance()
    return results


def _rejection(predictor: Predictor, below: float | None, otherwise: float | None) -> Rejection | None:
    for value in (below, otherwise):
        # Written so that NaN is refused.
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"unsure_below: must be a probability from 0 to 1; received {value:g}.")
    if below is None and (predictor.rejection or otherwise is None):
        return predictor.rejection
    return Rejection(None, (below if below is not None else otherwise or 0.0,))


def _view(predictor: Predictor, photo: GivenPhoto) -> np.ndarray | PhotoError:
    """Reads a photo; returns it as model input, or why it can't be read."""
    try:
        return photo.view(predictor)
    except PhotoError as error:
        return error


def _results(
    predictor: Predictor,
    photos: Sequence[GivenPhoto],
    views: Sequence[np.ndarray | PhotoError],
    top: int,
    rejection: Rejection | None,
    levels: LevelChoice | None,
) -> list[dict[str, Any]]:
    """Predicts one batch of photos; returns the labels of each, or why it can't be read."""
    results = [
        {**photo.name, "error": str(view)} if isinstance(view, PhotoError) else photo.name
        for photo, view in zip(photos, views, strict=True)
    ]
    read = [view for view in views if not isinstance(view, PhotoError)]
    if read:
        names = predictor.class_names
        predicted = (result for result in results if "error" not in result)
        for result, row in zip(predicted, predictor.probabilities(read), strict=True):
            is_answer = rejection is None or bool(rejection.accepts(row))
            if levels:
                result["level"], names, row, is_answer = levels.answer(row)
            labels = ranked_labels(row)[:top]
            result |= {"label": names[labels[0]]} if is_answer else {"label": None, "reason": UNSURE_REASON}
            result["predictions"] = [{"label": names[index], "probability": float(row[index])} for index in labels]
    return results
