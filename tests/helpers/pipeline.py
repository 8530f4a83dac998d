"""Photos for the pipeline, and what is to be seen of them."""

from io import BytesIO
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from clan_tf.config import Experiment, load_experiment
from clan_tf.data.checked_photos import CheckedPhotos, used_part
from clan_tf.data.pipeline import PhotoReader, View, training_batches, training_view
from helpers import TINY_DEMO

SIZES = ((40, 50), (37, 23), (90, 64), (64, 64), (200, 31))


def encoded(pixels: np.ndarray, file_format: str, mode: str = "RGB", orientation: int = 1) -> bytes:
    stream, exif = BytesIO(), Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).convert(mode).save(
        stream, file_format, exif=exif, **{"JPEG": {"quality": 90}}.get(file_format, {})
    )
    return stream.getvalue()


def reference(checked: CheckedPhotos, index: int, view: View) -> np.ndarray:
    """The whole resized photo by TensorFlow's own function, float32."""
    image = used_part(checked, index)
    height, width = image.shape[:2]
    shorter = min(height, width)
    size = (view.full_size, view.full_size)
    if view.mode == "keep_aspect":
        size = tuple(round(side * view.full_size / shorter) for side in (height, width))
    return tf.image.resize(image, size, antialias=True).numpy()


def experiment(*overrides: str) -> Experiment:
    common = ["training.batch_size=4", "training.epochs=2", "data.image_size=24", "data.resize_size=32"]
    return load_experiment(TINY_DEMO, [*common, *overrides])


def images(checked: CheckedPhotos, setup: Experiment, **kwargs: Any) -> list[np.ndarray]:
    reader = PhotoReader(checked, training_view(setup.data))
    return [batch.numpy() for batch, _ in training_batches(reader, checked.labels, 4, setup, **kwargs)]
