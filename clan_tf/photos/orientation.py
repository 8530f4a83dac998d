"""How a stored photo must be turned: by EXIF alone, where each format's own standard puts it, as browsers do.

That is the first APP1 segment `Exif` of a JPEG before its first scan, the first `eXIf` chunk of a PNG, and the first
`EXIF` chunk of a WebP; in the first directory there, the first tag 274 of the type SHORT or LONG whose value is 1 to 8.
XMP, ImageMagick's raw profiles and EXIF data anywhere else don't turn a photo. `clan_tf.export.exif` implements the
same rule inside a TensorFlow graph.
"""

import struct
from collections.abc import Iterable, Iterator

import numpy as np

from clan_tf.photos.containers import JPEG_START, PNG_START, Part, jpeg_segments, png_chunks, webp_chunks

EXIF_PREFIX = b"Exif\0\0"
TAG = 0x0112
SHORT, LONG = 3, 4
MOST_ENTRIES = 512
"""Entries of a directory that are inspected."""


def orientation_of(content: bytes) -> int:
    """Returns a photo's EXIF orientation, 1 (upright) to 8; 1 where its EXIF data says nothing valid."""
    return orientation_in(_exif(content))


def orientation_in(exif: bytes) -> int:
    """Returns the orientation in EXIF data, 1 (upright) to 8; 1 where it says nothing valid."""
    return _tiff_orientation(exif.removeprefix(EXIF_PREFIX))  # which some writers put where only a JPEG needs it


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an orientation: 2-4 mirror or turn by 180 degrees, 5-8 also swap height and width.

    Args:
        pixels: as stored, `(height, width, 3)`.
        orientation: 1…8.
    """
    if orientation > 4:
        pixels = pixels.transpose(1, 0, 2)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[rows, columns]


def _exif(content: bytes) -> bytes:
    """Returns the TIFF data of the photo's EXIF; empty if there is none."""
    if content.startswith(JPEG_START):
        named = (
            content[part.start : part.end] for part in _whole_parts(jpeg_segments(content)) if part.name == b"\xe1"
        )
        data = next((data for data in named if data.startswith(EXIF_PREFIX)), b"")
    elif content.startswith(PNG_START):
        data = _first(content, png_chunks(content), b"eXIf")
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        data = _first(content, webp_chunks(content), b"EXIF")
    else:
        data = b""
    return data


def _first(content: bytes, parts: Iterable[Part], name: bytes) -> bytes:
    return next((content[part.start : part.end] for part in _whole_parts(parts) if part.name == name), b"")


def _whole_parts(parts: Iterable[Part]) -> Iterator[Part]:
    """Yields the parts before the first damaged one; decoding reports the damage."""
    try:
        yield from parts
    except ValueError:
        return


def _tiff_orientation(data: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    if directory + 2 > len(data):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    for index in range(min(entries, MOST_ENTRIES)):
        place = directory + 2 + 12 * index
        if place + 12 > len(data):
            return 1
        tag, kind = struct.unpack_from(f"{order}HH", data, place)
        if tag == TAG and kind in (SHORT, LONG):
            (value,) = struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", data, place + 8)
            if 1 <= value <= 8:
                return value
    return 1
