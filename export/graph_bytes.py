"""The bytes of an encoded photo, looked at inside a TensorFlow graph."""

from typing import NamedTuple

import tensorflow as tf

_PADDING = 64


class GraphBytes(NamedTuple):
    """The bytes of a string; those behind its end are read as 0.

    Attributes:
        padded: uint8 `(size + padding,)`.
        size: scalar int32.
    """

    padded: tf.Tensor
    size: tf.Tensor

    @classmethod
    def of(cls, content: tf.Tensor) -> "GraphBytes":
        """The bytes of a scalar string."""
        data = tf.io.decode_raw(content, tf.uint8)
        return cls(tf.concat([data, tf.zeros((_PADDING,), tf.uint8)], axis=0), tf.size(data))

    def at(self, place: tf.Tensor | int) -> tf.Tensor:
        """The byte at each place, int32."""
        inside = tf.clip_by_value(place, 0, self.size + _PADDING - 1)
        return tf.cast(tf.gather(self.padded, inside), tf.int32)

    def number(self, place: tf.Tensor | int, length: int, little: tf.Tensor | bool) -> tf.Tensor:
        """The unsigned number of `length` bytes at each place, int32; numbers of 2 GB and more are negative."""
        digits = [self.at(place + index) for index in range(length)]
        low_first = sum(digit * (1 << 8 * index) for index, digit in enumerate(digits))
        high_first = sum(digit * (1 << 8 * index) for index, digit in enumerate(reversed(digits)))
        return tf.where(little, low_first, high_first)

    def has(self, expected: bytes, place: tf.Tensor | int = 0) -> tf.Tensor:
        """Whether these bytes stand at a place, scalar bool."""
        return tf.reduce_all(self.at(place + tf.range(len(expected))) == list(expected))
