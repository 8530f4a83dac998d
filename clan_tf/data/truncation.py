"""JPEGs that were cut and closed again, which decoders fill up without a word."""

import numpy as np
from PIL import Image

CUT_SHORT = "truncated, and closed with an end marker: its lowest rows hold no data"
_BLOCK = 16
_LEAST_BLOCKS = 24
_RESTART_INTERVAL = b"\xff\xdd\x00\x04"


def is_cut_short(image: Image.Image, content: bytes, pixels: np.ndarray) -> bool:
    """Whether a baseline JPEG's lowest rows are one colour although its data doesn't end as that of a flat area does.

    The data of a flat area repeats a short pattern for each block of 16 x 16 pixels; the data of a photo that was cut
    doesn't.

    Args:
        image: the opened photo.
        content: the encoded photo.
        pixels: uint8 RGB as stored, `(height, width, 3)`.
    """
    if image.format not in ("JPEG", "MPO") or "progressive" in image.info:
        return False
    last_color = pixels[-1, -1]
    # Nearly every photo is told by its lowest rows, in a few microseconds.
    if not (pixels[-_BLOCK:] == last_color).all() or _RESTART_INTERVAL in content:
        return False
    is_last_color = (pixels[:-257:-1] == last_color).all(axis=(1, 2))
    flat_rows = len(is_last_color) if is_last_color.all() else int(np.argmin(is_last_color))
    flat_blocks = flat_rows // _BLOCK * (pixels.shape[1] // _BLOCK)
    tail = content[: content.rfind(b"\xff\xd9")][-24:]
    return flat_blocks >= _LEAST_BLOCKS and len(set(tail)) > 14
