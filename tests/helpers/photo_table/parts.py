"""What the conformance table of photo files is made with: its rows, one drawn picture, and EXIF and XMP data."""

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np

Served = Literal["answered", "refused", "unnoticed"]

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
"""It says that the photo is to be turned, which nobody follows."""


@dataclass(frozen=True)
class PhotoFile:
    """A row of the table.

    Attributes:
        name: of the file.
        content: its bytes.
        expected: its upright pixels, uint8 RGB `(height, width, 3)`, made without this project; `None` where it must be
            refused.
        refusal: what the sentence of the refusal must hold.
        served: what `serve_bytes` does: it answers with the same pixels, refuses, or answers without noticing what is
            wrong with a photo that all others refuse.
        tolerance: levels that decoders may be from `expected`, where the arithmetic isn't laid down to the bit.
    """

    name: str
    content: bytes
    expected: np.ndarray | None
    refusal: str = ""
    served: Served = "answered"
    tolerance: int = 0


def refused(name: str, content: bytes, refusal: str, served: Served = "refused") -> PhotoFile:
    """A row for a file that isn't decoded."""
    return PhotoFile(name, content, None, refusal, served)


def picture(height: int = 27, width: int = 38) -> np.ndarray:
    """Smooth, other in every corner, and each channel unlike the others: uint8 RGB `(height, width, 3)`."""
    y, x = np.mgrid[:height, :width] / (height - 1)
    return np.stack([30 + 110 * x, 230 - 180 * y, 60 + 50 * x + 70 * y], axis=-1).clip(0, 255).astype("uint8")


def stored_for(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The rows and columns that a camera stores so that this EXIF orientation makes them upright.

    Written from the table of the TIFF standard: where the stored row 0 and column 0 stand in the upright picture.
    """
    row_0, column_0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    picture = upright
    if "right" in (row_0, column_0):
        picture = picture[:, ::-1]
    if "bottom" in (row_0, column_0):
        picture = picture[::-1]
    return np.swapaxes(picture, 0, 1) if row_0 in ("left", "right") else picture


def tiff(orientation: int, order: str = "<", kind: int = 3, magic: int = 42, before: int = 0) -> bytes:
    """TIFF data whose first directory holds an orientation.

    Args:
        orientation: any number.
        order: `<` (II) or `>` (MM).
        kind: the type of its entry, 3 (SHORT) or 4 (LONG), or another that must be ignored.
        magic: 42 in valid data.
        before: how many other entries stand before it.
    """
    value = struct.pack(order + "I", orientation) if kind == 4 else struct.pack(order + "HH", orientation, 0)
    other = struct.pack(order + "HHII", 0x010F, 4, 1, 6)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", magic, 8, 1 + before)
    return head + other * before + entry + bytes(4)


EXIF_CASES: dict[str, tuple[bytes, int]] = {
    **{f"{kind_name}_{name}_{value}": (tiff(value, order, kind), value)
       for name, order in (("II", "<"), ("MM", ">"))
       for kind_name, kind in (("short", 3), ("long", 4))
       for value in ((1, 2, 3, 4, 5, 6, 7, 8) if (kind, order) in ((3, "<"), (4, ">")) else (6,))},
    "value_0": (tiff(0), 1),
    "value_9": (tiff(9), 1),
    "value_70000": (tiff(70000, kind=4), 1),
    "type_byte": (tiff(6, kind=1), 1),
    "wrong_magic": (tiff(6, magic=0), 1),
    "behind_others": (tiff(8, before=30), 8),
    "first_valid_counts": (
        tiff(0, before=0)[:8] + struct.pack("<H", 3)
        + struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0) + struct.pack("<HHIHH", 0x0112, 3, 1, 3, 0)
        + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4),
        3,
    ),
    "empty": (b"", 1),
    "cut": (tiff(6)[:18], 1),
    "no_directory": (b"II*\0\xff\xff\xff\xff" + bytes(20), 1),
    "directory_far": (tiff(6)[:4] + struct.pack("<I", 40) + bytes(32) + tiff(6)[8:], 6),
    "not_tiff": (b"hello, this is no TIFF data", 1),
}  # fmt: skip
"""TIFF data by name, with the orientation that must be read of it."""
