"""Encoded photos to upright RGB, and the check that every photo can be read before work on them starts."""

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from clan_tf.data.other_formats import damaged_format, other_format
from clan_tf.data.source import Box, Photo
from clan_tf.data.truncation import CUT_SHORT, is_cut_short
from clan_tf.runtime.photos import open_photo, orientation_of

JPEG_START = b"\xff\xd8\xff"
DCT = "INTEGER_ACCURATE"
"""As Pillow and phones decode. TensorFlow's default is another, by a level or two."""


@dataclass(frozen=True)
class PhotoFacts:
    """What decoding once tells of a photo.

    Attributes:
        orientation: the EXIF orientation, 1 (upright) to 8.
        height: rows of the photo as stored.
        width: columns of the photo as stored.
        is_jpeg: whether it is a JPEG, whatever its name says.
    """

    orientation: int
    height: int
    width: int
    is_jpeg: bool


@dataclass(frozen=True)
class CheckedPhotos:
    """Photos that can be read.

    Attributes:
        photos: the photos.
        orientations: the EXIF orientation of each, 1 (upright) to 8, int32 `(photos,)`.
        windows: top, left, height and width of the part of each that is used, in pixels of the photo as stored, int32
            `(photos, 4)`.
        are_jpeg: which are JPEGs, bool `(photos,)`.
        digests: SHA-256 of each encoded photo, in hexadecimal.
        broken: a line for each photo that can't be read, and isn't among these.
    """

    photos: Sequence[Photo]
    orientations: np.ndarray
    windows: np.ndarray
    are_jpeg: np.ndarray
    digests: Sequence[str] = ()
    broken: Sequence[str] = ()

    @property
    def labels(self) -> np.ndarray:
        """The label of each photo, int32 `(photos,)`."""
        return np.array([photo.label for photo in self.photos], dtype="int32")

    @property
    def upright_sizes(self) -> np.ndarray:
        """Height and width of the used part of each photo once it is upright, int32 `(photos, 2)`."""
        sizes = self.windows[:, 2:]
        return np.where(self.orientations[:, None] > 4, sizes[:, ::-1], sizes)


def decode(content: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """An encoded JPEG, PNG, GIF, BMP or WebP photo as upright uint8 RGB `(height, width, 3)`.

    Args:
        content: scalar string.
        orientation: scalar int32, the EXIF orientation 1…8.
    """
    return upright(decode_stored(content), orientation)


def decode_stored(content: tf.Tensor) -> tf.Tensor:
    """An encoded photo as it is stored, uint8 RGB `(height, width, 3)`."""
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method=DCT),
        lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, 3))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undoes EXIF orientations: 2-4 mirror or turn by 180 degrees, 5-8 also swap height and width."""
    flip, transpose = tf.reverse, tf.transpose

    def swapped() -> tf.Tensor:
        return transpose(image, (1, 0, 2))

    return tf.switch_case(
        orientation - 1,
        [
            lambda: image,
            lambda: flip(image, [1]),
            lambda: flip(image, [0, 1]),
            lambda: flip(image, [0]),
            swapped,
            lambda: flip(swapped(), [1]),
            lambda: flip(swapped(), [0, 1]),
            lambda: flip(swapped(), [0]),
        ],
    )


def used_part(checked: CheckedPhotos, index: int) -> tf.Tensor:
    """One whole photo, decoded, cut to its box and upright: uint8 RGB `(height, width, 3)`."""
    top, left, height, width = map(int, checked.windows[index])
    image = decode_stored(tf.constant(read_content(checked.photos[index])))
    return upright(image[top : top + height, left : left + width], tf.constant(checked.orientations[index]))


def check_photos(photos: Sequence[Photo], on_photo: Callable[[], None] = lambda: None) -> CheckedPhotos:
    """Decodes every photo once, on all cores.

    Args:
        photos: the photos to check.
        on_photo: called after each photo, for progress.
    """
    good: list[tuple[Photo, PhotoFacts, tuple[int, ...], str]] = []
    problems = []
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of large photos and damaged EXIF; decoding tells what matters
        for photo, answer in zip(photos, pool.map(_check, photos), strict=True):
            if isinstance(answer, str):
                problems.append(f"{photo.name}: {answer}")
            else:
                good.append((photo, *answer))
            on_photo()
    return CheckedPhotos(
        [photo for photo, *_ in good],
        np.array([facts.orientation for _, facts, *_ in good], dtype="int32"),
        np.array([window for _, _, window, _ in good], dtype="int32").reshape(-1, 4),
        np.array([facts.is_jpeg for _, facts, *_ in good], dtype=bool),
        [digest for *_, digest in good],
        problems,
    )


def read_content(photo: Photo) -> bytes:
    """The encoded photo."""
    if photo.content is not None:
        return photo.content
    if photo.span is None:
        return Path(photo.name).read_bytes()
    file, record, offset, length = photo.span
    data = record_at(tf.constant(file), tf.constant(record, tf.int64)).get_single_element().numpy()
    return data[offset : offset + length]


def record_at(file: tf.Tensor, start: tf.Tensor) -> tf.data.Dataset:
    """A dataset of one string: the data of the TFRecord that begins at byte `start` of a file.

    Its checksum is verified. Only the raw operation takes a place in the file.
    """
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=file, compression_type="", buffer_size=tf.constant(0, tf.int64), byte_offsets=start
    )
    return tf.data.experimental.from_variant(records, tf.TensorSpec((), tf.string)).take(1)


def exif_orientation(content: bytes) -> int:
    """The EXIF orientation of an encoded photo; 1 where it says nothing valid.

    Raises:
        OSError: if it isn't a photo.
    """
    with open_photo(content) as image:
        return orientation_of(image)


def problem_with(content: bytes) -> str | None:
    """Why an encoded photo can't be read, or `None`."""
    facts = probe(content)
    return facts if isinstance(facts, str) else None


def probe(content: bytes) -> PhotoFacts | str:
    """Decodes an encoded photo: its facts, or why it can't be read."""
    if not content:
        return "the file is empty"
    try:
        with open_photo(content) as image:
            orientation = orientation_of(image)
            pixels = decode_stored(tf.constant(content)).numpy()
            if is_cut_short(image, content, pixels):
                return CUT_SHORT
    except Image.DecompressionBombError as error:
        return str(error)
    except tf.errors.OpError as error:
        return other_format(content) or f"damaged or unsupported: {plain_message(error)}"
    # Pillow's parsers let struct.error, EOFError, KeyError, SyntaxError and others out of damaged headers.
    except Exception:  # noqa: BLE001
        return other_format(content) or damaged_format(content) or "not an image"
    height, width, _ = pixels.shape
    return PhotoFacts(orientation, height, width, content.startswith(JPEG_START))


def try_reading(photo: Photo) -> tuple[bytes, str | None]:
    """The encoded photo, and why it can't be read if so."""
    try:
        return read_content(photo), None
    except OSError as error:
        return b"", error.strerror or str(error)
    except tf.errors.OpError as error:
        return b"", plain_message(error)


def box_window(photo: Photo, height: int, width: int) -> tuple[int, int, int, int] | str:
    """Top, left, height and width of a photo's box, cut to the stored photo, or what is wrong with it."""
    box = photo.box or Box()
    left, top = max(box.left, 0), max(box.top, 0)
    right = min(box.right if box.right > 0 else width + box.right, width)
    bottom = min(box.bottom if box.bottom > 0 else height + box.bottom, height)
    if bottom <= top or right <= left:
        return f"its box {tuple(box)} is outside the photo of {width} x {height} pixels"
    return top, left, bottom - top, right - left


def _check(photo: Photo) -> tuple[PhotoFacts, tuple[int, ...], str] | str:
    """A photo's facts, the window of its box and its digest, or why it can't be used."""
    content, problem = try_reading(photo)
    facts = problem or probe(content)
    if isinstance(facts, str):
        return facts
    window = box_window(photo, facts.height, facts.width)
    return window if isinstance(window, str) else (facts, window, hashlib.sha256(content).hexdigest())


def plain_message(error: tf.errors.OpError) -> str:
    """TensorFlow's message without the names of its nodes."""
    return re.sub(r"\{\{.*?\}\}|\[Op.*", "", error.message.splitlines()[0]).strip()
