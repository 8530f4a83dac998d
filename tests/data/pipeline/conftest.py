"""Photos of many kinds in memory."""

import numpy as np
import pytest
from PIL import Image

from clan_tf.data import Photo
from clan_tf.data.checked_photos import CheckedPhotos, check_photos
from clan_tf.data.sources import Box
from helpers.pipeline import SIZES, encoded


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    """JPEGs with and without colour, CMYK and turned, and PNGs, of several sizes, two with boxes."""
    rng = np.random.default_rng(0)
    made = []
    kinds = [("JPEG", "RGB", 1), ("JPEG", "L", 1), ("JPEG", "CMYK", 1), ("JPEG", "RGB", 6), ("PNG", "RGB", 1)]
    for index, ((height, width), kind) in enumerate(zip(SIZES * 2, kinds + kinds[::-1], strict=True)):
        noise = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype="uint8")
        pixels = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
        box = Box(3, 2, -1, -5) if index in (4, 7) else None
        made.append(Photo(f"{index}", index % 4, encoded(pixels, *kind), box=box))
    return made


@pytest.fixture(scope="module")
def checked(photos: list[Photo]) -> CheckedPhotos:
    return check_photos(photos)
