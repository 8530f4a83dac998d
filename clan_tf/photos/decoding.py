"""Encoded photos to pixels: one rule for training, evaluation, prediction, explanation, checks and exported files.

A photo's content decides its format, never its name. Its pixels are those that a browser or photo viewer shows,
except for colour management and blending: colour profiles and gamma are not applied, and transparency is dropped, so
that a transparent pixel has the colour that is stored for it.

| format | rule |
|---|---|
| JPEG | 8 bits, baseline or progressive; grey, YCbCr, RGB, CMYK and YCCK. CMYK is inverted only if Adobe's marker says who wrote it. Of several pictures (MPO, Ultra HDR) the first. |
| PNG | all colour types and depths; of 16 bits the upper 8. Checksums of auxiliary data don't matter. Of an animation the default picture. |
| GIF | the first frame on the whole canvas, which is white elsewhere, and grows if the frame is larger. |
| BMP | palettes, run lengths, 16 bits and colour masks as Pillow reads them. |
| WebP | lossy and lossless; of an animation the first frame, as of a GIF. |

A photo is refused, with the same sentence everywhere, if it is damaged or cut, in another format, or of more than
`MAX_PIXELS`. TensorFlow's operators give the same pixels for most files; `same_in_graph` marks the exceptions. A table
of files in the tests compares all readers.
"""  # noqa: E501

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from clan_tf.photos.containers import (
    PNG_START,
    Part,
    gif_first_frame,
    gif_frames,
    gif_start,
    is_animated_webp,
    is_critical,
    png_chunks,
    webp_canvas,
    webp_first_frame,
)
from clan_tf.photos.formats import format_of, why_not_decoded
from clan_tf.photos.jpeg import essential_jpeg, verdict
from clan_tf.photos.orientation import orientation_of, upright
from clan_tf.photos.rgb import rgb_of_image, rgb_of_ink

MAX_PIXELS = 178_000_000
"""Pillow can't open a WebP of 179 million pixels."""
_PNG_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
"""All critical chunks that exist."""
_PNG_PALETTE = 3
"""The colour type of indices."""


class PhotoError(ValueError):
    """A photo that can't be decoded; the text is the reason, for a person to read."""


@dataclass(frozen=True)
class PhotoFacts:
    """What an encoded photo is.

    Attributes:
        format: `JPEG`, `PNG`, `GIF`, `BMP` or `WebP`.
        mode: how pixels are stored, by Pillow's names: `RGB`, `L` (grey), `CMYK`, `P` (palette) …
        height: rows of the photo as stored.
        width: columns of the photo as stored.
        orientation: the EXIF orientation, 1 (upright) to 8.
        frames: how many pictures an animation has; 1 for all else.
        is_deep: whether colours have 16 bits.
        same_in_graph: whether TensorFlow's operators give the same pixels, without a warning on standard error. Known
            from the header only for JPEGs; for other formats it means that they may.
    """

    format: str
    mode: str
    height: int
    width: int
    orientation: int
    frames: int = 1
    is_deep: bool = False
    same_in_graph: bool = False


@dataclass(frozen=True)
class Picture:
    """A decoded photo.

    Attributes:
        facts: what it is.
        stored: its pixels as stored, uint8 RGB `(height, width, 3)`.
    """

    facts: PhotoFacts
    stored: np.ndarray

    @property
    def upright(self) -> np.ndarray:
        """Its pixels turned upright, uint8 RGB."""
        return upright(self.stored, self.facts.orientation)


def decode(content: bytes) -> Picture:
    """Decodes a photo to its facts and pixels.

    Raises:
        PhotoError: if it can't be decoded, or isn't whole.
    """
    opened = _open(content)
    opened.check()
    return Picture(opened.facts, opened.pixels())


def examine(content: bytes) -> PhotoFacts:
    """Returns an encoded photo's facts after checking that it can be decoded; for a JPEG in a third of the time.

    Raises:
        PhotoError: as `decode`.
    """
    opened = _open(content)
    opened.check()
    if not (opened.facts.format == "JPEG" and opened.facts.same_in_graph):
        opened.pixels()
    return opened.facts


@dataclass(frozen=True)
class _Opened:
    """A photo whose header has been read: `check` finds damage that `pixels` wouldn't notice."""

    facts: PhotoFacts
    check: Callable[[], None]
    pixels: Callable[[], np.ndarray]


def _open(content: bytes) -> _Opened:
    name = format_of(content)
    if name is None:
        raise PhotoError(why_not_decoded(content))
    try:
        return _OPENERS[name](content)
    except PhotoError:
        raise
    # For damaged headers Pillow's parsers raise struct.error, EOFError, KeyError, SyntaxError and others.
    except Exception as error:
        raise damaged(name, error) from error


def _open_jpeg(content: bytes) -> _Opened:
    jpeg = essential_jpeg(content)
    if jpeg.why_not_decoded:
        raise PhotoError(jpeg.why_not_decoded)
    image = JpegImagePlugin.JpegImageFile(BytesIO(jpeg.content))
    require_size(*image.size)
    damage, is_plain = verdict(jpeg, image.mode)
    facts = PhotoFacts(
        "JPEG",
        image.mode,
        image.height,
        image.width,
        orientation_of(content),
        same_in_graph=is_plain and jpeg.is_tidy and image.mode != "CMYK",
    )

    def check() -> None:
        if damage:
            raise PhotoError(damage)

    def convert(image: Image.Image) -> np.ndarray:
        return rgb_of_ink(np.asarray(image), jpeg.has_adobe) if image.mode == "CMYK" else rgb_of_image(image)

    return _Opened(facts, check, lambda: _load("JPEG", image, convert))


def _open_png(content: bytes) -> _Opened:
    chunks = list(png_chunks(content))
    _require_known_chunks(content, chunks)
    parts = (content[chunk.whole_start : chunk.whole_end] for chunk in chunks if is_critical(chunk.name))
    image = PngImagePlugin.PngImageFile(BytesIO(PNG_START + b"".join(parts)))
    require_size(*image.size)
    animation = next((chunk for chunk in chunks if chunk.name == b"acTL"), None)
    frames = int.from_bytes(content[animation.start : animation.start + 4]) if animation else 1
    facts = PhotoFacts(
        "PNG",
        image.mode,
        image.height,
        image.width,
        orientation_of(content),
        frames=max(1, frames),
        is_deep=content[chunks[0].start + 8] == 16,
        same_in_graph=True,
    )
    return _Opened(facts, _nothing, lambda: _load("PNG", image, rgb_of_image))


def _require_known_chunks(content: bytes, chunks: Sequence[Part]) -> None:
    """Refuses what browsers do: Pillow skips unknown critical chunks, and takes indices without a palette for grey."""
    needed = [chunk.name for chunk in chunks if is_critical(chunk.name)]
    if unknown := set(needed) - _PNG_CHUNKS:
        raise ValueError(f"unknown critical data: {', '.join(map(repr, sorted(unknown)))}")
    if content[chunks[0].start + 9] == _PNG_PALETTE and b"PLTE" not in needed:
        raise ValueError("its palette is missing")


def _open_webp(content: bytes) -> _Opened:
    require_size(*(webp_canvas(content) or (0, 0)))
    image = WebPImagePlugin.WebPImageFile(BytesIO(content))
    mode, is_animated = image.mode, is_animated_webp(content)
    frame = webp_first_frame(content) if is_animated else None
    facts = PhotoFacts(
        "WebP",
        mode,
        image.height,
        image.width,
        orientation_of(content),
        frames=getattr(image, "n_frames", 1),
        same_in_graph=mode == "RGB" and not is_animated,
    )

    def place(image: Image.Image) -> np.ndarray:
        return _on_white(rgb_of_image(image), *frame) if frame else rgb_of_image(image)

    return _Opened(facts, _nothing, lambda: _load("WebP", image, place))


def _open_gif(content: bytes) -> _Opened:
    frame = gif_first_frame(content)
    require_size(*frame.room)
    # Without what precedes the frame: Pillow interprets extensions that aren't wanted, and warns of large ones.
    head = content[:6] + struct.pack("<HH", *frame.room) + content[10 : gif_start(content)]
    image = GifImagePlugin.GifImageFile(BytesIO(head + content[frame.place :]))
    frames = sum(1 for _ in gif_frames(content))
    facts = PhotoFacts("GIF", image.mode, image.height, image.width, 1, frames=frames)

    def place(image: Image.Image) -> np.ndarray:
        return _on_white(rgb_of_image(image), frame.left, frame.top, *frame.size)

    return _Opened(facts, _nothing, lambda: _load("GIF", image, place))


def _on_white(pixels: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Returns some of the pixels, and white elsewhere."""
    part = slice(top, top + height), slice(left, left + width)
    canvas = np.full_like(pixels, 255)
    canvas[part] = pixels[part]
    return canvas


def _open_bmp(content: bytes) -> _Opened:
    image = BmpImagePlugin.BmpImageFile(BytesIO(content))
    require_size(*image.size)
    facts = PhotoFacts("BMP", image.mode, image.height, image.width, 1)
    return _Opened(facts, _nothing, lambda: _load("BMP", image, rgb_of_image))


_OPENERS: dict[str, Callable[[bytes], _Opened]] = {
    "JPEG": _open_jpeg,
    "PNG": _open_png,
    "GIF": _open_gif,
    "BMP": _open_bmp,
    "WebP": _open_webp,
}


def _nothing() -> None:
    """Checks nothing: in formats other than JPEG, decoding itself notices all detectable damage."""


def require_size(width: int, height: int) -> None:
    """Raises a `PhotoError` for a photo of more pixels than are decoded."""
    if width * height > MAX_PIXELS:
        raise PhotoError(
            f"it has {width:,} x {height:,} pixels, and at most {MAX_PIXELS / 1e6:.0f} million are "
            "decoded; scale it down, for example: magick PHOTO -resize 50% PHOTO.jpg"
        )


def _load(name: str, image: Image.Image, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    try:
        image.load()
        return np.ascontiguousarray(convert(image))
    except Exception as error:
        raise damaged(name, error) from error


def damaged(name: str, error: Exception) -> PhotoError:
    """Makes the error of a photo whose format is known and whose data can't be read."""
    return PhotoError(f"damaged or cut short: it begins as a {name} and can't be read ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
