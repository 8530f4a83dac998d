"""Labels for photos and folders of photos. TensorFlow is imported only for models that need it."""

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from clan_tf.in_parallel import in_parallel
from clan_tf.inference.given import GivenPhoto, PhotoInput, given_photos
from clan_tf.inference.levels import SURE_FROM, LevelChoice
from clan_tf.inference.locate import locate
from clan_tf.inference.open import open_predictor
from clan_tf.inference.predictor import Predictor
from clan_tf.photos import PhotoError
from clan_tf.progress import Progress
from clan_tf.runtime import ranked_labels

READERS = 8
"""How many photos are read at a time at most: whole photos fill the memory."""


def predict(
    model: str | os.PathLike[str],
    paths: PhotoInput | Iterable[PhotoInput],
    top: int = 5,
    progress: Progress | None = None,
    batch_size: int = 32,
    level: str | None = None,
    unsure_below: float = SURE_FROM,
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
            probabilities; or `auto` for the finest, for each photo, whose most probable label reaches `unsure_below`,
            and the coarsest if none does. `None` for the classes.
        unsure_below: the probability, 0…1, below which a level is too fine for `auto`.

    Returns:
        For each photo, in order, `{"path", "predictions": [{"label", "probability"}]}`, most probable first, or
        `{"path", "error"}`. With `level` also the `level` of the labels. For an array or image `path` is `None`, and
        `index` its place in `paths`.

    Raises:
        UserError: if the model can't be loaded or lacks the level, a folder has no photos, or an array or image
            isn't a photo.
        CheckFailed: if the model outputs NaN.
    """
    progress = progress or Progress()
    photos = given_photos(paths, progress.note)
    results: list[dict[str, Any]] = []
    with (
        open_predictor(locate(os.fspath(model)), batch_size=batch_size) as predictor,
        progress.track("predicting photos", len(photos)) as advance,
    ):
        levels = LevelChoice(predictor.taxonomy, level, predictor.path, unsure_below) if level is not None else None
        # The next batch is read while the model is busy with one.
        with closing(in_parallel(partial(_view, predictor), photos, predictor.batch_size, READERS)) as views:
            for start in range(0, len(photos), predictor.batch_size):
                batch = photos[start : start + predictor.batch_size]
                read = [view.result() for view in islice(views, len(batch))]
                for result in _results(predictor, batch, read, top, levels):
                    results.append(result)
                    advance()
    return results


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
            if levels:
                result["level"], names, row = levels.answer(row)
            labels = ranked_labels(row)[:top]
            result["predictions"] = [{"label": names[index], "probability": float(row[index])} for index in labels]
    return results
