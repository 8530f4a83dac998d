"""A grid of photos by class, to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from clan_tf.data.photos import CheckedPhotos, decode, read_content
from clan_tf.data.pipeline import resize
from clan_tf.plots import plot_photo_grid

GRID_SIZE = 128


def write_samples(
    checked: CheckedPhotos, class_names: Sequence[str], path: Path, per_class: int = 6, classes: int = 20
) -> None:
    """Writes a PNG with the first photos of up to `classes` classes, upright and stretched to squares."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in class_names[:classes]}
    for photo, orientation in zip(checked.photos, checked.orientations, strict=True):
        row = rows.get(class_names[photo.label])
        if row is not None and len(row) < per_class:
            image = resize(decode(tf.constant(read_content(photo)), tf.constant(orientation)), GRID_SIZE)
            row.append(np.clip(np.round(image), 0, 255).astype("uint8"))
    plot_photo_grid({name: row for name, row in rows.items() if row}, path)
