"""What photo files are made of: the segments of a JPEG, the chunks of a PNG or WebP, the first frame of a GIF."""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
_STANDALONE = (0x00, 0x01, *range(0xD0, 0xD9))
"""Markers without data."""
_GIF_EXTENSION, _GIF_FRAME = ord("!"), ord(",")
_GIF_TRANSPARENCY, _WEBP_ANIMATION = 1, 2
"""Bits of the flags byte."""


class Part(NamedTuple):
    """A segment or chunk: its name, where its data begins and ends, and where the whole of it does, in bytes."""

    name: bytes
    start: int
    end: int
    whole_start: int
    whole_end: int


class GifFrame(NamedTuple):
    """A frame of a GIF on its canvas, in pixels.

    Attributes:
        canvas: width and height.
        left: columns before it.
        top: rows above it.
        size: its own width and height.
        is_transparent: whether it has a transparent colour.
        has_colors: whether it has a table of colours, its own or that of the file.
        place: where its block begins, in bytes.
    """

    canvas: tuple[int, int]
    left: int
    top: int
    size: tuple[int, int]
    is_transparent: bool
    has_colors: bool
    place: int

    @property
    def fills_canvas(self) -> bool:
        """Whether the frame is the whole picture."""
        return (self.left, self.top) == (0, 0) and self.size == self.canvas

    @property
    def room(self) -> tuple[int, int]:
        """Width and height of the canvas, which grows if the frame is larger."""
        return max(self.canvas[0], self.left + self.size[0]), max(self.canvas[1], self.top + self.size[1])


def jpeg_segments(content: bytes) -> Iterator[Part]:
    """Yields the segments of a JPEG up to and including its first scan; `name` is the marker's one byte.

    Bytes between segments are skipped, as libjpeg does.

    Raises:
        ValueError: if the file ends before a scan.
    """
    place = 2
    while True:
        start = place = content.find(b"\xff", place)
        if place < 0:
            raise ValueError("no picture data")
        while content[place : place + 1] == b"\xff":  # any number of them may precede a marker
            place += 1
        marker = content[place] if place < len(content) else END_OF_IMAGE
        if marker == END_OF_IMAGE:
            raise ValueError("no picture data")
        if marker in _STANDALONE:
            place += 1
            continue
        length = int.from_bytes(content[place + 1 : place + 3])
        end = place + 1 + length
        if length < 2 or end > len(content):
            raise ValueError("a segment longer than the file")
        yield Part(bytes([marker]), place + 3, end, start, end)
        if marker == START_OF_SCAN:
            return
        place = end


def png_chunks(content: bytes) -> Iterator[Part]:
    """Yields the chunks of a PNG up to its end marker.

    Raises:
        ValueError: if the file ends earlier, or a chunk that a decoder needs doesn't match its checksum.
    """
    place = len(PNG_START)
    while True:
        head = content[place : place + 8]
        start, length = place + 8, int.from_bytes(head[:4])
        end = start + length
        if len(head) < 8 or end + 4 > len(content):
            raise ValueError("the file ends before its end marker")
        name = head[4:]
        if is_critical(name) and crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4]):
            raise ValueError(f"the checksum of its {name.decode('ascii', 'replace')} data is wrong")
        yield Part(name, start, end, place, end + 4)
        if name == b"IEND":
            return
        place = end + 4


def is_critical(name: bytes) -> bool:
    """Checks whether a PNG's picture can't be decoded without the chunks of a name."""
    return name[:1].isupper()


def webp_chunks(content: bytes) -> Iterator[Part]:
    """Yields the complete chunks of a WebP."""
    place = 12
    while place + 8 <= len(content):
        name, length = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        start, end = place + 8, place + 8 + length
        if end > len(content):
            return
        yield Part(name, start, end, place, end)
        place = end + length % 2  # chunks begin at even places


def is_animated_webp(content: bytes) -> bool:
    """Checks whether a WebP is marked as an animation, however many frames it has."""
    return content[12:16] == b"VP8X" and len(content) > 20 and bool(content[20] & _WEBP_ANIMATION)


def webp_canvas(content: bytes) -> tuple[int, int] | None:
    """Returns width and height of a WebP by its first chunk; `None` where that is damaged."""
    name, data = content[12:16], content[20:30]
    if name == b"VP8X" and len(data) == 10:
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if name == b"VP8L" and len(data) >= 5:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and len(data) == 10:
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return None


def webp_first_frame(content: bytes) -> tuple[int, int, int, int] | None:
    """Returns left, top, width and height of the first frame of an animated WebP; `None` if there is none."""
    start = next((chunk.start for chunk in webp_chunks(content) if chunk.name == b"ANMF"), None)
    if start is None:
        return None
    left, top, width, height = (int.from_bytes(content[start + at : start + at + 3], "little") for at in (0, 3, 6, 9))
    return 2 * left, 2 * top, width + 1, height + 1


def gif_first_frame(content: bytes) -> GifFrame:
    """Returns the first frame of a GIF.

    Raises:
        ValueError: if there is none, or it has no colours.
    """
    frame = next(gif_frames(content), None)
    if frame is None:
        raise ValueError("no frame")
    if not frame.has_colors:
        raise ValueError("no table of colours")
    return frame


def gif_frames(content: bytes) -> Iterator[GifFrame]:
    """Yields the frames of a GIF, until it ends or is damaged."""
    try:
        width, height, flags = struct.unpack_from("<HHB", content, 6)
        place, is_transparent = gif_start(content), False
        while content[place] in (_GIF_EXTENSION, _GIF_FRAME):
            if content[place] == _GIF_FRAME:
                left, top, *size, own_flags = struct.unpack_from("<HHHHB", content, place + 1)
                has_colors = bool((flags | own_flags) & 0x80)
                yield GifFrame((width, height), left, top, (size[0], size[1]), is_transparent, has_colors, place)
                place, is_transparent = _behind_blocks(content, place + 11 + _color_table_bytes(own_flags)), False
            else:
                if content[place + 1] == 0xF9 and content[place + 2] >= 4:
                    is_transparent = bool(content[place + 3] & _GIF_TRANSPARENCY)
                place = _behind_blocks(content, place + 2)
    except (IndexError, struct.error):
        return


def gif_start(content: bytes) -> int:
    """Returns where a GIF's blocks begin, after its header and colour table."""
    return 13 + _color_table_bytes(content[10])


def _behind_blocks(content: bytes, place: int) -> int:
    while content[place]:
        place += 1 + content[place]
    return place + 1


def _color_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
