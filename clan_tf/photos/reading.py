"""Photo files to pixels."""

from pathlib import Path

import numpy as np

from clan_tf.photos.decoding import PhotoError, decode
from clan_tf.photos.files import read_photo_file


def read_photo(path: str | Path) -> np.ndarray | str:
    """A photo file's pixels, upright, uint8 RGB `(height, width, 3)`; or why it can't be read."""
    try:
        return decode(read_photo_file(path)).upright
    except OSError as error:
        return error.strerror or str(error)
    except PhotoError as error:
        return str(error)
