"""Labels for photos and folders of photos. TensorFlow is imported only for models that need it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.inference.locate import locate
from clan_tf.inference.open import open_predictor
from clan_tf.inference.predictor import Predictor
from clan_tf.photos import PhotoError, list_photos
from clan_tf.progress import Progress
from clan_tf.runtime import ranked_labels


def predict(
    model: str, paths: Sequence[str], top: int = 5, progress: Progress | None = None, batch_size: int = 32
) -> list[dict[str, Any]]:
    """Predicts labels of photos by the model's combined prediction.

    Args:
        model: a run directory, a `.keras` file, or an export: its folder, or the `.tflite` or `.onnx` file or
            SavedModel folder, which contains its labels and preprocessing. `.tflite` and `.onnx` files need no
            TensorFlow.
        paths: photos, and folders whose photos are predicted, subfolders included, by the same rules as for training;
            skipped files are noted.
        top: how many labels per photo.
        progress: where progress is shown.
        batch_size: how many photos are predicted at a time.

    Returns:
        For each photo, in order, `{"path", "predictions": [{"label", "probability"}]}`, most probable first, or
        `{"path", "error"}`.

    Raises:
        UserError: if the model can't be loaded or there are no photos.
        CheckFailed: if the model outputs NaN.
    """
    progress = progress or Progress()
    photos = list_photos(paths, progress.note)
    results: list[dict[str, Any]] = []
    with (
        open_predictor(locate(model), batch_size=batch_size) as predictor,
        progress.track("predicting photos", len(photos)) as advance,
    ):
        for start in range(0, len(photos), batch_size):
            for result in _results(predictor, photos[start : start + batch_size], top):
                results.append(result)
                advance()
    return results


def _results(predictor: Predictor, photos: Sequence[Path], top: int) -> list[dict[str, Any]]:
    """Predicts one batch of photos; returns the labels of each, or why it can't be read."""
    views: dict[Path, np.ndarray] = {}
    results: dict[Path, dict[str, Any]] = {}
    for photo in photos:
        try:
            views[photo] = predictor.read(photo)
        except PhotoError as error:
            results[photo] = {"path": str(photo), "error": str(error)}
    if views:
        names = predictor.class_names
        for photo, row in zip(views, predictor.probabilities([*views.values()]), strict=True):
            labels = [{"label": names[index], "probability": float(row[index])} for index in ranked_labels(row)[:top]]
            results[photo] = {"path": str(photo), "predictions": labels}
    return [results[photo] for photo in photos]
