"""A small writer of JPEGs of plain blocks, and the colours that they stand for."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

END = b"\xff\xd9"


def segment(marker: int, data: bytes) -> bytes:
    """A marker with data."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


@dataclass(frozen=True)
class Component:
    """One of a JPEG's: its number in the file, its blocks by MCU, and the level of each block, `(rows, columns)`."""

    number: int
    levels: np.ndarray
    across: int = 1
    down: int = 1


@dataclass(frozen=True)
class Plain:
    """A JPEG whose blocks are each of one level, so that decoding is exact: no rounding of cosines has a part in it.

    Attributes:
        components: in their order.
        mcus: rows and columns of MCUs.
        frame: the marker of the frame: 0xC0 baseline, 0xC2 progressive.
        bits: of a sample, as the frame says.
        segments: before the tables.
        restart: MCUs between restart markers; 0 for none.
        height: as the frame says, if it isn't that of the MCUs.
    """

    components: Sequence[Component]
    mcus: tuple[int, int]
    frame: int = 0xC0
    bits: int = 8
    segments: bytes = b""
    restart: int = 0
    height: int | None = None

    def encode(self) -> bytes:
        """The file."""
        across, down = (max(getattr(one, name) for one in self.components) for name in ("across", "down"))
        height, width = 8 * down * self.mcus[0], 8 * across * self.mcus[1]
        height = height if self.height is None else self.height
        frame = struct.pack(">BHHB", self.bits, height, width, len(self.components))
        frame += b"".join(bytes([one.number, one.across << 4 | one.down, 0]) for one in self.components)
        scan = bytes([len(self.components)]) + b"".join(bytes([one.number, 0]) for one in self.components)
        scan += bytes([0, 63 * (self.frame != 0xC2), 0])
        tables = segment(0xDB, b"\0" + b"\10" * 64)
        tables += segment(0xC4, b"\0" + bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, *[0] * 7]) + bytes(range(12)))
        tables += segment(0xC4, b"\x10" + bytes([1, *[0] * 15]) + b"\0")
        restart = segment(0xDD, struct.pack(">H", self.restart)) if self.restart else b""
        head = b"\xff\xd8" + self.segments + tables + segment(self.frame, frame) + restart + segment(0xDA, scan)
        return head + self._data() + (self._refinements() if self.frame == 0xC2 else b"") + END

    def _refinements(self) -> bytes:
        """Of a progressive JPEG: that no block has more than its level."""
        scans = []
        for one in self.components:
            ends = one.levels.size
            scans.append(segment(0xDA, bytes([1, one.number, 0, 1, 63, 0])) + _stuffed("0" * ends))
        return b"".join(scans)

    def _data(self) -> bytes:
        parts, bits, before = [], "", [0] * len(self.components)
        places = [(row, column) for row in range(self.mcus[0]) for column in range(self.mcus[1])]
        for count, (row, column) in enumerate(places):
            if self.restart and count and count % self.restart == 0:
                parts.append(_stuffed(bits) + bytes([0xFF, 0xD0 + (count // self.restart - 1) % 8]))
                bits, before = "", [0] * len(self.components)
            for index, one in enumerate(self.components):
                top, left = row * one.down, column * one.across
                for level in one.levels[top : top + one.down, left : left + one.across].ravel():
                    bits += _code(int(level) - 128 - before[index]) + ("" if self.frame == 0xC2 else "0")
                    before[index] = int(level) - 128
        return b"".join([*parts, _stuffed(bits)])


def _code(difference: int) -> str:
    """A DC coefficient's bits, by the standard's table for luminance."""
    size = abs(difference).bit_length()
    prefix = ["00", "010", "011", "100", "101", "110", *("1" * count + "0" for count in range(3, 9))][size]
    return prefix + (f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}" if size else "")


def _stuffed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")


def shown(levels: np.ndarray) -> np.ndarray:
    """Blocks as pixels, 8 x 8 each."""
    return levels.repeat(8, axis=0).repeat(8, axis=1)


def rgb_of_ycc(ycc: np.ndarray) -> np.ndarray:
    """By JFIF's formula."""
    y, blue, red = np.moveaxis(ycc.astype(float), -1, 0) - np.array([0, 128, 128])[:, None, None]
    rgb = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=-1)
    return np.rint(rgb).clip(0, 255).astype("uint8")


def rgb_of_cmyk(cmyk: np.ndarray) -> np.ndarray:
    """Of ink, 0 none to 255 full."""
    paper = 255 - cmyk.astype(float)
    return np.rint(paper[..., :3] * paper[..., 3:] / 255).astype("uint8")
