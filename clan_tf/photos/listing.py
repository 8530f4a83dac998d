"""Which files are photos."""

from collections.abc import Sequence
from pathlib import Path

from clan_tf.errors import UserError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


def list_photos(paths: Sequence[str]) -> list[Path]:
    """The files given, and the photos in the folders given; a `UserError` where there is nothing."""
    photos: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES and p.is_file())
            if not found:
                raise UserError(f"{path}: has no photos ({', '.join(PHOTO_SUFFIXES)}).")
            photos += found
        else:
            photos.append(path)
    return photos
