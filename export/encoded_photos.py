"""Decoding of encoded photos inside a TensorFlow graph, for the signature `serve_bytes`.

The pixels equal those of `clan_tf.photos.decoding`. Files that TensorFlow's operators decode differently are refused
before they reach them: animated WebP even corrupts their memory. Damage that libjpeg only warns about isn't detected.
"""

import struct

import tensorflow as tf

from clan_tf.data.graph_decoding import decode_in_graph, is_same_in_graph, upright
from clan_tf.export.exif import exif_orientation
from clan_tf.export.graph_bytes import GraphBytes
from clan_tf.export.graph_containers import jpeg_frame, stored_pixels
from clan_tf.photos import PhotoFacts, decode
from clan_tf.photos.containers import JPEG_START, PNG_START, GifFrame, gif_first_frame, is_animated_webp
from clan_tf.photos.decoding import MAX_PIXELS
from clan_tf.photos.jpeg import FRAMES

_UNKNOWN = "isn't a JPEG, PNG, GIF, BMP or WebP photo"
_ANIMATED = "an animated WebP isn't decoded by serve_bytes; send its first frame as a JPEG or PNG"
_PARTIAL = (
    "a GIF with transparency, or whose first frame isn't the whole picture, isn't decoded by serve_bytes; send a PNG"
)
_INDIRECT = "only BMPs of 24 or 32 bits without palette, masks and compression are decoded by serve_bytes; send a PNG"
_CODING = "lossless, hierarchical and arithmetically coded JPEGs aren't decoded"
_LARGE = f"it has more than {MAX_PIXELS / 1e6:.0f} million pixels"
_LATER_FRAME = "a GIF with a later frame that is larger than the picture isn't decoded by serve_bytes; send a PNG"
LOOKED_INTO = ("GIF", "BMP", "WebP")
"""Formats of which only some photos are served, by their content; for others, the facts of a photo decide."""
_STARTS = (JPEG_START, PNG_START, b"GIF87a", b"GIF89a", b"BM", b"RIFF")
_ANIMATION = 2
"""The animation bit in the flags of an extended WebP, at byte 20."""
_BMP_HEADERS = (40, 52, 56, 64, 108, 124)
"""Lengths of BMP headers, in bytes."""
_EXTENSION, _FRAME, _GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9


def why_not_served(content: bytes, facts: PhotoFacts) -> str | None:
    """Explains why `serve_bytes` refuses a decodable photo, or may decode it to other pixels; `None` if neither.

    Args:
        content: the encoded photo; unused unless its format is one of `LOOKED_INTO`.
        facts: the facts of the photo.
    """
    name = facts.format
    if name == "WebP" and is_animated_webp(content):
        return _ANIMATED
    if name == "GIF" and not _is_whole_frame(gif_first_frame(content)):
        return _PARTIAL
    if name == "BMP" and not _is_direct_bmp(content):
        return _INDIRECT
    is_checked = name in ("GIF", "BMP") and is_same_in_graph(content, decode(content).stored)
    is_by_rule = name == "JPEG" or (name == "WebP" and facts.mode != "RGB")
    if is_checked or is_by_rule or facts.same_in_graph:
        return None
    return f"TensorFlow's operators decode this {name} to other pixels, or not at all"


def decode_upright(content: tf.Tensor) -> tf.Tensor:
    """Decodes a photo, scalar string, to upright uint8 RGB `(height, width, 3)`; refused photos raise an error."""
    content = _require(content)
    return upright(_require_canvas(content, _decode(content)), exif_orientation(content))


def _require(content: tf.Tensor) -> tf.Tensor:
    """Returns the photo; makes its request fail if it is refused."""
    data = GraphBytes.of(content)
    is_gif, is_bmp = data.has(b"GIF8"), data.has(b"BM")
    checks = [
        tf.debugging.Assert(tf.reduce_any([data.has(start) for start in _STARTS]), [_UNKNOWN]),
        tf.debugging.Assert(~_is_animated(data), [_ANIMATED]),
        tf.debugging.Assert(tf.cond(is_gif, lambda: _is_whole_gif(data), lambda: True), [_PARTIAL]),
        tf.debugging.Assert(~is_bmp | _is_direct(data), [_INDIRECT]),
        tf.debugging.Assert(stored_pixels(data) <= MAX_PIXELS, [_LARGE]),
        tf.debugging.Assert(tf.cond(data.has(JPEG_START), lambda: _is_known_coding(data), lambda: True), [_CODING]),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(content)


def _decode(content: tf.Tensor) -> tf.Tensor:
    """Decodes a photo; only WebP must be decoded with its own number of channels."""
    return tf.cond(
        GraphBytes.of(content).has(b"RIFF"),
        lambda: tf.ensure_shape(tf.io.decode_image(content, 0, expand_animations=False)[..., :3], (None, None, 3)),
        lambda: decode_in_graph(content),
    )


def _require_canvas(content: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the pixels; fails for a GIF with frames beyond its canvas, which TensorFlow enlarges to fit them."""
    data = GraphBytes.of(content)
    canvas = tf.stack([data.number(8, 2, True), data.number(6, 2, True)])
    is_whole = tf.reduce_all(tf.shape(image)[:2] == canvas)
    with tf.control_dependencies([tf.debugging.Assert(~data.has(b"GIF8") | is_whole, [_LATER_FRAME])]):
        return tf.identity(image)


def _is_known_coding(data: GraphBytes) -> tf.Tensor:
    """Returns whether a JPEG is baseline, extended or progressive; true without a frame header: decoding will fail."""
    found, start, _ = jpeg_frame(data)
    return ~found | (data.at(start - 3) <= max(FRAMES))


def _is_animated(data: GraphBytes) -> tf.Tensor:
    is_extended = data.has(b"RIFF") & data.has(b"VP8X", 12)
    return is_extended & (tf.bitwise.bitwise_and(data.at(20), _ANIMATION) > 0)


def _is_direct(data: GraphBytes) -> tf.Tensor:
    header, bits, compression = data.number(14, 4, True), data.number(28, 2, True), data.number(30, 4, True)
    is_known = tf.reduce_any(header == list(_BMP_HEADERS))
    return is_known & (compression == 0) & ((bits == 24) | (bits == 32))


def _is_direct_bmp(content: bytes) -> bool:
    (header,) = struct.unpack_from("<I", content, 14)
    bits, compression = struct.unpack_from("<HI", content, 28)
    return header in _BMP_HEADERS and compression == 0 and bits in (24, 32)


def _is_whole_frame(frame: GifFrame) -> bool:
    return frame.fills_canvas and not frame.is_transparent


def _is_whole_gif(data: GraphBytes) -> tf.Tensor:
    """Returns whether a GIF's first frame fills its canvas and has no transparent colour."""

    def goes_on(place: tf.Tensor, transparent: tf.Tensor, in_block: tf.Tensor) -> tf.Tensor:
        return (place < data.size) & (in_block | (data.at(place) == _EXTENSION))

    def following(
        place: tf.Tensor, transparent: tf.Tensor, in_block: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        length = data.at(place)
        is_control = ~in_block & (data.at(place + 1) == _GRAPHIC_CONTROL) & (data.at(place + 2) >= 4)
        has_color = tf.bitwise.bitwise_and(data.at(place + 3), 1) > 0
        return (
            place + tf.where(in_block, 1 + length, 2),
            tf.where(is_control, has_color, transparent),
            tf.where(in_block, length > 0, True),
        )

    flags = data.at(10)
    has_table = tf.bitwise.bitwise_and(flags, 0x80) > 0
    table = tf.where(has_table, 3 * tf.bitwise.left_shift(1, tf.bitwise.bitwise_and(flags, 7) + 1), 0)
    place, transparent, _ = tf.while_loop(goes_on, following, [13 + table, tf.constant(False), tf.constant(False)])
    is_frame = data.at(place) == _FRAME
    places = [data.number(place + 1 + 2 * index, 2, True) for index in range(4)]
    fills = tf.reduce_all(tf.stack(places) == tf.stack([0, 0, data.number(6, 2, True), data.number(8, 2, True)]))
    return is_frame & fills & ~transparent
