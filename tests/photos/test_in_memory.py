"""Images that Pillow opened have the pixels that this project reads from their files."""

from pathlib import PurePath

import numpy as np
import pytest
from PIL import Image

from clan_tf.photos import PhotoError, rgb_in_memory
from helpers.reading import Table

EXCEPTIONS = {
    # Pillow gives the last EXIF chunk of a PNG, and none of a WebP that doesn't announce it.
    *("exif_twice", "exif_before_and_behind", "exif_unannounced"),
    # Pillow doesn't say where a frame ends that is smaller than its canvas.
    *("small_frame", "small_frame_at_corner", "small_frame_transparent", "small_frame_below", "frame_beyond_canvas"),
    "animated_small_first",
    # Pillow reads the second frame to know that it is there.
    "animated_broken_second",
}


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged EXIF data and large photos
def test_an_opened_image_has_the_pixels_of_its_file(table: Table) -> None:
    wrong, compared = set(), 0
    for row in table.good:
        try:
            with Image.open(table.folder / row.name) as image:
                pixels = rgb_in_memory(image)
        except PhotoError:
            pixels = np.empty(0)
        except (OSError, ValueError):  # of `Image.open`, which is the caller's
            continue
        compared += 1
        if not np.array_equal(pixels, table.pixels[row.name]):
            wrong.add(PurePath(row.name).stem.split("_", 1)[1])
    assert wrong == EXCEPTIONS and compared > 390
