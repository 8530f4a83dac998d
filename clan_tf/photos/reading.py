"""Photo files to pixels."""

from pathlib import Path

import numpy as np

from clan_tf.photos.decoding import PhotoError, decode
from clan_tf.photos.files import read_photo_file


def read_photo(path: str | Path) -> np.ndarray:
    """Reads a photo file's pixels, upright, uint8 RGB `(height, width, 3)`.

    Raises:
        PhotoError: if it can't be read, with the reason.
    """
    try:
        content = read_photo_file(path)
    except OSError as error:
        raise PhotoError(error.strerror or str(error)) from error
    return decode(content).upright
