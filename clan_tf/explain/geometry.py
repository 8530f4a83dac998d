"""Where the square that a model sees lies in the photo, and where a map's cells lie in that square."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from clan_tf.data.pipeline import View
from clan_tf.data.pipeline.resizing import full_lengths


class Window(NamedTuple):
    """The part of an upright photo that the model sees, in (fractional) pixels of the photo."""

    top: float
    left: float
    height: float
    width: float

    def scaled(self, factor: float) -> "Window":
        """Returns the same part of the photo resized by `factor`."""
        return Window(*(factor * value for value in self))

    def cell_at(self, x: int, y: int, rows: int, columns: int) -> tuple[int, int] | None:
        """Returns row and column of the cell that covers the pixel `x`, `y`; `None` if the model doesn't see it."""
        row = int(np.floor((y + 0.5 - self.top) / self.height * rows))
        column = int(np.floor((x + 0.5 - self.left) / self.width * columns))
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None


def seen_window(height: int, width: int, view: View) -> Window:
    """Returns the part of a photo that `evaluation_view` shows: the centre square of the resized photo."""
    lengths = full_lengths(tf.constant(height), tf.constant(width), view.full_size, view.mode)
    full_height, full_width = map(int, lengths)
    top, left = (full_height - view.image_size) // 2, (full_width - view.image_size) // 2
    vertical, horizontal = height / full_height, width / full_width
    return Window(top * vertical, left * horizontal, view.image_size * vertical, view.image_size * horizontal)


def spread_over_photo(heat: np.ndarray, window: Window, height: int, width: int) -> np.ndarray:
    """Spreads a map `(rows, columns)` over the photo, bilinear between cell centres: float32 `(height, width)`.

    The result is NaN outside the part that the model sees.
    """
    top, bottom = _whole_pixels(window.top, window.height, height)
    left, right = _whole_pixels(window.left, window.width, width)
    resized = Image.fromarray(heat.astype("float32")).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    spread = np.full((height, width), np.nan, dtype="float32")
    spread[top:bottom, left:right] = np.asarray(resized)
    return spread


def _whole_pixels(start: float, length: float, limit: int) -> tuple[int, int]:
    """Returns the range of whole pixels, start included and end excluded, at least one, within `limit`."""
    first = min(round(start), limit - 1)
    return first, max(round(start + length), first + 1)
