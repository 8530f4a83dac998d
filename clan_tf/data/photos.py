"""Encoded photos to upright RGB, and the check that every photo can be read before work on them starts."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

from clan_tf.data.source import Photo
from clan_tf.errors import UserError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


@dataclass(frozen=True)
class CheckedPhotos:
    """Photos that can be read.

    Attributes:
        photos: the photos.
        orientations: the EXIF orientation of each, 1 (upright) to 8, int32 `(photos,)`.
    """

    photos: Sequence[Photo]
    orientations: np.ndarray


def decode(content: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """An encoded JPEG, PNG, GIF, BMP or WebP photo as upright uint8 RGB `(height, width, 3)`.

    Args:
        content: scalar string.
        orientation: scalar int32, the EXIF orientation 1…8.
    """
    image = tf.io.decode_image(content, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return _upright(image, orientation)


def check_photos(photos: Sequence[Photo], on_photo: Callable[[], None] = lambda: None) -> CheckedPhotos:
    """Decodes every photo once, on all cores.

    Args:
        photos: the photos to check.
        on_photo: called after each photo, for progress.

    Raises:
        UserError: naming the photos that can't be read, and why.
    """
    problems, orientations = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for photo, (orientation, problem) in zip(photos, pool.map(_check, photos), strict=True):
            orientations.append(orientation)
            if problem:
                problems.append(f"  {photo.name}: {problem}")
            on_photo()
    if problems:
        listed = problems[:20] + ([f"  … and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise UserError("\n".join([f"{len(problems)} of {len(photos)} photos can't be read:", *listed]))
    return CheckedPhotos(photos, np.array(orientations, dtype="int32"))


def read_content(photo: Photo) -> bytes:
    """The encoded photo."""
    return photo.content if photo.content is not None else Path(photo.name).read_bytes()


def exif_orientation(content: bytes) -> int:
    """The EXIF orientation of an encoded photo; 1 where it says nothing valid.

    Raises:
        OSError: if it isn't a photo.
    """
    with Image.open(BytesIO(content)) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def problem_with(content: bytes) -> str | None:
    """Why an encoded photo can't be read, or `None`."""
    if not content:
        return "the file is empty"
    try:
        orientation = exif_orientation(content)
        decode(tf.constant(content), tf.constant(orientation))
    except Image.DecompressionBombError as error:
        return str(error)
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for damaged headers
        return "not an image"
    except tf.errors.InvalidArgumentError as error:
        return f"damaged or unsupported: {error.message.splitlines()[0].split('[Op')[0].strip()}"
    return None


def _check(photo: Photo) -> tuple[int, str | None]:
    try:
        content = read_content(photo)
    except OSError as error:
        return 1, error.strerror or str(error)
    problem = problem_with(content)
    return (1 if problem else exif_orientation(content)), problem


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
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
