"""The bytes of photo files."""

from pathlib import Path

from clan_tf.files import read_regular_file

PHOTO_BYTES = 2**28
"""How large a photo file may be: the largest JPEGs of cameras have a tenth of it."""


def read_photo_file(path: str | Path) -> bytes:
    """Reads the content of a photo file.

    Raises:
        OSError: if it can't be read, isn't a regular file (but a folder, a pipe, a socket or a device), or is larger
            than `PHOTO_BYTES`. `strerror` states the reason in words that can follow the path.
    """
    return read_regular_file(path, PHOTO_BYTES)
