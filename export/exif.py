"""The orientation of an encoded photo, read inside a TensorFlow graph by the rule of `clan_tf.photos.orientation`."""

import tensorflow as tf

from clan_tf.export.graph_bytes import GraphBytes
from clan_tf.photos.containers import JPEG_START, PNG_START
from clan_tf.photos.orientation import EXIF_PREFIX, LONG, MOST_ENTRIES, SHORT, TAG

_APP1, _END_OF_IMAGE, _START_OF_SCAN = 0xE1, 0xD9, 0xDA


def exif_orientation(content: tf.Tensor) -> tf.Tensor:
    """1 (upright) to 8 by the EXIF data of a JPEG, PNG or WebP photo; 1 where it says nothing valid.

    Args:
        content: scalar string.

    Returns:
        Scalar int32.
    """
    data = GraphBytes.of(content)
    start, end = tf.case(
        [
            (data.has(JPEG_START), lambda: _jpeg_exif(data)),
            (data.has(PNG_START), lambda: _chunk(data, b"eXIf", first=8, little=False)),
            (data.has(b"WEBP", 8), lambda: _chunk(data, b"EXIF", first=12, little=True)),
        ],
        default=lambda: (tf.constant(0), tf.constant(0)),
    )
    start = tf.where(data.has(EXIF_PREFIX, start), start + len(EXIF_PREFIX), start)
    return tf.cond(end - start >= 8, lambda: _orientation(data, start, end), lambda: tf.constant(1))


def _jpeg_exif(data: GraphBytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the data of a JPEG's EXIF segment begins and ends; 0 and 0 if there is none."""
    size = data.size

    def is_segment(place: tf.Tensor) -> tf.Tensor:
        marker = data.at(place + 1)
        is_standalone = (marker <= 0x01) | ((marker >= 0xD0) & (marker <= 0xD8))
        return (data.at(place) == 0xFF) & (marker != 0xFF) & ~is_standalone

    def is_exif(place: tf.Tensor) -> tf.Tensor:
        is_named = data.has(EXIF_PREFIX, place + 4)
        is_whole = place + 2 + data.number(place + 2, 2, little=False) <= size
        return is_segment(place) & (data.at(place + 1) == _APP1) & is_named & is_whole

    def goes_on(place: tf.Tensor) -> tf.Tensor:
        marker = data.at(place + 1)
        is_last = is_segment(place) & ((marker == _START_OF_SCAN) | (marker == _END_OF_IMAGE))
        return (place < size) & ~is_last & ~is_exif(place)

    def following(place: tf.Tensor) -> tuple[tf.Tensor]:
        length = data.number(place + 2, 2, little=False)
        # A length that isn't in the data, as of a damaged photo, ends the search.
        behind = tf.where((length >= 2) & (place + 2 + length <= size), place + 2 + length, size)
        is_filling = (data.at(place) != 0xFF) | (data.at(place + 1) == 0xFF)
        return (tf.where(is_segment(place), behind, place + tf.where(is_filling, 1, 2)),)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(2)])
    end = place + 2 + data.number(place + 2, 2, little=False)
    found = (place < size) & is_exif(place)
    return tf.where(found, place + 4, 0), tf.where(found, end, 0)


def _chunk(data: GraphBytes, name: bytes, first: int, little: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the data of the first chunk of a name begins and ends; 0 and 0 if there is none.

    A PNG's chunks are length, name, data and checksum; a WebP's are name, length and data, filled up to even places.
    """
    size = data.size
    name_at, length_at = (0, 4) if little else (4, 0)

    def is_wanted(place: tf.Tensor) -> tf.Tensor:
        return data.has(name, place + name_at)

    def length_of(place: tf.Tensor) -> tf.Tensor:
        return data.number(place + length_at, 4, little)

    def is_whole(place: tf.Tensor) -> tf.Tensor:
        rest = size - place - (8 if little else 12)
        return (length_of(place) >= 0) & (length_of(place) <= rest)

    def goes_on(place: tf.Tensor) -> tf.Tensor:
        return (place < size) & is_whole(place) & ~is_wanted(place)

    def following(place: tf.Tensor) -> tuple[tf.Tensor]:
        length = length_of(place)
        return (place + 8 + length + (length % 2 if little else 4),)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(first)])
    found = (place < size) & is_whole(place) & is_wanted(place)
    return tf.where(found, place + 8, 0), tf.where(found, place + 8 + length_of(place), 0)


def _orientation(data: GraphBytes, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """By the TIFF data from `start` to `end`."""
    little, big = data.has(b"II*\0", start), data.has(b"MM\0*", start)
    offset = data.number(start + 4, 4, little)
    is_inside = (offset >= 0) & (offset <= end - start - 2)
    directory = start + tf.where(is_inside, offset, 0)
    entries = directory + 2 + 12 * tf.range(tf.minimum(data.number(directory, 2, little), MOST_ENTRIES))
    tags, kinds = (data.number(entries + place, 2, little) for place in (0, 2))
    short, long = (data.number(entries + 8, length, little) for length in (2, 4))
    values = tf.where(kinds == SHORT, short, long)
    is_valid = (tags == TAG) & ((kinds == SHORT) | (kinds == LONG)) & (values >= 1) & (values <= 8)
    found = tf.boolean_mask(values, is_valid & (entries + 12 <= end) & (little | big) & is_inside)
    return tf.cond(tf.size(found) > 0, lambda: found[0], lambda: tf.constant(1))
