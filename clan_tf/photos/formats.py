"""Formats of photos, known by their first bytes: those that are decoded, and what to do with others."""

from clan_tf.photos.containers import JPEG_START, PNG_START

_STARTS = {JPEG_START: "JPEG", PNG_START: "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP"}
_OTHER_STARTS = {
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"\x00\x00\x01\x00": "ICO",
    b"%!PS": "EPS",
    **dict.fromkeys((b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n", b"P7\n"), "PNM"),
}
_BRANDS = {
    **{b"avif": "AVIF", b"avis": "AVIF"},
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
}
NOT_AN_IMAGE = "not an image"


def format_of(content: bytes) -> str | None:
    """Returns `JPEG`, `PNG`, `GIF`, `BMP` or `WebP` by the first bytes; `None` for what isn't decoded."""
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in _STARTS.items() if content.startswith(start)), None)


def why_not_decoded(content: bytes) -> str:
    """Explains why a file in none of the formats of `format_of` isn't decoded, and what to do if it is a photo."""
    if not content:
        return "the file is empty"
    name = _other_format(content)
    if name is None:
        return NOT_AN_IMAGE
    return f"the format {name} isn't decoded; convert it to JPEG or PNG, for example: magick PHOTO PHOTO.jpg"


def _other_format(content: bytes) -> str | None:
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12])
    return next((name for start, name in _OTHER_STARTS.items() if content.startswith(start)), None)
