"""GIFs of the conformance table, by a writer of its own."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from helpers.photo_table.parts import CUT, XMP, PhotoFile, noise, on_canvas, palette_of, refused


@dataclass(frozen=True)
class Frame:
    """A picture of a GIF.

    Attributes:
        indices: of colours.
        left: columns before it.
        top: rows above it.
        transparent: the index of the transparent colour.
        palette: of its own.
        interlaced: whether every eighth row comes first.
    """

    indices: np.ndarray
    left: int = 0
    top: int = 0
    transparent: int | None = None
    palette: np.ndarray | None = None
    interlaced: bool = False

    def encode(self) -> bytes:
        """Its blocks; its data are codes of one length, cleared before they would become longer."""
        height, width = self.indices.shape
        control = b"!\xf9\4" + struct.pack("<BHB", self.transparent is not None, 10, self.transparent or 0) + b"\0"
        flags = 0x40 * self.interlaced | (0 if self.palette is None else 0x80 | _bits(self.palette) - 1)
        head = b"," + struct.pack("<HHHHB", self.left, self.top, width, height, flags)
        rows = self.indices
        if self.interlaced:
            rows = np.concatenate([rows[first::step] for first, step in ((0, 8), (4, 8), (2, 4), (1, 2))])
        return control + head + (b"" if self.palette is None else self.palette.tobytes()) + b"\x08" + _blocks(rows)


def _bits(palette: np.ndarray) -> int:
    return (len(palette) - 1).bit_length()


def _blocks(indices: np.ndarray) -> bytes:
    flat = [int(index) for index in indices.ravel()]
    parts = [flat[start : start + 200] for start in range(0, len(flat), 200)]
    codes = [code for part in parts for code in (256, *part)] + [257]
    # A decoder's codes grow to 10 bits with the 256th after the clear code.
    bits = "".join(f"{code:09b}"[::-1] for code in codes)
    data = bytes(int(bits[start : start + 8][::-1], 2) for start in range(0, len(bits), 8))
    blocks = (data[start : start + 255] for start in range(0, len(data), 255))
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def gif(
    frames: Sequence[Frame], canvas: tuple[int, int], palette: np.ndarray | None, background: int = 0, end: bytes = b";"
) -> bytes:
    """A GIF with a canvas of height and width."""
    flags = 0x70 | (0 if palette is None else 0x80 | _bits(palette) - 1)
    head = b"GIF89a" + struct.pack("<HHBBB", canvas[1], canvas[0], flags, background, 0)
    table = b"" if palette is None else palette.tobytes()
    return head + table + b"".join(frame.encode() for frame in frames) + end


def gif_files() -> Iterator[PhotoFile]:
    """All rows."""
    colors = palette_of(256)
    indices = noise(15, 21, 256)
    frame, canvas, expected = Frame(indices), (15, 21), colors[indices]
    whole = gif([frame], canvas, colors)
    yield PhotoFile("opaque.gif", whole, expected)
    yield PhotoFile("opaque_87a.gif", b"GIF87a" + whole[6:], expected)
    for count in (2, 4, 16, 128):
        few = noise(15, 21, count)
        yield PhotoFile(f"colors_{count}.gif", gif([Frame(few)], canvas, palette_of(count)), palette_of(count)[few])
    grey = np.repeat(np.arange(256, dtype="uint8")[:, None], 3, axis=1)
    yield PhotoFile("grey.gif", gif([frame], canvas, grey), grey[indices])
    shuffled = np.random.default_rng(0).permutation(grey)
    yield PhotoFile("grey_shuffled.gif", gif([frame], canvas, shuffled), shuffled[indices])
    yield PhotoFile("interlaced.gif", gif([replace(frame, interlaced=True)], canvas, colors), expected)
    local = replace(frame, palette=colors)
    yield PhotoFile("local_palette.gif", gif([local], canvas, colors[::-1]), expected)
    yield PhotoFile("only_local_palette.gif", gif([local], canvas, None), expected)
    clear = replace(frame, transparent=int(indices[3, 4]))
    yield PhotoFile("transparent.gif", gif([clear], canvas, colors), expected, served="refused")
    content = gif([replace(clear, interlaced=True)], canvas, colors)
    yield PhotoFile("transparent_interlaced.gif", content, expected, served="refused")
    all_clear = Frame(np.full((15, 21), 9, "uint8"), transparent=9)
    content = gif([all_clear], canvas, colors)
    yield PhotoFile("transparent_everywhere.gif", content, colors[all_clear.indices], served="refused")
    for name, top, left, room, transparent in (
        ("small_frame", 3, 5, (25, 40), None),
        ("small_frame_at_corner", 0, 0, (25, 40), None),
        ("small_frame_transparent", 3, 5, (25, 40), int(indices[0, 0])),
        ("small_frame_below", 10, 0, (25, 21), None),
    ):
        one = Frame(indices, left, top, transparent)
        placed = on_canvas(expected, top, left, room)
        yield PhotoFile(f"{name}.gif", gif([one], room, colors, background=7), placed, served="refused")
    yield PhotoFile("large_frame.gif", gif([frame], (9, 12), colors), expected, served="refused")
    beyond = on_canvas(expected, 5, 2, (20, 23))
    content = gif([Frame(indices, 2, 5)], (16, 22), colors)
    yield PhotoFile("frame_beyond_canvas.gif", content, beyond, served="refused")
    second = Frame(indices[::-1], transparent=3)
    content = gif([frame, second], canvas, colors)
    yield PhotoFile("animated.gif", content, expected)
    yield PhotoFile("animated_small_second.gif", gif([frame, Frame(indices[:5, :5], 3, 3)], canvas, colors), expected)
    content_2 = gif([frame, Frame(noise(40, 40, 256))], canvas, colors)
    yield PhotoFile("animated_large_second.gif", content_2, expected, served="refused")
    yield PhotoFile("animated_second_cut.gif", content[:-60], expected)
    looped = b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0"
    at = 13 + 768
    yield PhotoFile("animated_looped.gif", content[:at] + looped + content[at:], expected)
    yield PhotoFile("comment.gif", whole[:at] + b"!\xfe\5hello\4,!\xf9;\0" + whole[at:], expected)
    xmp = b"!\xff\x0bXMP DataXMP" + XMP + bytes([1, *range(255, -1, -1), 0])
    yield PhotoFile("xmp.gif", whole[:at] + xmp + whole[at:], expected)
    yield PhotoFile("no_trailer.gif", whole[:-1], expected)
    yield PhotoFile("trailing_junk.gif", whole + b"junk" * 20, expected)
    yield PhotoFile("gif_named.jpeg", whole, expected)
    for share in (0.3, 0.8, 0.9, 0.97):
        yield refused(f"cut_{share}.gif", whole[: int(len(whole) * share)], CUT)
    yield refused("no_frame.gif", gif([], canvas, colors), CUT)
    yield refused("start_only.gif", b"GIF89a", CUT)
    yield refused("no_palette.gif", gif([frame], canvas, None), CUT)
    yield refused("frame_without_area.gif", gif([Frame(indices[:0])], canvas, colors), CUT)
    yield refused("huge.gif", gif([frame], (20_000, 20_000), colors), "at most 178 million")
