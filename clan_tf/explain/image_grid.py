"""Images in rows and columns, each below its title, so that no text stands over an image."""

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clan_tf.text import printable

Cell = tuple[str, np.ndarray]
"""A title and an image, uint8 RGB `(height, width, 3)`."""
_LINE, _GAP = 0.15, 0.12
"""Height of a line of a title or the legend, and the gap between images, in inches."""
_HEADING_LINE = 0.2
_LETTERS = 14.5
"""How many letters of a title or the legend fit in an inch."""


class ImageGrid:
    """The layout of a figure: a heading, rows of images with their titles, and a legend, each with room of its own.

    Args:
        columns: how many images there are in a row, at most.
        image: width and height of the room for an image, in inches.
        heading: a line above all; none if empty.
        legend: a text below all, in as many lines as it needs; none if empty.
    """

    def __init__(self, columns: int, image: tuple[float, float], heading: str = "", legend: str = "") -> None:
        self.columns = columns
        self.image = image
        width = columns * (image[0] + _GAP)
        self._heading = wrap(
            printable(heading).replace(" %", "\N{NO-BREAK SPACE}%"), max(20, int(0.8 * _LETTERS * width))
        )
        self._legend = wrap(legend, max(20, int(_LETTERS * width)))

    def draw(self, rows: Sequence[Sequence[Cell | None]]) -> tuple[Figure, np.ndarray]:
        """Draws the images.

        Args:
            rows: the images, with `None` where a place stays empty.

        Returns:
            The figure, and its axes `(rows, columns)`; `None` where there is no image.
        """
        titles = [[_wrapped(cell[0], self.image[0]) if cell else [] for cell in row] for row in rows]
        heights = [self.image[1] + _LINE * max(map(len, row)) + _GAP for row in titles]
        width = self.columns * (self.image[0] + _GAP) + _GAP
        below = _LINE * len(self._legend) + _GAP
        height = _HEADING_LINE * len(self._heading) + sum(heights) + below
        figure = Figure(figsize=(width, height))
        axes = np.full((len(rows), self.columns), None)
        for row, cells in enumerate(rows):
            bottom = below + sum(heights[row + 1 :])
            for column, cell in enumerate(cells):
                if cell is not None:
                    left = _GAP + column * (self.image[0] + _GAP)
                    box = (left / width, bottom / height, self.image[0] / width, self.image[1] / height)
                    axes[row, column] = _show(figure, box, cell[1], "\n".join(titles[row][column]))
        figure.text(0.5, 1, "\n".join(self._heading), fontsize=11, ha="center", va="top")
        figure.text(_GAP / width, 0, "\n".join(self._legend), fontsize=8, va="bottom")
        return figure, axes


def _wrapped(title: str, width: float) -> list[str]:
    """Divides a title into lines that are no wider than its image."""
    return [part for line in title.splitlines() for part in wrap(line, max(8, int(_LETTERS * width)))]


def _show(figure: Figure, box: tuple[float, float, float, float], image: np.ndarray, title: str) -> Axes:
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.imshow(image)
    axes.set_title(title, fontsize=8, pad=3)
    return axes
