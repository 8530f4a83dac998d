"""The function that exported files compute for square photos of one size."""

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from clan_tf.runtime.exported import PROBABILITIES


def photo_function(model: keras.Model, input_size: int) -> Callable[[tf.Tensor], Mapping[str, tf.Tensor]]:
    """Makes a function from photos, RGB in 0…255 `(batch, input_size, input_size, 3)` of any type, to `probabilities`.

    Args:
        model: a model from `inference_model`; it sees the centres of the photos.
        input_size: side of the photos in pixels.
    """
    _, height, width, _ = model.input_shape
    top, left = (input_size - height) // 2, (input_size - width) // 2

    def serve(photos: tf.Tensor) -> Mapping[str, tf.Tensor]:
        centre = tf.cast(photos[:, top : top + height, left : left + width], tf.float32)
        return {PROBABILITIES: model(centre, training=False)[PROBABILITIES]}

    return tf.function(serve, autograph=False)
