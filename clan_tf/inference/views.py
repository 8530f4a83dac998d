"""Model inputs from checked photos, by the evaluation pipeline."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import tensorflow as tf

from clan_tf.data.checked_photos import CheckedPhotos, used_part
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches, evaluation_view
from clan_tf.models import BranchClassifier
from clan_tf.runtime import Contract


def view_of_model(model: BranchClassifier) -> View:
    """Returns the view of a photo that a Keras model sees."""
    return View(model.image_size, model.resize_size, model.resize_mode)


def seen_by_model(model: BranchClassifier, photo: np.ndarray) -> np.ndarray:
    """Prepares a whole upright photo, uint8 RGB `(height, width, 3)`, as a Keras model sees it."""
    return _in_graph(view_of_model(model))(photo).numpy()


@cache
def _in_graph(view: View) -> tf.types.experimental.PolymorphicFunction:
    """Returns `evaluation_view` as a graph for photos of any size, which is faster than its operators one by one."""
    photos = tf.TensorSpec((None, None, 3), tf.uint8)
    return tf.function(lambda photo: evaluation_view(photo, view), input_signature=[photos], autograph=False)


def views_of_contract(contract: Contract, checked: CheckedPhotos) -> Iterator[np.ndarray]:
    """Yields an exported file's input for each photo: uint8 RGB, whole if the file resizes photos itself."""
    if contract.input_size is None:
        yield from (used_part(checked, index).numpy() for index in range(len(checked.photos)))
        return
    view = View(contract.input_size, contract.resize_size, contract.resize_mode)
    for photos, _, _ in evaluation_batches(PhotoReader(checked, view), checked.labels, 1):
        yield photos[0].numpy()
