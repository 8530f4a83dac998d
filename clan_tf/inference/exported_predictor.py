"""Exported files as `predict` takes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.photos.reading import read_photo
from clan_tf.runtime.exported import PROBABILITIES, ExportedModel


class ExportedClassifier:
    """Labels photos by an exported file; a context manager.

    Args:
        path: a `.tflite` or `.onnx` file or SavedModel folder.

    Raises:
        UserError: if it can't be read or run.
    """

    def __init__(self, path: Path) -> None:
        self._model = ExportedModel(path)
        self.class_names: Sequence[str] = self._model.contract.class_names

    def __enter__(self) -> "ExportedClassifier":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._model.close()

    def read(self, photo: Path) -> np.ndarray | str:
        """What the file is given of a photo, uint8 RGB; or why it can't be read."""
        image = read_photo(photo)
        return image if isinstance(image, str) else self._model.view(image)

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Combined probabilities `(views, classes)`; photos may have different sizes where the file resizes them."""
        return np.concatenate([self._model(view[None])[PROBABILITIES] for view in views])
