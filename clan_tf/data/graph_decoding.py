"""Encoded photos to pixels inside a TensorFlow graph."""

import numpy as np
import tensorflow as tf

from clan_tf.photos import decode

DCT = "INTEGER_ACCURATE"
"""The method of Pillow and phones. TensorFlow's default differs by a level or two."""


def decode_in_graph(content: tf.Tensor) -> tf.Tensor:
    """Decodes an encoded photo as it is stored, uint8 RGB `(height, width, 3)`, by TensorFlow's operators.

    Correct only for photos with `PhotoFacts.same_in_graph`.
    """
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method=DCT),
        lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, 3))


def decode_outside_graph(content: tf.Tensor) -> tf.Tensor:
    """Decodes like `decode_in_graph`, but correctly for all photos; slower, and can't be saved with a model."""
    # Stateless: with op determinism a stateful operation would make the pipeline run serially.
    image = tf.numpy_function(lambda data: decode(data).stored, [content], tf.uint8, stateful=False)
    return tf.ensure_shape(image, (None, None, 3))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undoes EXIF orientations: 2-4 mirror or turn by 180 degrees, 5-8 also swap height and width."""
    flip, transpose = tf.reverse, tf.transpose

    def swapped() -> tf.Tensor:
        return transpose(image, (1, 0, 2))

    return tf.switch_case(
        orientation - 1,
        [
            lambda: image,
            lambda: flip(image, [1]),
            lambda: flip(image, [0, 1]),
            lambda: flip(image, [0]),
            swapped,
            lambda: flip(swapped(), [1]),
            lambda: flip(swapped(), [0, 1]),
            lambda: flip(swapped(), [0]),
        ],
    )


def is_same_in_graph(content: bytes, stored: np.ndarray) -> bool:
    """Checks whether TensorFlow's operators give the pixels of a photo as it is stored, `(height, width, 3)`."""
    try:
        return np.array_equal(decode_in_graph(tf.constant(content)).numpy(), stored)
    except tf.errors.OpError:
        return False
