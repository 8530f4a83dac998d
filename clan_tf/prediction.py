"""Labels for photos and folders of photos."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from clan_tf.data.photos import PHOTO_SUFFIXES, decode, exif_orientation, problem_with
from clan_tf.data.pipeline import evaluation_view
from clan_tf.errors import UserError
from clan_tf.inference import model_view
from clan_tf.models import COMBINED, BranchClassifier
from clan_tf.progress import Progress
from clan_tf.run import find_model, load_model


def predict(
    model: str, paths: Sequence[str], top: int = 5, progress: Progress | None = None, batch_size: int = 32
) -> list[dict[str, Any]]:
    """Labels of photos by the model's combined prediction.

    Args:
        model: a run directory or a `.keras` file.
        paths: photos, and folders whose photos are taken, subfolders included.
        top: how many labels per photo.
        progress: where progress is shown.
        batch_size: how many photos are predicted at a time.

    Returns:
        For each photo, in order, `{"path", "predictions": [{"label", "probability"}]}`, most probable first, or
        `{"path", "error"}`.

    Raises:
        UserError: if the model can't be loaded or there are no photos.
    """
    progress = progress or Progress()
    photos = list_photos(paths)
    path, _ = find_model(model)
    loaded = load_model(path)
    predict_batch = tf.function(lambda batch: loaded(batch, training=False)[COMBINED], autograph=False)
    results: list[dict[str, Any]] = []
    with progress.track("predicting photos", len(photos)) as advance:
        for start in range(0, len(photos), batch_size):
            batch = [_read(photo, loaded) for photo in photos[start : start + batch_size]]
            views = [view for view in batch if not isinstance(view, str)]
            answers = iter(_answers(predict_batch, views, batch_size, loaded.class_names, top))
            for photo, view in zip(photos[start : start + batch_size], batch, strict=True):
                failed = isinstance(view, str)
                results.append(
                    {"path": str(photo), "error": view}
                    if failed
                    else {"path": str(photo), "predictions": next(answers)}
                )
                advance()
    return results


def list_photos(paths: Sequence[str]) -> list[Path]:
    """The files given, and the photos in the folders given; a `UserError` where there is nothing."""
    photos: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES and p.is_file())
            if not found:
                raise UserError(f"{path}: has no photos ({', '.join(PHOTO_SUFFIXES)}).")
            photos += found
        else:
            photos.append(path)
    return photos


def read_photo(photo: Path) -> tf.Tensor | str:
    """A photo file as upright uint8 RGB `(height, width, 3)`, or why it can't be read."""
    try:
        content = photo.read_bytes()
    except OSError as error:
        return error.strerror or str(error)
    problem = problem_with(content)
    if problem:
        return problem
    return decode(tf.constant(content), tf.constant(exif_orientation(content)))


def _read(photo: Path, model: BranchClassifier) -> tf.Tensor | str:
    """What the model sees of the photo, or why it can't be read."""
    image = read_photo(photo)
    return image if isinstance(image, str) else evaluation_view(image, model_view(model))


def _answers(
    predict_batch: Any, views: Sequence[tf.Tensor], batch_size: int, names: Sequence[str], top: int
) -> list[list[dict[str, Any]]]:
    if not views:
        return []
    # Batches of one size are traced once.
    filling = [views[0]] * (batch_size - len(views))
    probabilities = predict_batch(tf.stack([*views, *filling])).numpy()[: len(views)]
    return [
        [{"label": names[label], "probability": float(row[label])} for label in np.argsort(-row)[:top]]
        for row in probabilities
    ]
