"""What inspecting an encoded photo shows: whether it can be read, what is odd about it, and how to recognise it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clan_tf.data.check.duplicates import THUMBNAIL_SIZE
from clan_tf.data.checked_photos import box_window
from clan_tf.data.sources import Photo
from clan_tf.data.sources.content import read_or_refuse
from clan_tf.photos import PhotoFacts, decode

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


def inspect_photo(photo: Photo) -> Facts:
    """Decodes a photo once, and returns what it is.

    Raises:
        PhotoError: if it can't be used, with the reason.
    """
    content = read_or_refuse(photo)
    picture = decode(content)
    box_window(photo, picture.facts.height, picture.facts.width)
    pixels = picture.upright
    thumbnail = _thumbnail(pixels)
    return Facts(
        hashlib.sha256(content).digest(),
        (pixels.shape[1], pixels.shape[0]),
        picture.facts.mode,
        picture.facts.format,
        tuple(_oddities(photo, len(content), picture.facts, thumbnail)),
        thumbnail,
    )


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Shrinks a photo, antialiased: at another size it gives nearly the same thumbnail."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))


def _oddities(photo: Photo, size: int, facts: PhotoFacts, thumbnail: np.ndarray) -> Iterator[tuple[str, str]]:
    suffix = Path(photo.name).suffix.lower()
    named = Image.registered_extensions().get(suffix)
    is_file = photo.content is None and photo.span is None
    if is_file and named and named != facts.format.upper():
        yield "wrongly_named", f"{suffix} holds {facts.format}"
    if facts.mode in ("1", "L", "LA") or facts.mode.startswith("I"):
        yield "grayscale", f"mode {facts.mode}"
    elif np.ptp(thumbnail.astype("int16"), axis=-1).max() <= 1:
        yield "grayscale", f"mode {facts.mode}, its channels equal"
    if facts.mode == "CMYK":
        yield "cmyk", "mode CMYK"
    if facts.orientation != 1:
        yield "exif_rotated", f"EXIF orientation {facts.orientation}"
    if facts.is_deep:
        yield "16_bit", "16 bits a channel"
    if facts.frames > 1:
        yield "animated", f"{facts.frames} frames; the first is used"
    if facts.height * facts.width > HUGE_PIXELS or size > HUGE_BYTES:
        yield "huge", f"{facts.width} x {facts.height} pixels, {size / 1e6:.1f} MB"
