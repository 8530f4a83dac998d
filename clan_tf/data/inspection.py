"""What one look at an encoded photo tells: whether it can be read, what is odd about it, and how to recognise it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from clan_tf.data.duplicates import THUMBNAIL_SIZE
from clan_tf.data.photos import box_window, decode_stored, problem_with, try_reading, upright
from clan_tf.data.source import Photo
from clan_tf.data.truncation import CUT_SHORT, is_cut_short
from clan_tf.runtime.photos import open_photo, orientation_of

HUGE_PIXELS = 50_000_000
HUGE_BYTES = 50_000_000


@dataclass(frozen=True)
class Facts:
    """What a readable photo is.

    Attributes:
        digest: SHA-256 of the encoded photo.
        size: width and height in pixels, upright.
        mode: how pixels are stored, by Pillow's names: `RGB`, `L` (grey), `CMYK` …
        format: `JPEG`, `PNG` …
        oddities: kind and detail of what is unusual.
        thumbnail: upright uint8 RGB `(THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)`.
    """

    digest: bytes
    size: tuple[int, int]
    mode: str
    format: str
    oddities: tuple[tuple[str, str], ...]
    thumbnail: np.ndarray


def inspect_photo(photo: Photo) -> Facts | str:
    """Decodes a photo once: its facts, or why it can't be used."""
    content, problem = try_reading(photo)
    if problem or not content:
        return problem or "the file is empty"
    try:
        return _facts(photo, content)
    # Pillow's parsers let struct.error, EOFError, KeyError and others out of damaged files.
    except Exception as error:  # noqa: BLE001
        return problem_with(content) or f"damaged: {error}"


def _facts(photo: Photo, content: bytes) -> Facts | str:
    with open_photo(content) as image:
        orientation = orientation_of(image)
        window = box_window(photo, image.height, image.width)
        if isinstance(window, str):
            return window
        stored = decode_stored(tf.constant(content))
        if is_cut_short(image, content, stored.numpy()):
            return CUT_SHORT
        pixels = upright(stored, tf.constant(orientation)).numpy()
        thumbnail = _thumbnail(pixels)
        oddities = tuple(_oddities(photo, content, image, orientation, thumbnail))
        size = (pixels.shape[1], pixels.shape[0])
        return Facts(hashlib.sha256(content).digest(), size, image.mode, _format(image), oddities, thumbnail)


def _format(image: Image.Image) -> str:
    """A camera's multi-picture file is a JPEG with more behind it, and named so."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Antialiased, so that the same photo at another size gives nearly the same thumbnail."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))


def _oddities(
    photo: Photo, content: bytes, image: Image.Image, orientation: int, thumbnail: np.ndarray
) -> Iterator[tuple[str, str]]:
    suffix, image_format = Path(photo.name).suffix.lower(), _format(image)
    named = Image.registered_extensions().get(suffix)
    is_file = photo.content is None and photo.span is None
    if is_file and named and named != image_format:
        yield "wrongly_named", f"{suffix} holds {image_format}"
    if image.mode in ("1", "L", "LA") or image.mode.startswith("I"):
        yield "grayscale", f"mode {image.mode}"
    elif np.ptp(thumbnail.astype("int16"), axis=-1).max() <= 1:
        yield "grayscale", f"mode {image.mode}, its channels equal"
    if image.mode == "CMYK":
        yield "cmyk", "mode CMYK"
    if orientation != 1:
        yield "exif_rotated", f"EXIF orientation {orientation}"
    if image_format == "PNG" and content[24] == 16:  # the header's bit depth
        yield "16_bit", "16 bits a channel"
    if image.format != "MPO" and getattr(image, "is_animated", False):
        yield "animated", f"{image.n_frames} frames; the first is used"
    if image.width * image.height > HUGE_PIXELS or len(content) > HUGE_BYTES:
        yield "huge", f"{image.width} x {image.height} pixels, {len(content) / 1e6:.1f} MB"
