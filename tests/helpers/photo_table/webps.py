"""WebPs of the conformance table: Pillow's, put together anew."""

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from helpers.photo_table.parts import CUT, EXIF_CASES, XMP, PhotoFile, on_canvas, picture, refused, stored_for, tiff


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
