"""The bytes of an encoded photo, inspected inside a TensorFlow graph."""

from typing import NamedTuple

import tensorflow as tf

_PADDING = 64


class GraphBytes(NamedTuple):
    """The bytes of a string; those beyond its end read as 0.

    Attributes:
        padded: uint8 `(size + padding,)`.
        size: scalar int32.
    """

    padded: tf.Tensor
    size: tf.Tensor

    @classmethod
    def of(cls, content: tf.Tensor) -> "GraphBytes":
        """Wraps the bytes of a scalar string."""
        data = tf.io.decode_raw(content, tf.uint8)
        return cls(tf.concat([data, tf.zeros((_PADDING,), tf.uint8)], axis=0), tf.size(data))

    def at(self, place: tf.Tensor | int) -> tf.Tensor:
        """Returns the byte at each offset, int32."""
        inside = tf.clip_by_value(place, 0, self.size + _PADDING - 1)
        return tf.cast(tf.gather(self.padded, inside), tf.int32)

    def number(self, place: tf.Tensor | int, length: int, little: tf.Tensor | bool) -> tf.Tensor:
        """Returns the unsigned number of `length` bytes at each offset, int32; numbers from 2^31 wrap to negative."""
        digits = [self.at(place + index) for index in range(length)]
        low_first = sum(digit * (1 << 8 * index) for index, digit in enumerate(digits))
        high_first = sum(digit * (1 << 8 * index) for index, digit in enumerate(reversed(digits)))
        return tf.where(little, low_first, high_first)

    def has(self, expected: bytes, place: tf.Tensor | int = 0) -> tf.Tensor:
        """Returns whether these bytes are at an offset, scalar bool."""
        return tf.reduce_all(self.at(place + tf.range(len(expected))) == list(expected))
