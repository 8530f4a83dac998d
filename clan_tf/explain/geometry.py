"""Where the square that a model sees lies in the photo, and where a map's cells lie in it."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from clan_tf.data.pipeline import View
from clan_tf.data.pipeline.resizing import full_lengths


class Window(NamedTuple):
    """The part of an upright photo that the model sees, in pixels of the photo; rarely whole ones."""

    top: float
    left: float
    height: float
    width: float

    def scaled(self, factor: float) -> "Window":
        """The same part of the photo resized by `factor`."""
        return Window(*(factor * value for value in self))

    def cell_at(self, x: int, y: int, rows: int, columns: int) -> tuple[int, int] | None:
        """Row and column of the cell that covers the pixel `x`, `y`; `None` if the model doesn't see the pixel."""
        row = int(np.floor((y + 0.5 - self.top) / self.height * rows))
        column = int(np.floor((x + 0.5 - self.left) / self.width * columns))
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None


def seen_window(height: int, width: int, view: View) -> Window:
    """What `evaluation_view` shows of a photo: of the resized photo, the centre square."""
    lengths = full_lengths(tf.constant(height), tf.constant(width), view.full_size, view.mode)
    full_height, full_width = map(int, lengths)
    top, left = (full_height - view.image_size) // 2, (full_width - view.image_size) // 2
    vertical, horizontal = height / full_height, width / full_width
    return Window(top * vertical, left * horizontal, view.image_size * vertical, view.image_size * horizontal)


def spread_over_photo(heat: np.ndarray, window: Window, height: int, width: int) -> np.ndarray:
    """A map `(rows, columns)` over the photo, bilinear between the cells' centres: float32 `(height, width)`.

    It is NaN where the model sees nothing.
    """
    top, bottom = _whole_pixels(window.top, window.height, height)
    left, right = _whole_pixels(window.left, window.width, width)
    resized = Image.fromarray(heat.astype("float32")).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    spread = np.full((height, width), np.nan, dtype="float32")
    spread[top:bottom, left:right] = np.asarray(resized)
    return spread


def _whole_pixels(start: float, length: float, limit: int) -> tuple[int, int]:
    """The pixels from the first to before the second, at least one, of `limit`."""
    first = min(round(start), limit - 1)
    return first, max(round(start + length), first + 1)
