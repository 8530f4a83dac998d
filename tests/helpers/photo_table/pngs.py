"""PNGs of the conformance table, by a writer of its own."""

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from helpers.photo_table.parts import EXIF_CASES, XMP, PhotoFile, picture, refused, stored_for, tiff

START = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps, of each pass."""


def chunk(name: bytes, data: bytes, checksum: int | None = None) -> bytes:
    """A chunk; with another checksum it is damaged."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum or zlib.crc32(name + data))


def header(width: int, height: int, depth: int, kind: int, interlaced: bool = False) -> bytes:
    """The data of an IHDR chunk."""
    return struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)


def scanlines(samples: np.ndarray, depth: int, filters: Sequence[int]) -> bytes:
    """Rows, packed and filtered by each of the filters in turn.

    Args:
        samples: ints `(height, width, channels)`.
    """
    step, above, lines = max(1, samples.shape[2] * depth // 8), None, []
    for number, row in enumerate(samples):
        raw = _packed(row.ravel(), depth)
        above = np.zeros_like(raw) if above is None else above
        kind = filters[number % len(filters)]
        left, corner = (np.concatenate([np.zeros(step, int), line[:-step]])[: len(raw)] for line in (raw, above))
        predicted = (0 * raw, left, above, (left + above) // 2, _paeth(left, above, corner))[kind]
        lines.append(bytes([kind]) + ((raw - predicted) % 256).astype("uint8").tobytes())
        above = raw
    return b"".join(lines)


def _packed(row: np.ndarray, depth: int) -> np.ndarray:
    if depth == 16:
        return np.frombuffer(row.astype(">u2").tobytes(), "uint8").astype(int)
    bits = np.unpackbits(row.astype("uint8")[:, None], axis=1)[:, 8 - depth :]
    return np.packbits(bits.ravel()).astype(int)


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    guess = left + above - corner
    a, b, c = (abs(guess - value) for value in (left, above, corner))
    return np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))


def data_of(samples: np.ndarray, depth: int, filters: Sequence[int] = (0,), interlaced: bool = False) -> bytes:
    """The data of the picture, compressed."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = (samples[top::down, left::across] for left, top, across, down in passes)
    return zlib.compress(b"".join(scanlines(part, depth, filters) for part in parts if part.size))


def png(
    samples: np.ndarray,
    kind: int = RGB,
    depth: int = 8,
    *,
    filters: Sequence[int] = (0,),
    interlaced: bool = False,
    before: bytes = b"",
    behind: bytes = b"",
    data: bytes | None = None,
) -> bytes:
    """A PNG with further chunks before and behind its picture.

    Args:
        samples: ints `(height, width, channels)`.
        data: of the picture, if it isn't to be that of `samples`.
    """
    height, width, _ = samples.shape
    data = data_of(samples, depth, filters, interlaced) if data is None else data
    head = START + chunk(b"IHDR", header(width, height, depth, kind, interlaced))
    return head + before + chunk(b"IDAT", data) + behind + chunk(b"IEND", b"")


def samples_of(kind: int, depth: int) -> np.ndarray:
    """Noise of any kind and depth, ints `(13, 19, channels)`."""
    rng = np.random.default_rng([kind, depth])
    return rng.integers(0, 2**depth, (13, 19, CHANNELS[kind]))


def rgb_of(samples: np.ndarray, kind: int, depth: int, palette: np.ndarray | None = None) -> np.ndarray:
    """What samples stand for: transparency is dropped, of 16 bits the upper 8 count, fewer are spread over 0…255."""
    if palette is not None:
        return palette[samples[..., 0]]
    levels = samples >> 8 if depth == 16 else samples * 255 // (2**depth - 1)
    colors = levels[..., :1] if kind in (GREY, GREY_ALPHA) else levels[..., :3]
    return np.broadcast_to(colors, (*samples.shape[:2], 3)).astype("uint8")


def png_files() -> Iterator[PhotoFile]:
    """All rows."""
    yield from _kinds()
    yield from _palettes()
    yield from _orientations()
    yield from _further_data()
    yield from _damaged()


def _kinds() -> Iterator[PhotoFile]:
    every = [(GREY, depth) for depth in (1, 2, 4, 8, 16)]
    every += [(kind, depth) for kind in (GREY_ALPHA, RGB, RGBA) for depth in (8, 16)]
    names = {GREY: "grey", GREY_ALPHA: "grey_alpha", RGB: "rgb", RGBA: "rgba"}
    for kind, depth in every:
        samples = samples_of(kind, depth)
        expected, name = rgb_of(samples, kind, depth), f"{names[kind]}_{depth}"
        yield PhotoFile(f"{name}.png", png(samples, kind, depth), expected)
        content = png(samples, kind, depth, interlaced=True, filters=range(5))
        yield PhotoFile(f"{name}_interlaced.png", content, expected)
        if kind in (GREY, RGB):
            key = chunk(b"tRNS", samples[2, 3].astype(">u2").tobytes())
            yield PhotoFile(f"{name}_transparent.png", png(samples, kind, depth, before=key), expected)
    samples = samples_of(RGB, 8)
    for number in range(5):
        content = png(samples, filters=[number])
        yield PhotoFile(f"filter_{number}.png", content, rgb_of(samples, RGB, 8))
    for height, width in ((1, 1), (1, 9), (9, 1), (3, 5)):
        part = samples[:height, :width]
        content = png(part, interlaced=True)
        yield PhotoFile(f"{height}_x_{width}_interlaced.png", content, part.astype("uint8"))


def _palettes() -> Iterator[PhotoFile]:
    for depth in (1, 2, 4, 8):
        samples = samples_of(PALETTE, depth)
        palette = np.random.default_rng(depth).integers(0, 256, (2**depth, 3), dtype="uint8")
        colors, expected = chunk(b"PLTE", palette.tobytes()), palette[samples[..., 0]]
        alpha = chunk(b"tRNS", bytes(range(0, 2**depth)))
        yield PhotoFile(f"palette_{depth}.png", png(samples, PALETTE, depth, before=colors), expected)
        content = png(samples, PALETTE, depth, before=colors + alpha, interlaced=True)
        yield PhotoFile(f"palette_{depth}_transparent.png", content, expected)
    samples = samples_of(PALETTE, 2)
    colors = chunk(b"PLTE", bytes(range(10, 22)))
    content = png(samples, PALETTE, 2, before=colors + chunk(b"tRNS", b"\0"))
    expected = np.arange(10, 22, dtype="uint8").reshape(4, 3)[samples[..., 0]]
    yield PhotoFile("palette_first_transparent.png", content, expected)
    suggested = chunk(b"PLTE", bytes(30))
    rgb = samples_of(RGB, 8)
    yield PhotoFile("rgb_with_palette.png", png(rgb, before=suggested), rgb.astype("uint8"))
    yield refused("palette_missing.png", png(samples, PALETTE, 2), "PNG")


def _orientations() -> Iterator[PhotoFile]:
    upright = picture()
    for name, (data, orientation) in EXIF_CASES.items():
        stored = stored_for(upright, orientation)
        yield PhotoFile(f"exif_{name}.png", png(stored, before=chunk(b"eXIf", data)), upright)
    turned = stored_for(upright, 6)
    six, three = chunk(b"eXIf", tiff(6)), chunk(b"eXIf", tiff(3))
    prefixed = chunk(b"eXIf", b"Exif\0\0" + tiff(6))
    yield PhotoFile("exif_behind_picture.png", png(turned, behind=six), upright)
    yield PhotoFile("exif_with_prefix.png", png(turned, before=prefixed), upright)
    yield PhotoFile("exif_twice.png", png(turned, before=six + three), upright)
    yield PhotoFile("exif_before_and_behind.png", png(turned, before=six, behind=three), upright)
    bad = chunk(b"eXIf", tiff(6), checksum=1)
    yield PhotoFile("exif_bad_checksum.png", png(turned, before=bad), upright)
    itxt = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    yield PhotoFile("xmp.png", png(upright, before=itxt), upright)
    body = b"Exif\0\0" + tiff(6)
    text = b"\nexif\n%8d\n" % len(body) + body.hex().encode() + b"\n"
    for kind, profile in ((b"tEXt", b"\0" + text), (b"zTXt", b"\0\0" + zlib.compress(text))):
        raw = chunk(kind, b"Raw profile type exif" + profile)
        yield PhotoFile(f"raw_profile_{kind.decode()}.png", png(upright, before=raw), upright)
    yield PhotoFile("exif_in_text.png", png(upright, before=chunk(b"tEXt", b"eXIf\0" + tiff(6))), upright)


def _further_data() -> Iterator[PhotoFile]:
    upright = picture()
    data = data_of(upright.astype(int), 8)
    bomb = zlib.compress(bytes(20_000_000), 9)
    before = {
        "gamma": chunk(b"gAMA", struct.pack(">I", 220_000)),
        "srgb": chunk(b"sRGB", b"\0"),
        "background": chunk(b"bKGD", bytes(6)),
        "significant_bits": chunk(b"sBIT", b"\5\5\5"),
        "much_text": chunk(b"tEXt", b"Comment\0" + b"x" * 3_000_000),
        "bomb_text": chunk(b"zTXt", b"Comment\0\0" + bomb),
        "bomb_international_text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb),
        "bomb_profile": chunk(b"iCCP", b"ICC\0\0" + bomb),
        "broken_profile": chunk(b"iCCP", b"ICC\0\0no zlib data"),
        "broken_text": chunk(b"zTXt", b"Comment\0\0no zlib data"),
        "unknown_data": chunk(b"abCd", b"whatever"),
        "many_texts": b"".join(chunk(b"tEXt", b"k\0%d" % number) for number in range(1500)),
        "broken_time": chunk(b"tIME", b"\0"),
        "broken_density": chunk(b"pHYs", b"\0"),
    }
    for name, chunks in before.items():
        yield PhotoFile(f"{name}.png", png(upright, before=chunks), upright)
    for name in (b"tEXt", b"iCCP", b"gAMA", b"pHYs"):
        data_of_it = {b"gAMA": struct.pack(">I", 45455), b"pHYs": bytes(9)}.get(name, b"name\0\0text")
        content = png(upright, before=chunk(name, data_of_it, checksum=1))
        yield PhotoFile(f"bad_checksum_{name.decode()}.png", content, upright)
    frames = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 38, 27, *[0] * 6))
    second = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, 38, 27, *[0] * 6)) + chunk(b"fdAT", bytes([0, 0, 0, 2]) + data)
    yield PhotoFile("animated.png", png(upright, before=frames, behind=second), upright)
    broken = chunk(b"fdAT", bytes([0, 0, 0, 2]) + b"no zlib data")
    yield PhotoFile("animated_broken_second.png", png(upright, before=frames, behind=broken), upright)
    hidden = chunk(b"acTL", struct.pack(">II", 1, 0))
    yield PhotoFile("animated_default_apart.png", png(upright, before=hidden, behind=second), upright)
    yield PhotoFile("trailing_junk.png", png(upright) + b"junk" * 30, upright)
    parts = [chunk(b"IDAT", data[start : start + 50]) for start in range(0, len(data), 50)]
    head = START + chunk(b"IHDR", header(38, 27, 8, RGB))
    several = head + b"".join(parts) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    yield PhotoFile("several_parts.png", several, upright)
    yield PhotoFile("png_named.jpg", png(upright), upright)
    yield PhotoFile("more_data.png", png(upright, data=zlib.compress(zlib.decompress(data) + bytes(500))), upright)


def _damaged() -> Iterator[PhotoFile]:
    upright = picture()
    whole, data = png(upright), data_of(upright.astype(int), 8)
    for share in (0.1, 0.5, 0.9):
        yield refused(f"cut_{share}.png", whole[: int(len(whole) * share)], "damaged or cut short")
    yield refused("no_end.png", whole[:-12], "damaged or cut short")
    yield refused("half_an_end.png", whole[:-3], "damaged or cut short")
    yield refused("only_start.png", START, "damaged or cut short")
    yield refused("header_only.png", whole[:33], "damaged or cut short")
    for name, changed in (("IHDR", 20), ("IDAT", len(whole) - 40)):
        content = bytearray(whole)
        content[changed] ^= 8
        yield refused(f"bad_checksum_{name}.png", bytes(content), "checksum")
    wrong = bytearray(data)
    wrong[len(wrong) // 2] ^= 0xFF
    yield refused("wrong_zlib.png", png(upright, data=bytes(wrong)), "damaged or cut short")
    yield refused("no_zlib.png", png(upright, data=b"no zlib data"), "damaged or cut short")
    rows = zlib.decompress(data)
    yield refused("too_few_rows.png", png(upright, data=zlib.compress(rows[: len(rows) // 2])), "damaged or cut short")
    yield refused("cut_zlib.png", png(upright, data=data[: len(data) // 2]), "damaged or cut short")
    bad_sum = data[:-4] + bytes(4)
    yield refused("wrong_adler.png", png(upright, data=bad_sum), "damaged or cut short")
    yield refused("wrong_filter.png", png(upright, data=zlib.compress(b"\7" + rows[1:])), "damaged or cut short")
    for name, fields in {
        "no_width": (0, 27, 8, RGB),
        "no_height": (38, 0, 8, RGB),
        "depth_3": (38, 27, 3, GREY),
        "kind_5": (38, 27, 8, 5),
        "palette_16": (38, 27, 16, PALETTE),
    }.items():
        content = START + chunk(b"IHDR", header(*fields)) + whole[33:]
        yield refused(f"{name}.png", content, "damaged or cut short")
    yield refused("critical_unknown.png", png(upright, before=chunk(b"CgBI", bytes(4))), "damaged or cut short")
    huge = START + chunk(b"IHDR", header(20_000, 20_000, 8, RGB)) + whole[33:]
    yield refused("huge.png", huge, "at most 178 million")
