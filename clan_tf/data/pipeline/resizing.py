"""Antialiased bilinear resizing, of a whole photo or of just the window of it that is wanted, rounded to uint8.

Halves are rounded up, as Pillow does.

The same function prepares photos for training, evaluation, prediction and exported models. Its values are those of
`tf.image.resize(..., antialias=True)`, rounded. TensorFlow's kernel is fast where there are many channels, and slow
along the columns, where there are three. So each axis is resized alone, with all numbers of the other one as its
channels; but both at once of a photo that becomes much smaller, because turning it would cost more than that saves.
"""

from typing import NamedTuple

import tensorflow as tf

from clan_tf.choices import ResizeMode

MUCH_SMALLER = 0.1
"""Below this share of the pixels both axes are resized at once (1600 x 1200 to 512 pixels: 0.14; 3264 x 2448: 0.03)."""


class Axis(NamedTuple):
    """One axis of a resize.

    Attributes:
        length: pixels of the photo, int32 scalar.
        full: pixels of the resized photo, int32 scalar.
        offset: where the wanted window of the resized photo begins, int32 scalar.
        size: pixels of the window.
    """

    length: tf.Tensor
    full: tf.Tensor
    offset: tf.Tensor
    size: tf.Tensor | int

    @property
    def scale(self) -> tf.Tensor:
        """Resized pixels per pixel of the photo, float32."""
        return tf.cast(self.full, tf.float32) / tf.cast(self.length, tf.float32)

    def source_range(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the photo's pixels `start`, `stop` that the window depends on, int32."""
        support = tf.maximum(1.0, 1.0 / self.scale)
        first, last = self.offset, self.offset + self.size - 1
        start = (tf.cast(first, tf.float32) + 0.5) / self.scale - 0.5 - support
        stop = (tf.cast(last, tf.float32) + 0.5) / self.scale - 0.5 + support
        # One more pixel on either side, because the division is rounded.
        start = tf.maximum(tf.cast(tf.floor(start), tf.int32) - 1, 0)
        return start, tf.minimum(tf.cast(tf.math.ceil(stop), tf.int32) + 2, self.length)


def full_lengths(height: tf.Tensor, width: tf.Tensor, size: int, mode: ResizeMode) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns height and width of resized photos: squares of `size`, or the shorter side `size` and the aspect kept.

    Args:
        height: int32, of one photo or of many.
        width: of the same shape.
    """
    if mode == "stretch":
        return tf.fill(tf.shape(height), size), tf.fill(tf.shape(width), size)
    shorter = tf.minimum(height, width)

    def scaled(length: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.round(tf.cast(length * size, tf.float32) / tf.cast(shorter, tf.float32)), tf.int32)

    return scaled(height), scaled(width)


def resize_photo(image: tf.Tensor, size: int, mode: ResizeMode = "stretch") -> tf.Tensor:
    """Resizes a whole photo.

    Args:
        image: uint8 RGB `(height, width, 3)`.
        size: side of the square or, where the aspect is kept, the shorter side.

    Returns:
        Uint8 RGB `(size, size, 3)`, or `(full_height, full_width, 3)`.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    full_height, full_width = full_lengths(height, width, size, mode)
    zero = tf.constant(0)
    resized = resize_window(
        image, (zero, zero), Axis(height, full_height, zero, full_height), Axis(width, full_width, zero, full_width)
    )
    return tf.ensure_shape(resized, (size, size, 3)) if mode == "stretch" else resized


def centre(photo: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the square of `size` pixels in the middle of a photo `(height, width, channels)`."""
    top, left = (centre_start(length, size) for length in tf.unstack(tf.shape(photo)[:2]))
    return tf.slice(photo, tf.stack([top, left, 0]), [size, size, 3])


def centre_start(length: tf.Tensor, size: int) -> tf.Tensor:
    """Returns where the middle `size` pixels of `length` begin."""
    return (length - size) // 2


def resize_window(
    part: tf.Tensor, origin: tuple[tf.Tensor, tf.Tensor], rows: Axis, columns: Axis, mirrored: tf.Tensor | bool = False
) -> tf.Tensor:
    """Computes a window of the resized photo from the part of the photo that it depends on.

    Args:
        part: uint8 RGB `(part_height, part_width, 3)`, which covers `rows.source_range()` and
            `columns.source_range()`.
        origin: the row and column of the photo at which `part` begins, int32 scalars.
        rows: the vertical axis.
        columns: the horizontal axis.
        mirrored: bool scalar, whether the window is flipped left to right.

    Returns:
        Uint8 RGB `(rows.size, columns.size, 3)`.
    """

    def cut_out() -> tf.Tensor:
        begin = [rows.offset - origin[0], columns.offset - origin[1], 0]
        return mirror(tf.slice(part, begin, [rows.size, columns.size, 3]), mirrored)

    resampled = tf.cond(
        (rows.full == rows.length) & (columns.full == columns.length),
        cut_out,
        lambda: resample(part, origin, rows, columns, mirrored),
    )
    return tf.reshape(resampled, (rows.size, columns.size, 3))


def mirror(image: tf.Tensor, mirrored: tf.Tensor | bool, axis: int = 1) -> tf.Tensor:
    """Reverses an image along an axis if `mirrored`."""
    if mirrored is False:  # known while the graph is traced
        return image
    return tf.cond(tf.convert_to_tensor(mirrored), lambda: tf.reverse(image, [axis]), lambda: image)


def resample(
    part: tf.Tensor, origin: tuple[tf.Tensor, tf.Tensor], rows: Axis, columns: Axis, mirrored: tf.Tensor | bool
) -> tf.Tensor:
    """Does the work of `resize_window` for photos that don't already have the wanted size."""
    height, width = tf.unstack(tf.shape(part)[:2])

    def both_at_once() -> tf.Tensor:
        return mirror(_scale_and_translate(part, origin, (rows, columns)), mirrored)

    def one_after_the_other() -> tf.Tensor:
        by_row = _resample_rows(tf.reshape(part, (height, width * 3)), origin[0], rows)
        by_column = tf.reshape(tf.transpose(by_row), (width, 3 * rows.size))
        # Mirroring costs almost nothing here.
        by_column = mirror(_resample_rows(by_column, origin[1], columns), mirrored, axis=0)
        values = tf.transpose(tf.reshape(by_column, (columns.size * 3, rows.size)))
        return tf.reshape(values, (rows.size, columns.size, 3))

    values = tf.cond(rows.scale * columns.scale < MUCH_SMALLER, both_at_once, one_after_the_other)
    # The weights are positive and sum to 1, so that nothing leaves 0…255 but by rounding errors far below 0.5.
    return tf.cast(values + 0.5, tf.uint8)


def _resample_rows(matrix: tf.Tensor, origin: tf.Tensor, axis: Axis) -> tf.Tensor:
    """Resamples `(part_length, numbers)` to float32 `(axis.size, numbers)`."""
    one = tf.constant(1)
    return _scale_and_translate(matrix[None], (0, origin), (Axis(one, one, 0, 1), axis))[0]


def _scale_and_translate(
    image: tf.Tensor, origin: tuple[tf.Tensor | int, tf.Tensor | int], axes: tuple[Axis, Axis]
) -> tf.Tensor:
    """Resamples `(part_height, part_width, channels)` to a window, float32 `(rows.size, columns.size, channels)`."""
    translation = [
        tf.cast(start, tf.float32) * axis.scale - tf.cast(axis.offset, tf.float32)
        for start, axis in zip(origin, axes, strict=True)
    ]
    return tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=tf.stack([axis.size for axis in axes]),
        scale=tf.stack([axis.scale for axis in axes]),
        translation=tf.stack(translation),
        kernel_type="triangle",
        antialias=True,
    )[0]
