"""Files in formats that aren't decoded."""

import struct
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

from helpers.photo_table.parts import PhotoFile, picture, refused


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
