"""Formats of photos, known by their first bytes: those that TensorFlow doesn't decode, and damaged ones."""

_STARTS = {
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF"}
_ANIMATION = 2
"""The bit for it in the flags of an extended WebP, at byte 20."""
_DECODED_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}


def other_format(content: bytes) -> str | None:
    """What to do with a photo in a format that isn't decoded, or `None` if it is nothing known."""
    if _is_webp(content) and content[12:16] == b"VP8X" and content[20:21] and content[20] & _ANIMATION:
        return "an animated WebP isn't decoded; convert its first frame, for example: magick 'PHOTO[0]' PHOTO.jpg"
    name = _name(content)
    return name and f"the format {name} isn't decoded; convert it to JPEG or PNG, for example: magick PHOTO PHOTO.jpg"


def damaged_format(content: bytes) -> str | None:
    """What a photo that can't be read is by its first bytes, in a format that is decoded, or `None`."""
    names = [name for start, name in _DECODED_STARTS.items() if content.startswith(start)]
    names += ["WebP"] if _is_webp(content) else []
    return f"damaged or cut short: it begins as a {names[0]} and can't be read" if names else None


def _is_webp(content: bytes) -> bool:
    return content.startswith(b"RIFF") and content[8:12] == b"WEBP"


def _name(content: bytes) -> str | None:
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12])
    return next((name for start, name in _STARTS.items() if content.startswith(start)), None)
