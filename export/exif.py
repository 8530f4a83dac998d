"""The EXIF orientation of an encoded photo, read inside a TensorFlow graph."""

import tensorflow as tf

_LOOKED_AT = 1 << 18
"""EXIF data of a JPEG or PNG stands near the beginning: in a JPEG before the picture, at most 64 kB long."""
_WEBP = r"(?s)RIFF\C{4}WEBP\C*"
_ORIENTATION_TAG = 0x0112
_APP1, _START_OF_SCAN = 0xE1, 0xDA


def exif_orientation(content: tf.Tensor) -> tf.Tensor:
    """1 (upright) to 8 by the EXIF data of a JPEG, PNG or WebP photo; 1 where it says nothing valid.

    Args:
        content: scalar string.

    Returns:
        Scalar int32.
    """
    is_webp = tf.strings.regex_full_match(content, _WEBP)
    # In a WebP it stands behind the picture.
    looked_at = tf.cond(is_webp, lambda: content, lambda: tf.strings.substr(content, 0, _LOOKED_AT))
    # Whatever is read past the end is 0.
    data = tf.concat([tf.cast(tf.io.decode_raw(looked_at, tf.uint8), tf.int32), tf.zeros((64,), tf.int32)], axis=0)
    is_png = tf.reduce_all(data[:4] == [0x89, *b"PNG"])
    start = tf.case(
        [(is_webp, lambda: _webp_exif(data)), (is_png, lambda: _png_exif(data))], default=lambda: _jpeg_exif(data)
    )
    return tf.cond(start > 0, lambda: _orientation(data, start), lambda: tf.constant(1))


def _jpeg_exif(data: tf.Tensor) -> tf.Tensor:
    """Where the TIFF header of a JPEG's EXIF segment begins; 0 if there is none."""

    def is_exif(place: tf.Tensor) -> tf.Tensor:
        return (_byte(data, place + 1) == _APP1) & tf.reduce_all(_bytes(data, place + 4, 6) == list(b"Exif\0\0"))

    def goes_on(place: tf.Tensor) -> tf.Tensor:
        is_segment = (_byte(data, place) == 0xFF) & (_byte(data, place + 1) != _START_OF_SCAN)
        return is_segment & ~is_exif(place)

    def following(place: tf.Tensor) -> tuple[tf.Tensor]:
        # Between segments there may be filling.
        is_filling = _byte(data, place + 1) == 0xFF
        return (place + tf.where(is_filling, 1, 2 + _number(data, place + 2, 2, little=False)),)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(2)])
    return tf.where(is_exif(place), place + 10, 0)


def _png_exif(data: tf.Tensor) -> tf.Tensor:
    """Where the TIFF header in a PNG's `eXIf` chunk begins; 0 if there is none."""

    def has_name(place: tf.Tensor, name: bytes) -> tf.Tensor:
        return tf.reduce_all(_bytes(data, place + 4, 4) == list(name))

    def goes_on(place: tf.Tensor) -> tf.Tensor:
        return (place < tf.size(data)) & ~has_name(place, b"eXIf") & ~has_name(place, b"IEND")

    def following(place: tf.Tensor) -> tuple[tf.Tensor]:
        length = _number(data, place, 4, little=False)
        # A length that isn't in the data, as of a damaged photo, ends the search.
        return (tf.where((length >= 0) & (length < tf.size(data)), place + 12 + length, tf.size(data)),)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(8)])
    return tf.where(has_name(place, b"eXIf"), place + 8, 0)


def _webp_exif(data: tf.Tensor) -> tf.Tensor:
    """Where the TIFF header in a WebP's `EXIF` chunk begins; 0 if there is none."""

    def is_exif(place: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(_bytes(data, place, 4) == list(b"EXIF"))

    def goes_on(place: tf.Tensor) -> tf.Tensor:
        return (place < tf.size(data)) & ~is_exif(place)

    def following(place: tf.Tensor) -> tuple[tf.Tensor]:
        length = _number(data, place + 4, 4, little=True)
        # Chunks begin at even places.
        return (tf.where((length >= 0) & (length < tf.size(data)), place + 8 + length + length % 2, tf.size(data)),)

    (place,) = tf.while_loop(goes_on, following, [tf.constant(12)])
    # Some writers put the name before the header, as in a JPEG.
    has_prefix = tf.reduce_all(_bytes(data, place + 8, 6) == list(b"Exif\0\0"))
    return tf.where(is_exif(place), place + tf.where(has_prefix, 14, 8), 0)


def _orientation(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """By the TIFF header at `start`."""
    little = _byte(data, start) == ord("I")
    directory = start + tf.clip_by_value(_number(data, start + 4, 4, little), 0, tf.size(data))
    entries = directory + 2 + 12 * tf.range(tf.minimum(_number(data, directory, 2, little), 512))
    tags = _number(data, entries, 2, little)
    values = _number(data, entries + 8, 2, little)
    found = tf.boolean_mask(values, (tags == _ORIENTATION_TAG) & (values >= 1) & (values <= 8))
    return tf.cond(tf.size(found) > 0, lambda: found[0], lambda: tf.constant(1))


def _number(data: tf.Tensor, place: tf.Tensor, length: int, little: tf.Tensor | bool) -> tf.Tensor:
    """The unsigned number at each place, int32; numbers of 2 GB and more are negative."""
    digits = [_byte(data, place + index) for index in range(length)]
    low_first = sum(digit * (1 << 8 * index) for index, digit in enumerate(digits))
    high_first = sum(digit * (1 << 8 * index) for index, digit in enumerate(reversed(digits)))
    return tf.where(little, low_first, high_first)


def _bytes(data: tf.Tensor, place: tf.Tensor, length: int) -> tf.Tensor:
    return _byte(data, place + tf.range(length))


def _byte(data: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    return tf.gather(data, tf.clip_by_value(place, 0, tf.size(data) - 1))
