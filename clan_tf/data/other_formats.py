"""Formats of photos that TensorFlow doesn't decode, known by their first bytes."""

_STARTS = {
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF"}


def other_format(content: bytes) -> str | None:
    """What to do with a photo in a format that isn't decoded, or `None` if it is nothing known."""
    name = _name(content)
    return name and f"the format {name} isn't decoded; convert it to JPEG or PNG, for example: magick PHOTO PHOTO.jpg"


def _name(content: bytes) -> str | None:
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12])
    return next((name for start, name in _STARTS.items() if content.startswith(start)), None)
