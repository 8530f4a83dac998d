"""Photos by index, read and resized inside a `tf.data` pipeline."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from clan_tf.config import ResizeMode
from clan_tf.data.photos import DCT, CheckedPhotos, decode_stored, read_record, upright
from clan_tf.data.resizing import Axis, full_lengths, resample, resize_window


class View(NamedTuple):
    """What the model sees of a photo: a square of `image_size` from the photo resized to `full_size`."""

    image_size: int
    full_size: int
    mode: ResizeMode = "stretch"


class Reader(Protocol):
    """Gives any window of any resized photo; its methods are called while a graph is traced.

    Attributes:
        view: to what the photos are resized, and how large a window is.
    """

    view: View

    def full_lengths(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Height and width of the resized photo `index`, int32."""

    def window(
        self, index: tf.Tensor, top: tf.Tensor, left: tf.Tensor, mirrored: tf.Tensor | bool = False
    ) -> tf.Tensor:
        """The window at `top`, `left` of the resized photo `index`: uint8 RGB `(image_size, image_size, 3)`.

        With `mirrored` (bool scalar) it is flipped left to right.
        """


class PhotoReader:
    """Decodes a photo each time that it is wanted: no more of a JPEG than the window needs.

    Args:
        checked: the photos.
        view: to what they are resized, and how large a window is.
    """

    def __init__(self, checked: CheckedPhotos, view: View) -> None:
        self.view = view
        self.content = _content_function(checked)
        self.orientations = tf.constant(checked.orientations)
        self.windows = tf.constant(checked.windows)
        self.sizes = tf.constant(checked.upright_sizes)
        self.full_sizes = tf.constant(full_sizes(checked, view))
        # libjpeg gives other colours at the left and right edge of a part, which only matters where a box ends there.
        cut = np.array([bool(photo.box and (photo.box.left or photo.box.right)) for photo in checked.photos])
        self.are_plain_jpeg = tf.constant(checked.are_jpeg & (checked.orientations == 1) & ~cut)
        # A branch in the graph costs time for every photo, so it is there only where it is needed.
        self._only_plain_jpeg = bool(tf.reduce_all(self.are_plain_jpeg))
        self._only_resized = not bool(tf.reduce_any(tf.reduce_all(self.sizes == self.full_sizes, axis=1)))

    def full_lengths(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        height, width = tf.unstack(self.full_sizes[index])
        return height, width

    def window(
        self, index: tf.Tensor, top: tf.Tensor, left: tf.Tensor, mirrored: tf.Tensor | bool = False
    ) -> tf.Tensor:
        return self._resized(index, (top, left), (self.view.image_size, self.view.image_size), mirrored)

    def whole(self, index: tf.Tensor) -> tf.Tensor:
        """The resized photo `index`: uint8 RGB `(full_height, full_width, 3)`."""
        return self._resized(index, (tf.constant(0), tf.constant(0)), self.full_lengths(index))

    def _resized(
        self,
        index: tf.Tensor,
        top_left: tuple[tf.Tensor, tf.Tensor],
        size: tuple[tf.Tensor | int, tf.Tensor | int],
        mirrored: tf.Tensor | bool = False,
    ) -> tf.Tensor:
        lengths, full = tf.unstack(self.sizes[index]), self.full_lengths(index)
        rows, columns = map(Axis, lengths, full, top_left, size)
        (first_row, end_row), (first_column, end_column) = rows.source_range(), columns.source_range()
        content, stored = self.content(index), self.windows[index]

        def decode_part() -> tf.Tensor:
            part = [stored[0] + first_row, stored[1] + first_column, end_row - first_row, end_column - first_column]
            return tf.image.decode_and_crop_jpeg(content, tf.stack(part), channels=3, dct_method=DCT)

        def decode_whole() -> tf.Tensor:
            image = tf.slice(decode_stored(content), [stored[0], stored[1], 0], [stored[2], stored[3], 3])
            return upright(image, self.orientations[index])[first_row:end_row, first_column:end_column]

        is_plain = self.are_plain_jpeg[index]
        part = decode_part() if self._only_plain_jpeg else tf.cond(is_plain, decode_part, decode_whole)
        resized = resample if self._only_resized else resize_window
        return resized(part, (first_row, first_column), rows, columns, mirrored)


def full_sizes(checked: CheckedPhotos, view: View) -> np.ndarray:
    """Height and width of each resized photo, int32 `(photos, 2)`."""
    heights, widths = tf.unstack(tf.constant(checked.upright_sizes), axis=1)
    return tf.stack(full_lengths(heights, widths, view.full_size, view.mode), axis=1).numpy()


def _content_function(checked: CheckedPhotos) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from an index to the encoded photo, in the graph."""
    first = checked.photos[0]
    if first.content is not None:
        contents = tf.constant([photo.content for photo in checked.photos])
        return lambda index: contents[index]
    if first.span is None:
        names = tf.constant([photo.name for photo in checked.photos])
        return lambda index: tf.io.read_file(names[index])
    spans = [photo.span for photo in checked.photos]
    files = tf.constant([span.file for span in spans])
    places = tf.constant(np.array([span[1:] for span in spans], dtype="int64"))

    def read_span(index: tf.Tensor) -> tf.Tensor:
        record, offset, length = tf.unstack(places[index])
        data = read_record(files[index], record)
        return tf.strings.substr(data, tf.cast(offset, tf.int32), tf.cast(length, tf.int32))

    return read_span
