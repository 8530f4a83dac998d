"""The orientation of an encoded photo, read inside a TensorFlow graph by the rule of `clan_tf.photos.orientation`."""

import tensorflow as tf

from clan_tf.export.graph_bytes import GraphBytes
from clan_tf.export.graph_containers import jpeg_segment, png_chunk, webp_chunk
from clan_tf.photos.containers import JPEG_START, PNG_START
from clan_tf.photos.orientation import EXIF_PREFIX, LONG, MOST_ENTRIES, SHORT, TAG

_APP1 = 0xE1


def exif_orientation(content: tf.Tensor) -> tf.Tensor:
    """Reads the orientation, 1 (upright) to 8, from the EXIF data of a JPEG, PNG or WebP photo; 1 if it has none.

    Args:
        content: scalar string.

    Returns:
        Scalar int32.
    """
    data = GraphBytes.of(content)
    found, start, end = tf.case(
        [
            (data.has(JPEG_START), lambda: _jpeg_exif(data)),
            (data.has(PNG_START), lambda: png_chunk(data, b"eXIf")),
            (data.has(b"RIFF") & data.has(b"WEBP", 8), lambda: webp_chunk(data, b"EXIF")),
        ],
        default=lambda: (tf.constant(False), tf.constant(0), tf.constant(0)),
    )
    start = tf.where(data.has(EXIF_PREFIX, start), start + len(EXIF_PREFIX), start)
    return tf.cond(found & (end - start >= 8), lambda: _orientation(data, start, end), lambda: tf.constant(1))


def _jpeg_exif(data: GraphBytes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return jpeg_segment(data, lambda place: (data.at(place + 1) == _APP1) & data.has(EXIF_PREFIX, place + 4))


def _orientation(data: GraphBytes, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from the TIFF data between `start` and `end`."""
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
