"""Labels for photos and folders of photos. TensorFlow is imported only for models that need it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clan_tf.inference.exported_predictor import ExportedClassifier
from clan_tf.photos.listing import list_photos
from clan_tf.progress import Progress
from clan_tf.runtime.contract import find_exported
from clan_tf.runtime.ranking import ranked_labels


class PhotoClassifier(Protocol):
    """A model of any kind that labels photos.

    Attributes:
        class_names: the labels, in the order of the probabilities.
    """

    class_names: Sequence[str]

    def read(self, photo: Path) -> np.ndarray | str:
        """What the model is given of a photo file, uint8 RGB; or why it can't be read."""

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Combined probabilities `(views, classes)` of what `read` gave."""


def predict(
    model: str, paths: Sequence[str], top: int = 5, progress: Progress | None = None, batch_size: int = 32
) -> list[dict[str, Any]]:
    """Labels of photos by the model's combined prediction.

    Args:
        model: a run directory, a `.keras` file, or an export: its folder, or the `.tflite` or `.onnx` file or
            SavedModel folder, whose labels and preprocessing are read from itself. `.tflite` and `.onnx` files need no
            TensorFlow.
        paths: photos, and folders whose photos are taken, subfolders included, as training takes them; what is left out
            is noted.
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
    photos = list_photos(paths, progress.note)
    results: list[dict[str, Any]] = []
    with (
        _open_classifier(Path(model), batch_size) as classifier,
        progress.track("predicting photos", len(photos)) as advance,
    ):
        for start in range(0, len(photos), batch_size):
            batch = [classifier.read(photo) for photo in photos[start : start + batch_size]]
            views = [view for view in batch if not isinstance(view, str)]
            answers = iter(_answers(classifier, views, top))
            for photo, view in zip(photos[start : start + batch_size], batch, strict=True):
                failed = isinstance(view, str)
                results.append(
                    {"path": str(photo), "error": view}
                    if failed
                    else {"path": str(photo), "predictions": next(answers)}
                )
                advance()
    return results


def _open_classifier(model: Path, batch_size: int) -> AbstractContextManager[PhotoClassifier]:
    if find_exported(model):
        return ExportedClassifier(model)
    from clan_tf.inference.keras_predictor import KerasClassifier

    return KerasClassifier(model, batch_size)


def _answers(classifier: PhotoClassifier, views: Sequence[np.ndarray], top: int) -> list[list[dict[str, Any]]]:
    if not views:
        return []
    names = classifier.class_names
    return [
        [{"label": names[label], "probability": float(row[label])} for label in ranked_labels(row)[:top]]
        for row in classifier.probabilities(views)
    ]
