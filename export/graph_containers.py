"""The containers of encoded photos, parsed inside a TensorFlow graph as `clan_tf.photos.containers` does for bytes."""

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from clan_tf.export.graph_bytes import GraphBytes
from clan_tf.photos.containers import JPEG_START, PNG_START

_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
Place: TypeAlias = tf.Tensor
"""A byte's offset, scalar int32."""


def jpeg_segment(data: GraphBytes, is_wanted: Callable[[Place], tf.Tensor]) -> tuple[tf.Tensor, Place, Place]:
    """Finds the first wanted and complete segment of a JPEG before its first scan.

    Args:
        data: the photo.
        is_wanted: returns whether a segment is wanted, scalar bool, from the offset of its marker's 0xFF.

    Returns:
        Whether there is one, and the offsets where its data begin and end.
    """
    size = data.size

    def is_segment(place: Place) -> tf.Tensor:
        marker = data.at(place + 1)
        is_standalone = (marker <= 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
        return (data.at(place) == 0xFF) & (marker != 0xFF) & ~is_standalone

    def end_of(place: Place) -> Place:
        return place + 2 + data.number(place + 2, 2, little=False)

    def is_whole(place: Place) -> tf.Tensor:
        return (end_of(place) >= place + 4) & (end_of(place) <= size)

    def is_found(place: Place) -> tf.Tensor:
        return is_segment(place) & is_whole(place) & is_wanted(place)

    def goes_on(place: Place) -> tf.Tensor:
        marker = data.at(place + 1)
        is_last = is_segment(place) & ((marker == _START_OF_SCAN) | (marker == _END_OF_IMAGE))
        return (place < size) & ~is_last & ~is_found(place)

    def following(place: Place) -> tuple[Place]:
        # A length beyond the data, as in a damaged photo, ends the search.
        behind = tf.where(is_whole(place), end_of(place), size)
        is_filling = (data.at(place) != 0xFF) | (data.at(place + 1) == 0xFF)
        return (tf.where(is_segment(place), behind, place + tf.where(is_filling, 1, 2)),)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(2)])
    return (place < size) & is_found(place), place + 4, end_of(place)


def png_chunk(data: GraphBytes, name: bytes) -> tuple[tf.Tensor, Place, Place]:
    """Finds, as `jpeg_segment`, the first chunk of a name in a PNG: length, name, data and checksum."""
    return _chunk(data, name, first=8, little=False)


def webp_chunk(data: GraphBytes, name: bytes) -> tuple[tf.Tensor, Place, Place]:
    """Finds, as `jpeg_segment`, the first chunk of a name in a WebP: name, length and data, padded to even offsets."""
    return _chunk(data, name, first=12, little=True)


def _chunk(data: GraphBytes, name: bytes, first: int, little: bool) -> tuple[tf.Tensor, Place, Place]:
    size = data.size
    name_at, length_at = (0, 4) if little else (4, 0)

    def is_wanted(place: Place) -> tf.Tensor:
        return data.has(name, place + name_at)

    def length_of(place: Place) -> tf.Tensor:
        return data.number(place + length_at, 4, little)

    def is_whole(place: Place) -> tf.Tensor:
        rest = size - place - (8 if little else 12)
        return (length_of(place) >= 0) & (length_of(place) <= rest)

    def goes_on(place: Place) -> tf.Tensor:
        return (place < size) & is_whole(place) & ~is_wanted(place)

    def following(place: Place) -> tuple[Place]:
        length = length_of(place)
        return (place + 8 + length + (length % 2 if little else 4),)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(first)])
    found = (place < size) & is_whole(place) & is_wanted(place)
    return found, place + 8, place + 8 + length_of(place)


def jpeg_frame(data: GraphBytes) -> tuple[tf.Tensor, Place, Place]:
    """Finds, as `jpeg_segment`, the frame header: its data are the bits per sample, the height and the width."""

    def is_frame(place: Place) -> tf.Tensor:
        marker = data.at(place + 1)
        is_other = (marker == 0xC4) | (marker == 0xC8) | (marker == 0xCC)
        return (marker >= 0xC0) & (marker <= 0xCF) & ~is_other

    return jpeg_segment(data, is_frame)


def stored_pixels(data: GraphBytes) -> tf.Tensor:
    """Returns the number of pixels according to the photo's header, scalar int64; 0 if it can't be read."""

    def area(width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
        return tf.abs(tf.cast(width, tf.int64)) * tf.abs(tf.cast(height, tf.int64))

    def numbers(first: Place | int, second: Place | int, length: int, little: bool) -> tf.Tensor:
        return area(data.number(first, length, little), data.number(second, length, little))

    def of_jpeg() -> tf.Tensor:
        found, start, _ = jpeg_frame(data)
        return tf.where(found, numbers(start + 3, start + 1, 2, little=False), 0)

    def of_lossless_webp() -> tf.Tensor:
        bits = data.number(21, 4, little=True)
        return area(tf.bitwise.bitwise_and(bits, 0x3FFF) + 1, tf.bitwise.bitwise_and(bits // 2**14, 0x3FFF) + 1)

    def of_lossy_webp() -> tf.Tensor:
        lengths = (tf.bitwise.bitwise_and(data.number(place, 2, little=True), 0x3FFF) for place in (26, 28))
        return area(*lengths)

    def of_extended_webp() -> tf.Tensor:
        return area(data.number(24, 3, little=True) + 1, data.number(27, 3, little=True) + 1)

    is_webp = data.has(b"WEBP", 8)
    return tf.case(
        [
            (data.has(JPEG_START), of_jpeg),
            (data.has(PNG_START), lambda: numbers(16, 20, 4, little=False)),
            (data.has(b"GIF8"), lambda: numbers(6, 8, 2, little=True)),
            (data.has(b"BM"), lambda: numbers(18, 22, 4, little=True)),
            (is_webp & data.has(b"VP8X", 12), of_extended_webp),
            (is_webp & data.has(b"VP8L", 12), of_lossless_webp),
            (is_webp & data.has(b"VP8 ", 12), of_lossy_webp),
        ],
        default=lambda: tf.constant(0, tf.int64),
    )
