"""GIFs, BMPs and WebPs of the conformance table, and files in formats that aren't decoded."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image

from helpers.photo_table.parts import EXIF_CASES, XMP, PhotoFile, picture, refused, stored_for, tiff

CUT = "damaged or cut short"


def noise(height: int, width: int, colors: int) -> np.ndarray:
    """Indices of colours, none of which is more likely."""
    return np.random.default_rng([height, width]).integers(0, colors, (height, width), dtype="uint8")


def palette_of(colors: int) -> np.ndarray:
    """Colours that are far from grey, uint8 `(colors, 3)`."""
    return np.random.default_rng(colors).integers(0, 256, (colors, 3), dtype="uint8")


# GIF


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


def on_canvas(pixels: np.ndarray, top: int, left: int, canvas: tuple[int, int]) -> np.ndarray:
    """White elsewhere."""
    whole = np.full((*canvas, 3), 255, "uint8")
    whole[top : top + len(pixels), left : left + pixels.shape[1]] = pixels
    return whole


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


# BMP


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


# WebP


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of chunks."""
    data = b"".join(name + struct.pack("<I", len(value)) + value + b"\0" * (len(value) % 2) for name, value in chunks)
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def webp(pixels: np.ndarray, **options: object) -> bytes:
    """A WebP by Pillow; without options a lossless one."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", **({"lossless": True, "exact": True} | options))
    return stream.getvalue()


def extended(pixels: np.ndarray, flags: int, *behind: tuple[bytes, bytes], before: Sequence = ()) -> bytes:
    """A lossless WebP with further chunks, as the extended format has them."""
    return riff((b"VP8X", _canvas(pixels, flags)), *before, (b"VP8L", webp(pixels)[20:]), *behind)


def _canvas(pixels: np.ndarray, flags: int) -> bytes:
    height, width = pixels.shape[:2]
    return struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def _animation_frame(pixels: np.ndarray, left: int = 0, top: int = 0) -> tuple[bytes, bytes]:
    height, width = pixels.shape[:2]
    places = b"".join(value.to_bytes(3, "little") for value in (left // 2, top // 2, width - 1, height - 1, 100))
    data = webp(pixels)[20:]
    return b"ANMF", places + b"\0" + b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp_files() -> Iterator[PhotoFile]:
    """All rows."""
    drawn = picture()
    alpha = np.random.default_rng(0).integers(0, 256, drawn.shape[:2], dtype="uint8")
    rgba = np.dstack([drawn, alpha])
    yield PhotoFile("lossless.webp", webp(drawn), drawn)
    yield PhotoFile("lossless_alpha.webp", webp(rgba), drawn)
    hidden = np.dstack([drawn, 0 * alpha])
    yield PhotoFile("lossless_all_transparent.webp", webp(hidden), drawn)
    for quality in (30, 80, 100):
        content = webp(drawn, lossless=False, quality=quality)
        yield PhotoFile(f"lossy_{quality}.webp", content, _decoded(content, drawn))
        smooth = np.dstack([drawn, np.linspace(40, 255, alpha.size).reshape(alpha.shape).astype("uint8")])
        content = webp(smooth, lossless=False, quality=quality)
        yield PhotoFile(f"lossy_alpha_{quality}.webp", content, _decoded(content, drawn))
    yield PhotoFile("one_row.webp", webp(drawn[:1, :7]), drawn[:1, :7])
    content = riff((b"VP8X", _canvas(drawn, 0)), (b"VP8L", webp(rgba)[20:]))
    yield PhotoFile("alpha_unannounced.webp", content, drawn)
    content = riff((b"VP8X", _canvas(drawn, 16)), (b"VP8L", webp(drawn)[20:]))
    yield PhotoFile("alpha_announced.webp", content, drawn)
    yield PhotoFile("webp_named.jpg", webp(drawn), drawn)
    yield PhotoFile("trailing_junk.webp", webp(drawn) + b"junk" * 9, drawn)
    yield from _turned_webps(drawn)
    yield from _animated_webps(drawn)
    yield from _damaged_webps(drawn)


def _decoded(content: bytes, drawn: np.ndarray) -> np.ndarray:
    """By Pillow, once it is sure that it shows what was drawn."""
    pixels = np.asarray(Image.open(BytesIO(content)).convert("RGBA"))[..., :3]
    assert np.abs(pixels.astype(int) - drawn).max() <= 30
    return pixels


def _turned_webps(drawn: np.ndarray) -> Iterator[PhotoFile]:
    for name, (data, orientation) in EXIF_CASES.items():
        content = extended(stored_for(drawn, orientation), 8, (b"EXIF", data))
        yield PhotoFile(f"exif_{name}.webp", content, drawn)
    turned = stored_for(drawn, 6)
    exif, prefixed, three = ((b"EXIF", data) for data in (tiff(6), b"Exif\0\0" + tiff(6), tiff(3)))
    yield PhotoFile("exif_with_prefix.webp", extended(turned, 8, prefixed), drawn)
    yield PhotoFile("exif_twice.webp", extended(turned, 8, exif, three), drawn)
    yield PhotoFile("exif_unannounced.webp", extended(turned, 0, exif), drawn)
    yield PhotoFile("exif_before_picture.webp", extended(turned, 8, before=[exif]), drawn)
    yield PhotoFile("exif_behind_odd_chunk.webp", extended(turned, 8, (b"abcd", b"odd"), exif), drawn)
    yield PhotoFile("xmp.webp", extended(drawn, 4, (b"XMP ", XMP)), drawn)
    yield PhotoFile("profile.webp", extended(drawn, 32, before=[(b"ICCP", b"no profile")]), drawn)
    rgba = np.dstack([turned, np.full(turned.shape[:2], 90, "uint8")])
    yield PhotoFile("exif_alpha.webp", extended(rgba, 8 | 16, exif), drawn)


def _animated_webps(drawn: np.ndarray) -> Iterator[PhotoFile]:
    canvas, sheet = (b"VP8X", _canvas(drawn, 2)), (b"ANIM", bytes(6))
    first, second = _animation_frame(drawn), _animation_frame(drawn[::-1])
    for name, chunks in {
        "animated_1_frame": (canvas, sheet, first),
        "animated_2_frames": (canvas, sheet, first, second),
        "animated_small_second": (canvas, sheet, first, _animation_frame(drawn[:6, :8], 2, 2)),
    }.items():
        yield PhotoFile(f"{name}.webp", riff(*chunks), drawn, served="refused")
    exif = (b"EXIF", tiff(6))
    turned = stored_for(drawn, 6)
    content = riff((b"VP8X", _canvas(turned, 2 | 8)), sheet, _animation_frame(turned), exif)
    yield PhotoFile("animated_exif.webp", content, drawn, served="refused")
    placed = on_canvas(drawn[:6, :8], 4, 2, drawn.shape[:2])
    content = riff(canvas, sheet, _animation_frame(drawn[:6, :8], 2, 4), second)
    yield PhotoFile("animated_small_first.webp", content, placed, served="refused")
    stream = BytesIO()
    images = [Image.fromarray(pixels) for pixels in (drawn, drawn[::-1])]
    images[0].save(stream, "WEBP", save_all=True, append_images=images[1:], lossless=True)
    yield PhotoFile("animated_by_pillow.webp", stream.getvalue(), drawn, served="refused")


def _damaged_webps(drawn: np.ndarray) -> Iterator[PhotoFile]:
    speckled = np.random.default_rng(0).integers(0, 256, drawn.shape, dtype="uint8")
    for name, content in (("lossless", webp(speckled)), ("lossy", webp(speckled, lossless=False))):
        for share in (0.1, 0.5, 0.95):
            yield refused(f"cut_{share}_{name}.webp", content[: int(len(content) * share)], CUT)
    yield refused("start_only.webp", b"RIFF\4\0\0\0WEBP", CUT)
    yield refused("bad_picture.webp", riff((b"VP8L", b"\x2f" + bytes(50))), CUT)
    huge = riff((b"VP8X", bytes(4) + (19_999).to_bytes(3, "little") * 2), (b"VP8L", webp(drawn)[20:]))
    yield refused("huge.webp", huge, "at most 178 million")
    lossless = bytearray(webp(drawn))
    lossless[21:25] = struct.pack("<I", 16_383 | 16_383 << 14)
    yield refused("huge_lossless.webp", bytes(lossless), "at most 178 million")
    lossy = bytearray(webp(drawn, lossless=False))
    lossy[26:30] = struct.pack("<HH", 16_383, 16_383)
    yield refused("huge_lossy.webp", bytes(lossy), "at most 178 million")


# Others


def other_files() -> Iterator[PhotoFile]:
    """What isn't decoded."""
    image = Image.fromarray(picture())
    yield refused("empty.jpg", b"", "the file is empty")
    rng = np.random.default_rng(3)
    for name, content in {
        "text.jpg": b"This is no photo.\n",
        "html.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "photo.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "random.jpg": rng.bytes(500),
        "zeros.png": bytes(500),
        "sound.wav": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(28),
        "film.avi": b"RIFF" + struct.pack("<I", 36) + b"AVI LIST" + bytes(28),
        "film.mp4": b"\0\0\0\x18ftypisom" + bytes(16),
        "one_byte.png": b"\x89",
        "almost_jpeg.jpg": b"\xff\xd8",
        "apple_double.jpg": b"\0\5\x16\7\0\2\0\0Mac OS X        ",
        "zip.jpg": b"PK\3\4" + bytes(40),
        "lfs_pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }.items():
        yield refused(name, content, "not an image")
    for name, kind in (("photo.tif", "TIFF"), ("photo.jp2", "JPEG2000"), ("photo.ico", "ICO"), ("photo.avif", "AVIF")):
        stream = BytesIO()
        image.save(stream, kind)
        yield refused(name, stream.getvalue(), f"the format {kind.replace('G2', 'G 2')} isn't decoded; convert it")
    for name, content, kind in (
        ("big_endian.tiff", b"MM\0*\0\0\0\x08" + bytes(20), "TIFF"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("photo.heif", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEI"),
        ("codestream.j2k", b"\xff\x4f\xff\x51\0\x2f" + bytes(40), "JPEG 2000"),
        ("photo.jxl", b"\xff\x0a" + bytes(40), "JPEG XL"),
        ("container.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        ("photo.psd", b"8BPS\0\1" + bytes(40), "Photoshop"),
        ("photo.pdf", b"%PDF-1.7\n" + bytes(40), "PDF"),
    ):
        yield refused(name, content, f"the format {kind}")
