"""BMPs of the conformance table, by a writer of its own."""

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from helpers.photo_table.parts import CUT, PhotoFile, noise, palette_of, picture, refused


def bmp(
    rows: bytes,
    size: tuple[int, int],
    bits: int,
    *,
    compression: int = 0,
    palette: np.ndarray | None = None,
    masks: Sequence[int] = (),
    header: int = 40,
) -> bytes:
    """A BMP of a height, negative if its first row is at the top, and a width."""
    table = b""
    if palette is not None:
        pad = np.zeros((len(palette), 0 if header == 12 else 1), "uint8")
        table = np.hstack([palette[:, ::-1], pad]).tobytes()
    fields = b"".join(struct.pack("<I", mask) for mask in masks)
    if header == 12:
        info = struct.pack("<IHHHH", 12, size[1], size[0], 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, size[1], size[0], 1, bits, compression, len(rows), 2835, 2835, 0, 0)
        info += (fields + bytes(header))[: header - 40] if header > 40 else fields
    start = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + table + rows


def packed(samples: np.ndarray, bits: int, top_down: bool = False) -> bytes:
    """Rows of unsigned numbers of so many bits, filled up to 4 bytes; `(height, width)`."""
    rows = samples if top_down else samples[::-1]
    if bits >= 8:
        data = [row.astype("<u4").view("uint8").reshape(-1, 4)[:, : bits // 8].tobytes() for row in rows]
    else:
        digits = (np.unpackbits(row.astype("uint8")[:, None], axis=1)[:, 8 - bits :] for row in rows)
        data = [np.packbits(row).tobytes() for row in digits]
    return b"".join(row + bytes(-len(row) % 4) for row in data)


def packed_colors(colors: np.ndarray) -> np.ndarray:
    """RGB as numbers of 24 bits."""
    red, green, blue = np.moveaxis(colors.astype("uint32"), -1, 0)
    return red << 16 | green << 8 | blue


def run_lengths(indices: np.ndarray, bits: int) -> bytes:
    """Rows as runs of one index, and for the last columns as they are."""
    data = b""
    for row in indices[::-1]:
        runs = np.split(row[:-4], np.flatnonzero(np.diff(row[:-4])) + 1)
        for run in runs:
            data += bytes([len(run), run[0] if bits == 8 else run[0] << 4 | run[0]])
        a, b, c, d = (int(index) for index in row[-4:])
        data += bytes([0, 4, a, b, c, d] if bits == 8 else [0, 4, a << 4 | b, c << 4 | d])
        data += b"\0\0"
    return data + b"\0\1"


def bmp_files() -> Iterator[PhotoFile]:
    """All rows."""
    drawn = picture(13, 19)
    numbers = packed_colors(drawn)
    for bits in (1, 4, 8):
        indices, colors = noise(13, 19, 2**bits), palette_of(2**bits)
        headers = (("", 13, False, 40), ("_top_down", -13, True, 40), ("_os2", 13, False, 12))
        for name, height, top_down, header in headers:
            content = bmp(packed(indices, bits, top_down), (height, 19), bits, palette=colors, header=header)
            yield PhotoFile(f"palette_{bits}{name}.bmp", content, colors[indices], served="refused")
    grey = np.repeat(np.arange(256, dtype="uint8")[:, None], 3, axis=1)
    indices = noise(13, 19, 256)
    for name, colors in (("grey", grey), ("grey_inverted", grey[::-1])):
        content = bmp(packed(indices, 8), (13, 19), 8, palette=colors)
        yield PhotoFile(f"{name}.bmp", content, colors[indices], served="refused")
    for bits, compression in ((8, 1), (4, 2)):
        indices = noise(13, 20, 2**bits) & noise(13, 20, 2).repeat(1, axis=1) * (2**bits - 1)
        content = bmp(run_lengths(indices, bits), (13, 20), bits, compression=compression, palette=palette_of(2**bits))
        yield PhotoFile(f"rle_{bits}.bmp", content, palette_of(2**bits)[indices], served="refused")
    for width in (1, 2, 3, 4, 5, 19):
        part = numbers[:, :width]
        yield PhotoFile(f"rgb_24_width_{width}.bmp", bmp(packed(part, 24), (13, width), 24), drawn[:, :width])
    yield PhotoFile("rgb_24_top_down.bmp", bmp(packed(numbers, 24, True), (-13, 19), 24), drawn)
    content = bmp(packed(numbers, 24), (13, 19), 24, header=12)
    yield PhotoFile("rgb_24_os2.bmp", content, drawn, served="refused")
    for header in (108, 124):
        yield PhotoFile(f"rgb_24_header_{header}.bmp", bmp(packed(numbers, 24), (13, 19), 24, header=header), drawn)
    for name, alpha in (("unused", 0), ("opaque", 255), ("half", 128)):
        content = bmp(packed(numbers | alpha << 24, 32), (13, 19), 32)
        yield PhotoFile(f"rgb_32_{name}.bmp", content, drawn)
    content = bmp(packed(numbers, 32, True), (-13, 19), 32)
    yield PhotoFile("rgb_32_top_down.bmp", content, drawn)
    yield from _masked_bmps(drawn)
    yield from _damaged_bmps(drawn)


def _masked_bmps(drawn: np.ndarray) -> Iterator[PhotoFile]:
    red, green, blue = np.moveaxis(drawn.astype("uint32"), -1, 0)
    small = red >> 3, green >> 3, blue >> 3
    expected = np.stack([value * 255 // 31 for value in small], axis=-1).astype("uint8")
    rows = packed(small[0] << 10 | small[1] << 5 | small[2], 16)
    yield PhotoFile("rgb_555.bmp", bmp(rows, (13, 19), 16), expected, served="refused", tolerance=1)
    masked = bmp(rows, (13, 19), 16, compression=3, masks=(0x7C00, 0x3E0, 0x1F))
    yield PhotoFile("rgb_555_masks.bmp", masked, expected, served="refused", tolerance=1)
    rows = packed(small[0] << 11 | (green >> 2) << 5 | small[2], 16)
    masked = bmp(rows, (13, 19), 16, compression=3, masks=(0xF800, 0x7E0, 0x1F))
    six = np.stack([small[0] * 255 // 31, (green >> 2) * 255 // 63, small[2] * 255 // 31], axis=-1).astype("uint8")
    yield PhotoFile("rgb_565.bmp", masked, six, served="refused", tolerance=1)
    for name, masks in {
        "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        "bgrx": (0xFF0000, 0xFF00, 0xFF, 0),
    }.items():
        shifts = [(mask & -mask).bit_length() - 1 for mask in masks]
        values = sum(channel << shift for channel, shift in zip((red, green, blue), shifts, strict=False))
        values = values | (77 * (masks[3] & -masks[3]))
        for header in (108, 124):
            content = bmp(packed(values, 32), (13, 19), 32, compression=3, masks=masks, header=header)
            yield PhotoFile(f"masks_{name}_{header}.bmp", content, drawn, served="refused")


def _damaged_bmps(drawn: np.ndarray) -> Iterator[PhotoFile]:
    numbers = packed_colors(drawn)
    whole = bmp(packed(numbers, 24), (13, 19), 24)
    yield PhotoFile("trailing_junk.bmp", whole + b"junk" * 9, drawn, served="refused")
    yield PhotoFile("bmp_named.png", whole, drawn)
    wrong_size = whole[:2] + struct.pack("<I", 5) + whole[6:]
    yield PhotoFile("wrong_file_size.bmp", wrong_size, drawn)
    for share in (0.2, 0.5, 0.97):
        yield refused(f"cut_{share}.bmp", whole[: int(len(whole) * share)], CUT)
    indices = packed(noise(13, 19, 256), 8)
    palette = bmp(indices, (13, 19), 8, palette=palette_of(256))
    yield refused("cut_palette.bmp", palette[:600], CUT)
    runs = bmp(run_lengths(noise(13, 20, 16), 8), (13, 20), 8, compression=1, palette=palette_of(256))
    yield refused("cut_rle.bmp", runs[:-80], CUT)
    yield refused("start_only.bmp", b"BM", CUT)
    yield refused("header_only.bmp", whole[:54], CUT)
    for name, place, value in (("bits_7", 28, 7), ("compression_9", 30, 9), ("no_width", 18, 0), ("header_99", 14, 99)):
        content = bytearray(whole)
        content[place] = value
        yield refused(f"{name}.bmp", bytes(content), CUT)
    inside = whole[:30] + struct.pack("<I", 4) + whole[34:]
    yield refused("jpeg_inside.bmp", inside, CUT)
    huge = whole[:18] + struct.pack("<ii", 20_000, 20_000) + whole[26:]
    yield refused("huge.bmp", huge, "at most 178 million")
    deep = whole[:18] + struct.pack("<ii", 20_000, -20_000) + whole[26:]
    yield refused("huge_top_down.bmp", deep, "at most 178 million")
