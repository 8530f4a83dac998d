"""Checked photos as batches: read, resized, augmented, cached and shuffled by `tf.data`."""

from clan_tf.data.pipeline.cache import open_reader
from clan_tf.data.pipeline.pipeline import (
    distribute,
    evaluation_batches,
    evaluation_view,
    steps_per_epoch,
    training_batches,
    training_view,
)
from clan_tf.data.pipeline.reading import PhotoReader, View

__all__ = [
    "PhotoReader",
    "View",
    "distribute",
    "evaluation_batches",
    "evaluation_view",
    "open_reader",
    "steps_per_epoch",
    "training_batches",
    "training_view",
]
