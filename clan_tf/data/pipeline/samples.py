"""Grids of photos for visual inspection: by class, and as training sees them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from clan_tf.config import Experiment
from clan_tf.data.checked_photos import CheckedPhotos, used_part
from clan_tf.data.pipeline.pipeline import training_batches, training_view
from clan_tf.data.pipeline.reading import PhotoReader
from clan_tf.plots import plot_labelled_photos, plot_photo_grid

GRID_SIZE = 128


def write_samples(
    checked: CheckedPhotos, class_names: Sequence[str], path: Path, per_class: int = 6, classes: int = 20
) -> None:
    """Writes a PNG with the first photos of up to `classes` classes, upright and stretched to squares."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in class_names[:classes]}
    for index, photo in enumerate(checked.photos):
        row = rows.get(class_names[photo.label])
        if row is not None and len(row) < per_class:
            row.append(_tile(used_part(checked, index).numpy()))
    plot_photo_grid({name: row for name, row in rows.items() if row}, path)


def write_augmented_samples(
    checked: CheckedPhotos, class_names: Sequence[str], experiment: Experiment, path: Path, photos: int = 24
) -> None:
    """Writes a PNG with the first photos of a training run as the model sees them, and their labels."""
    training = experiment.training.model_copy(update={"batch_size": min(photos, len(checked.photos)), "epochs": 1})
    few = experiment.model_copy(update={"training": training})
    reader = PhotoReader(checked, training_view(experiment.data))
    images, labels = next(iter(training_batches(reader, checked.labels, len(class_names), few)))
    tiles = [_tile(np.rint(image).astype("uint8")) for image in images.numpy()]
    plot_labelled_photos(tiles, [_mixture(label, class_names) for label in labels.numpy()], path)


def _tile(photo: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((GRID_SIZE, GRID_SIZE), Image.Resampling.BILINEAR))


def _mixture(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Returns a label's text; with MixUp or CutMix the two classes and their shares, from one per cent."""
    if label.ndim == 0:
        return class_names[int(label)]
    shares = [(label[index], class_names[index]) for index in map(int, np.argsort(-label)[:2])]
    return "\n".join(f"{share:.0%} {name}" for share, name in shares if share >= 0.01)
