"""Photos by index, read and resized inside a `tf.data` pipeline."""

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from clan_tf.choices import ResizeMode
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.graph_decoding import DCT, decode_in_graph, decode_outside_graph, upright
from clan_tf.data.pipeline.resizing import Axis, centre, centre_start, full_lengths, resample, resize_window
from clan_tf.data.sources.content import record_at


class View(NamedTuple):
    """What the model sees of a photo: a square of `image_size` from the photo resized to `full_size`."""

    image_size: int
    full_size: int
    mode: ResizeMode = "stretch"


without_autograph = tf.autograph.experimental.do_not_convert
"""Keeps AutoGraph from rewriting a function of a pipeline: none needs it, and it takes longer than the tracing."""
IndexOf = Callable[[tf.Tensor], tf.Tensor]
"""From a number to the index of a photo, int32, in the graph."""


class Reader(Protocol):
    """Gives any window of any resized photo; its methods are called while a graph is traced.

    Attributes:
        view: to what the photos are resized, and how large a window is.
    """

    view: View

    def full_lengths(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns height and width of the resized photo `index`, int32."""

    def encoded(self, numbers: tf.data.Dataset, index_of: IndexOf) -> tf.data.Dataset:
        """Returns `(number, content)` for each number: the encoded photo `index_of(number)`, scalar string.

        The string is empty if this reader needs none.
        """

    def window(
        self, index: tf.Tensor, content: tf.Tensor, top: tf.Tensor, left: tf.Tensor, mirrored: tf.Tensor | bool = False
    ) -> tf.Tensor:
        """Returns the window at `top`, `left` of the resized photo `index`: uint8 RGB `(image_size, image_size, 3)`.

        With `mirrored` (bool scalar) it is flipped left to right. `content` comes from `encoded`.
        """

    def centre(self, index: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        """Returns the window in the middle, as `evaluation_view` gives it."""


class PhotoReader:
    """Decodes a photo each time it is requested: no more of a JPEG than the window needs.

    Args:
        checked: the photos.
        view: to what they are resized, and how large a window is.
    """

    def __init__(self, checked: CheckedPhotos, view: View) -> None:
        self.view = view
        self._photos = checked.photos
        self.orientations = tf.constant(checked.orientations)
        self.windows = tf.constant(checked.windows)
        self.sizes = tf.constant(checked.upright_sizes)
        self.full_sizes = tf.constant(full_sizes(checked, view))
        # libjpeg gives other colours at the left and right edge of a part, which only matters where a box ends there.
        cut = np.array([bool(photo.box and (photo.box.left or photo.box.right)) for photo in checked.photos])
        in_graph = np.array([facts.same_in_graph for facts in checked.facts])
        are_jpeg = np.array([facts.format == "JPEG" for facts in checked.facts])
        self.are_plain_jpeg = tf.constant(are_jpeg & in_graph & (checked.orientations == 1) & ~cut)
        self._in_graph = tf.constant(in_graph)
        # A branch in the graph costs time for every photo, so it is there only where it is needed.
        self._all_in_graph = bool(in_graph.all())
        self._only_plain_jpeg = bool(tf.reduce_all(self.are_plain_jpeg))
        self._only_resized = not bool(tf.reduce_any(tf.reduce_all(self.sizes == self.full_sizes, axis=1)))

    def full_lengths(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Looks up height and width of the resized photo `index`, int32."""
        height, width = tf.unstack(self.full_sizes[index])
        return height, width

    def encoded(self, numbers: tf.data.Dataset, index_of: IndexOf) -> tf.data.Dataset:
        """Reads the encoded photo of each number: `(number, content)`."""
        if self._photos[0].span:
            return self._encoded_in_records(numbers, index_of)
        if self._photos[0].content is not None:
            contents = tf.constant([photo.content for photo in self._photos])
            return numbers.map(without_autograph(lambda number: (number, contents[index_of(number)])), tf.data.AUTOTUNE)
        names = tf.constant([os.fsencode(photo.name) for photo in self._photos])
        read_file = without_autograph(lambda number: (number, tf.io.read_file(names[index_of(number)])))
        return numbers.map(read_file, tf.data.AUTOTUNE)

    def _encoded_in_records(self, numbers: tf.data.Dataset, index_of: IndexOf) -> tf.data.Dataset:
        spans = [photo.span for photo in self._photos if photo.span]
        files = tf.constant([os.fsencode(span.file) for span in spans])
        places = tf.constant(np.array([span[1:] for span in spans], dtype="int64"))

        def read(number: tf.Tensor) -> tf.data.Dataset:
            index = index_of(number)
            start, offset, length = tf.unstack(places[index])
            place = tf.cast(offset, tf.int32), tf.cast(length, tf.int32)
            return record_at(files[index], start).map(
                without_autograph(lambda data: (number, tf.strings.substr(data, *place)))
            )

        # Taken out of its dataset within a map, a record would make op determinism run the whole pipeline serially.
        return numbers.interleave(
            without_autograph(read), block_length=1, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def window(
        self, index: tf.Tensor, content: tf.Tensor, top: tf.Tensor, left: tf.Tensor, mirrored: tf.Tensor | bool = False
    ) -> tf.Tensor:
        """Decodes and resizes a window of the photo `index`: uint8 RGB `(image_size, image_size, 3)`."""
        return self._resized(index, content, (top, left), (self.view.image_size, self.view.image_size), mirrored)

    def centre(self, index: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        """Decodes and resizes the window in the middle of the photo `index`."""
        if self.view.mode == "stretch":
            return centre(self._whole(index, content), self.view.image_size)
        return self.window(index, content, *centre_corner(self, index))

    def wholes(self, with_contents: bool = False) -> tf.data.Dataset:
        """Returns every resized photo, in order: uint8 RGB `(full_height, full_width, 3)`.

        With `with_contents`, a pair of the encoded photo and that.
        """

        def whole(index: tf.Tensor, content: tf.Tensor) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
            image = self._whole(index, content)
            return (content, image) if with_contents else image

        indices = tf.data.Dataset.range(len(self._photos), output_type=tf.int32)
        return self.encoded(indices, lambda index: index).map(without_autograph(whole), tf.data.AUTOTUNE)

    def _whole(self, index: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        return self._resized(index, content, (tf.constant(0), tf.constant(0)), self.full_lengths(index))

    def _decode(self, index: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        if self._all_in_graph:
            return decode_in_graph(content)
        in_graph = self._in_graph[index]
        return tf.cond(in_graph, lambda: decode_in_graph(content), lambda: decode_outside_graph(content))

    def _resized(
        self,
        index: tf.Tensor,
        content: tf.Tensor,
        top_left: tuple[tf.Tensor, tf.Tensor],
        size: tuple[tf.Tensor | int, tf.Tensor | int],
        mirrored: tf.Tensor | bool = False,
    ) -> tf.Tensor:
        lengths, full = tf.unstack(self.sizes[index]), self.full_lengths(index)
        rows, columns = map(Axis, lengths, full, top_left, size)
        (first_row, end_row), (first_column, end_column) = rows.source_range(), columns.source_range()
        stored = self.windows[index]

        def decode_part() -> tf.Tensor:
            part = [stored[0] + first_row, stored[1] + first_column, end_row - first_row, end_column - first_column]
            return tf.image.decode_and_crop_jpeg(content, tf.stack(part), channels=3, dct_method=DCT)

        def decode_whole() -> tf.Tensor:
            image = tf.slice(self._decode(index, content), [stored[0], stored[1], 0], [stored[2], stored[3], 3])
            return upright(image, self.orientations[index])[first_row:end_row, first_column:end_column]

        is_plain = self.are_plain_jpeg[index]
        part = decode_part() if self._only_plain_jpeg else tf.cond(is_plain, decode_part, decode_whole)
        resized = resample if self._only_resized else resize_window
        return resized(part, (first_row, first_column), rows, columns, mirrored)


def centre_corner(reader: Reader, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns top and left of the window in the middle of the resized photo `index`, int32."""
    top, left = (centre_start(length, reader.view.image_size) for length in reader.full_lengths(index))
    return top, left


def full_sizes(checked: CheckedPhotos, view: View) -> np.ndarray:
    """Returns height and width of each resized photo, int32 `(photos, 2)`."""
    heights, widths = tf.unstack(tf.constant(checked.upright_sizes), axis=1)
    return tf.stack(full_lengths(heights, widths, view.full_size, view.mode), axis=1).numpy()
