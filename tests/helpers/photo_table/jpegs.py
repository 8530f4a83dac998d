"""JPEGs of the conformance table: Pillow's, put together anew, and those of a small writer of plain blocks."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from helpers.photo_table.parts import EXIF_CASES, XMP, PhotoFile, picture, refused, stored_for, tiff

JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
END = b"\xff\xd9"
TRUNCATED, CORRUPT = "truncated: its picture data ends early", "damaged: its picture data is corrupt"


def segment(marker: int, data: bytes) -> bytes:
    """A marker with data."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def adobe(transform: int) -> bytes:
    """Adobe's marker: 0 says RGB or CMYK, 1 YCbCr, 2 YCCK."""
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def exif(orientation: int, **options: Any) -> bytes:
    """An EXIF segment; options of `tiff`."""
    return segment(0xE1, b"Exif\0\0" + tiff(orientation, **options))


def with_segments(content: bytes, *segments: bytes) -> bytes:
    """A JPEG with further segments in front of all others."""
    return content[:2] + b"".join(segments) + content[2:]


def encoded(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG by Pillow."""
    stream = BytesIO()
    Image.fromarray(pixels, mode if mode == "CMYK" else None).save(stream, "JPEG", **{"quality": 95, **options})
    return stream.getvalue()


def decoded(content: bytes, drawn: np.ndarray) -> np.ndarray:
    """An undamaged, unadorned JPEG's pixels by Pillow, once it is sure that they show what was drawn."""
    pixels = np.asarray(Image.open(BytesIO(content)).convert("RGB"))
    assert np.abs(pixels.astype(int) - drawn).max() <= 14
    return pixels


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


def jpeg_files() -> Iterator[PhotoFile]:
    """All rows."""
    yield from _encodings()
    yield from _color_spaces()
    yield from _orientations()
    yield from _further_data()
    yield from _several_pictures()
    yield from _plain_last_rows()
    yield from _damaged()
    yield from _other_kinds()


def _encodings() -> Iterator[PhotoFile]:
    drawn = picture()
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2), ("411", "4:1:1")):
        for kind in ("baseline", "progressive", "optimize"):
            content = encoded(drawn, subsampling=subsampling, **({} if kind == "baseline" else {kind: True}))
            yield PhotoFile(f"{kind}_{name}.jpg", content, decoded(content, drawn))
    grey = np.repeat(drawn[..., :1], 3, axis=2)
    for kind in ("baseline", "progressive"):
        content = encoded(drawn[..., 0], progressive=kind == "progressive")
        yield PhotoFile(f"grey_{kind}.jpg", content, decoded(content, grey))
    for number in (1, 4):
        content = encoded(drawn, restart_marker_blocks=number)
        yield PhotoFile(f"restart_{number}.jpg", content, decoded(content, drawn))
    content = encoded(drawn, quality=100)
    yield PhotoFile("quality_100.jpg", content, decoded(content, drawn))
    for height, width in ((1, 1), (1, 40), (40, 1), (8, 8), (17, 33)):
        content = encoded(picture(42, 42)[:height, :width])
        yield PhotoFile(f"{height}_x_{width}.jpg", content, decoded(content, picture(42, 42)[:height, :width]))
    content = encoded(drawn)
    yield PhotoFile("jpeg_named.png", content, decoded(content, drawn))
    yield PhotoFile("no_suffix", content, decoded(content, drawn))


def _color_spaces() -> Iterator[PhotoFile]:
    rng = np.random.default_rng(7)
    levels = rng.integers(30, 226, (3, 4, 4))
    rgb, ycc = shown(levels[..., :3]), rgb_of_ycc(shown(levels[..., :3]))
    cmyk, grey = shown(levels), np.repeat(shown(levels[..., :1]), 3, axis=2)
    plain = Plain([Component(number, levels[..., number - 1]) for number in (1, 2, 3)], (3, 4))
    letters = [Component(number, levels[..., index]) for index, number in enumerate(b"RGB")]
    with_four = replace(plain, components=[*plain.components, Component(4, levels[..., 3])])
    ycck = np.dstack([rgb_of_ycc(cmyk[..., :3]), 255 - cmyk[..., 3:]])
    zero = [Component(index, levels[..., index]) for index in range(3)]
    rows = {
        "jfif": (replace(plain, segments=JFIF), ycc, 1),
        "no_marker": (plain, ycc, 1),
        "adobe_rgb": (replace(plain, segments=adobe(0)), rgb, 0),
        "adobe_ycc": (replace(plain, segments=adobe(1)), ycc, 1),
        "adobe_and_jfif": (replace(plain, segments=JFIF + adobe(0)), ycc, 1),
        "rgb_by_letters": (replace(plain, components=letters), rgb, 0),
        "rgb_by_letters_jfif": (replace(plain, components=letters, segments=JFIF), ycc, 1),
        "numbered_from_0": (replace(plain, components=zero), ycc, 1),
        "adobe_unknown": (replace(plain, segments=adobe(9)), ycc, 1),
        "cmyk_adobe_unknown": (replace(with_four, segments=adobe(9)), rgb_of_cmyk(ycck), 2),
        "adobe_short": (replace(plain, segments=segment(0xEE, b"Adobe")), ycc, 1),
        "grey": (replace(plain, components=plain.components[:1]), grey, 0),
        "grey_adobe": (replace(plain, components=plain.components[:1], segments=adobe(0)), grey, 0),
        "cmyk": (with_four, rgb_of_cmyk(cmyk), 1),
        "cmyk_jfif": (replace(with_four, segments=JFIF), rgb_of_cmyk(cmyk), 1),
        "cmyk_adobe": (replace(with_four, segments=adobe(0)), rgb_of_cmyk(255 - cmyk), 1),
        "cmyk_adobe_short": (replace(with_four, segments=segment(0xEE, b"Adobe")), rgb_of_cmyk(cmyk), 1),
        "ycck": (replace(with_four, segments=adobe(2)), rgb_of_cmyk(ycck), 2),
    }
    for name, (maker, expected, tolerance) in rows.items():
        for kind, frame in (("", 0xC0), ("_progressive", 0xC2)):
            content = replace(maker, frame=frame).encode()
            row = PhotoFile(f"plain_{name}{kind}.jpg", content, expected.astype("uint8"))
            yield replace(row, tolerance=tolerance)
    yield PhotoFile("plain_extended.jpg", replace(plain, frame=0xC1).encode(), ycc, tolerance=1)
    odd_scan = plain.encode().replace(b"\0\x3f\0", b"\0\0\0", 1)
    yield PhotoFile("plain_odd_scan.jpg", odd_scan, ycc, tolerance=1)
    yield PhotoFile("plain_restart.jpg", replace(plain, restart=1).encode(), ycc, tolerance=1)
    # One colour's level, so that it doesn't matter how it is enlarged.
    for name, across, down in (("440", 1, 2), ("422", 2, 1), ("420", 2, 2), ("411", 4, 1), ("410", 4, 2)):
        bright = rng.integers(60, 196, (2 * down, 2 * across))
        colors = [Component(number, np.full((2, 2), 90 + 10 * number)) for number in (2, 3)]
        made = Plain([Component(1, bright, across, down), *colors], (2, 2), segments=JFIF)
        full = np.dstack([shown(bright), *(np.full(shown(bright).shape, 90 + 10 * number) for number in (2, 3))])
        yield PhotoFile(f"plain_{name}.jpg", made.encode(), rgb_of_ycc(full), tolerance=1)
        yield refused(f"plain_{name}_no_end.jpg", made.encode()[:-2], "truncated")


def _orientations() -> Iterator[PhotoFile]:
    drawn = picture()
    for name, (data, orientation) in EXIF_CASES.items():
        content = encoded(stored_for(drawn, orientation))
        expected = _turned(content, orientation)
        content = with_segments(content, segment(0xE1, b"Exif\0\0" + data))
        yield PhotoFile(f"exif_{name}.jpg", content, expected)
    turned, straight = encoded(stored_for(drawn, 6)), encoded(drawn)
    expected, plain = _turned(turned, 6), decoded(straight, drawn)
    profile = [segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 6]) + bytes(65000)) for number in range(1, 7)]
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    thumbnail = segment(0xE1, b"Exif\0\0" + tiff(6) + encoded(drawn[:8, :8]))
    lower = segment(0xE1, b"exif\0\0" + tiff(6))
    padded = segment(0xE1, b"Exif\0\xff" + tiff(6))
    for name, content, pixels in (
        ("behind_profile", with_segments(turned, *profile, exif(6)), expected),
        ("twice", with_segments(turned, exif(6), exif(3)), expected),
        ("first_invalid", with_segments(straight, exif(9), exif(3)), plain),
        ("behind_xmp", with_segments(turned, xmp, exif(6)), expected),
        ("prefix_twice", with_segments(straight, segment(0xE1, b"Exif\0\0Exif\0\0" + tiff(6))), plain),
        ("with_thumbnail", with_segments(turned, thumbnail), expected),
        ("behind_comment", with_segments(turned, segment(0xFE, b"\xff\xe1\0\x10Exif\0\0"), exif(6)), expected),
        ("filled_up", with_segments(turned, b"\xff\xff\xff" + exif(6)), expected),
        ("before_jfif", turned[:2] + exif(6) + turned[2:], expected),
        ("behind_tables", turned[:20] + exif(6) + turned[20:], expected),
        ("only_xmp", with_segments(straight, xmp), plain),
        ("in_lower_case", with_segments(straight, lower), plain),
        ("prefix_of_one_zero", with_segments(straight, padded), plain),
        ("in_app_2", with_segments(straight, segment(0xE2, b"Exif\0\0" + tiff(6))), plain),
        ("behind_picture", straight + exif(6), plain),
        ("in_photoshop_data", with_segments(straight, segment(0xED, b"Photoshop 3.0\0" + tiff(6))), plain),
    ):
        yield PhotoFile(f"exif_{name}.jpg", content, pixels)
    cmyk = encoded(stored_for(255 - np.dstack([drawn, 255 + 0 * drawn[..., 0]]), 8), "CMYK")
    row = PhotoFile("exif_cmyk.jpg", with_segments(cmyk, exif(8)), _turned(cmyk, 8))
    yield replace(row, tolerance=1)


def _turned(content: bytes, orientation: int) -> np.ndarray:
    """A JPEG without EXIF data, decoded, and turned as that orientation asks."""
    pixels = np.asarray(Image.open(BytesIO(content)).convert("RGB"))
    # Turning twice for 6 and 8 undoes each other; all else undoes itself.
    return stored_for(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _further_data() -> Iterator[PhotoFile]:
    drawn = picture()
    plain = encoded(drawn)
    expected = decoded(plain, drawn)
    for number in range(16):
        for name, data in (("empty", b""), ("odd", b"\xff\xd9\xff\xda JFIF\0 Adobe MPF\0 Exif \0\xff")):
            content = with_segments(plain, segment(0xE0 + number, data))
            yield PhotoFile(f"app_{number}_{name}.jpg", content, expected)
    for name, data in {
        "jfif_short": segment(0xE0, b"JFIF\0\1"),
        "jfif_extension": segment(0xE0, b"JFXX\0\x10" + plain),
        "exif_short": segment(0xE1, b"Exif\0"),
        "profile_short": segment(0xE2, b"ICC_PROFILE\0"),
        "profile_broken": segment(0xE2, b"ICC_PROFILE\0\7\2x"),
        "mpf_broken": segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        "photoshop_broken": segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff"),
        "adobe_short": segment(0xEE, b"Adobe\0"),
        "comment_of_markers": segment(0xFE, b"\xff" * 40 + END),
        "comment_empty": segment(0xFE, b""),
        "comment_full": segment(0xFE, b"\xff\xda" * 32766),
        "filling": b"\xff" * 20,
        "temporary_marker": b"\xff\x01",
    }.items():
        yield PhotoFile(f"data_{name}.jpg", with_segments(plain, data), expected)
    version = plain.replace(b"JFIF\0\1\1", b"JFIF\0\7\7", 1)
    density = plain.replace(b"JFIF\0\1\1\0\0\1\0\1", b"JFIF\0\1\1\xff\0\0\0\0", 1)
    yield PhotoFile("jfif_version.jpg", version, expected)
    yield PhotoFile("jfif_density.jpg", density, expected)
    yield PhotoFile("trailing_junk.jpg", plain + b"junk" * 50, expected)
    yield PhotoFile("trailing_zeros.jpg", plain + bytes(5000), expected)
    yield PhotoFile("bytes_between.jpg", plain[:20] + b"abc" + plain[20:], expected)


def _several_pictures() -> Iterator[PhotoFile]:
    drawn = picture()
    first, second = encoded(drawn), encoded(drawn[::-1, ::-1])
    expected = decoded(first, drawn)
    stream = BytesIO()
    images = [Image.fromarray(pixels) for pixels in (drawn, drawn[::-1])]
    images[0].save(stream, "MPO", save_all=True, append_images=images[1:], quality=95)
    yield PhotoFile("pair.mpo", stream.getvalue(), expected)
    index = segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0\0\0\7\0\0\0\x040100\0\0\0\0")
    gain = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<rdf hdrgm:Version='1.0'/>")
    ultra = with_segments(first, gain, index)
    yield PhotoFile("ultra_hdr.jpg", ultra + second, expected)
    yield PhotoFile("ultra_hdr_broken_second.jpg", ultra + second[:200], expected)
    yield PhotoFile("two_pictures.jpg", first + second, expected)
    part = ultra[: len(ultra) * 4 // 5]
    yield refused("ultra_hdr_cut.jpg", part + second, TRUNCATED)
    yield refused("ultra_hdr_cut_and_closed.jpg", part + END + second, TRUNCATED, "unnoticed")
    yield refused("pair_cut.mpo", stream.getvalue()[: len(first) * 4 // 5], "truncated")


def _plain_last_rows() -> Iterator[PhotoFile]:
    drawn = picture(64, 48)
    for name, level in (("white", 255), ("black", 0), ("grey", 128)):
        painted = drawn.copy()
        painted[20:] = level
        other = encoded(painted[::-1])
        for kind in ("baseline", "progressive"):
            content = encoded(painted, progressive=kind == "progressive")
            expected = np.asarray(Image.open(BytesIO(content)).convert("RGB"))
            yield PhotoFile(f"last_rows_{name}_{kind}.jpg", content, expected)
            yield PhotoFile(f"last_rows_{name}_{kind}_pair.jpg", content + other, expected)
        cmyk = encoded(255 - np.dstack([painted, 255 + 0 * painted[..., 0]]), "CMYK")
        expected = np.asarray(Image.open(BytesIO(cmyk)).convert("RGB"))
        yield PhotoFile(f"last_rows_{name}_cmyk.jpg", cmyk, expected, tolerance=1)


def _damaged() -> Iterator[PhotoFile]:
    rng = np.random.default_rng(1)
    drawn = np.clip(picture(96, 128) + rng.integers(-30, 30, (96, 128, 3)), 0, 255).astype("uint8")
    kinds = {
        "baseline": encoded(drawn),
        "progressive": encoded(drawn, progressive=True),
        "grey": encoded(drawn[..., 0]),
        "cmyk": encoded(np.dstack([drawn, drawn[..., :1]]), "CMYK"),
        "restart": encoded(drawn, restart_marker_blocks=4),
    }
    for kind, whole in kinds.items():
        # Of the damage that libjpeg only warns of, TensorFlow's operator says nothing.
        for share in (0.5, 0.8, 0.98):
            place = int(len(whole) * share)
            place += whole[place - 1] == 0xFF
            yield refused(f"cut_{share}_{kind}.jpg", whole[:place], "truncated")
            yield refused(f"cut_{share}_closed_{kind}.jpg", whole[:place] + END, "picture data", "unnoticed")
        middle = len(whole) // 2
        zeros = whole[:middle] + bytes(64) + whole[middle + 64 :]
        yield refused(f"zeros_{kind}.jpg", zeros, CORRUPT, "unnoticed")
        yield refused(f"no_end_{kind}.jpg", whole[:-2], "truncated")
        marker = whole[:middle] + b"\xff\xe5\0\4ab" + whole[middle:]
        yield refused(f"marker_within_{kind}.jpg", marker, "picture data", "unnoticed")
    whole = kinds["baseline"]
    scan = whole.index(b"\xff\xda")
    ones = whole[:3000] + b"\xff\0" * 200 + whole[3400:]
    yield refused("bad_codes.jpg", ones, CORRUPT, "unnoticed")
    yield refused("header_only.jpg", whole[:scan], "damaged or cut short")
    yield refused("start_only.jpg", whole[:3], "damaged or cut short")
    yield refused("no_data.jpg", whole[: scan + 14], "truncated")
    # As in the pictures of a motion JPEG, the standard's own tables are meant.
    without_tables = whole.replace(b"\xff\xc4", b"\xff\xfe")
    yield PhotoFile("no_tables.jpg", without_tables, np.asarray(Image.open(BytesIO(whole))))
    long = whole.replace(b"\xff\xdb\0\x43", b"\xff\xdb\xff\xf0", 1)
    yield refused("segment_too_long.jpg", long, "damaged or cut short")
    zero_table = whole.replace(b"\xff\xdb\0\x43\0", b"\xff\xdb\0\x43\7", 1)
    yield refused("table_7.jpg", zero_table, "")
    # Behind odd values of the header, of which libjpeg warns first.
    data = scan + 14
    for name, content in {
        "version": whole.replace(b"JFIF\0\1\1", b"JFIF\0\7\7", 1),
        "scan": whole[: data - 3] + b"\0\0\0" + whole[data:],
        "adobe": with_segments(whole, adobe(7)),
        "bytes_between": whole[:20] + b"abc" + whole[20:],
    }.items():
        middle = content[: len(content) // 2] + bytes(64) + content[len(content) // 2 + 64 :]
        yield refused(f"zeros_behind_odd_{name}.jpg", middle, CORRUPT, "unnoticed")
        yield refused(f"cut_behind_odd_{name}.jpg", content[: len(content) // 2] + END, TRUNCATED, "unnoticed")
    progressive = kinds["progressive"]
    scans = [place for place in range(len(progressive)) if progressive.startswith(b"\xff\xda", place)]
    for number in (1, 3, len(scans) - 1):
        end = progressive.rindex(b"\xff\xc4", 0, scans[number])
        # Its tables may stand before the scan that is left out.
        end = end if end > scans[number - 1] else scans[number]
        content = progressive[:end] + END
        yield refused(f"scans_{number}_of_{len(scans)}.jpg", content, "progressive scans are missing", "unnoticed")
    lost = kinds["restart"].replace(b"\xff\xd3", b"\xff\xd5", 1)
    yield refused("restart_order.jpg", lost, CORRUPT, "unnoticed")


def _other_kinds() -> Iterator[PhotoFile]:
    levels = np.full((2, 2), 100)
    plain = Plain([Component(number, levels) for number in (1, 2, 3)], (2, 2), segments=JFIF)
    for name, frame in (
        ("lossless", 0xC3),
        ("hierarchical", 0xC5),
        ("arithmetic", 0xC9),
        ("arithmetic_progressive", 0xCA),
        ("arithmetic_lossless", 0xCB),
    ):
        content = replace(plain, frame=frame).encode()
        yield refused(f"{name}.jpg", content, "lossless, hierarchical or arithmetically coded")
    yield refused("bits_12.jpg", replace(plain, frame=0xC1, bits=12).encode(), "a JPEG of 12 bits isn't decoded")
    yield refused("two_components.jpg", replace(plain, components=plain.components[:2]).encode(), "damaged or cut")
    five = [Component(number, levels) for number in range(1, 6)]
    yield refused("five_components.jpg", replace(plain, components=five).encode(), "")
    yield refused("no_height.jpg", replace(plain, height=0).encode(), "")
    content = bytearray(plain.encode())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", 20_000, 20_000)
    yield refused("huge.jpg", bytes(content), "20,000 x 20,000 pixels, and at most 178 million")
