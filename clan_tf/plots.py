"""Pictures, drawn without a screen."""

import csv
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator

from clan_tf.files import replacing
from clan_tf.text import printable

_FALLBACK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei"),
    *("WenQuanYi Micro Hei", "IPAGothic", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Hebrew"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "Geeza Pro", "Segoe UI", "Noto Emoji", "Symbola", "Segoe UI Emoji"),
    *("GNU Unifont", "Unifont"),
)


PLAIN_TEXT: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}
"""Matplotlib's settings that keep `$` in a name from starting a formula; needed both to make and to draw a text."""


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG completely or not at all, its texts verbatim, in installed fonts that have their letters."""
    for text in figure.findobj(Text):
        text.set_fontfamily(_font_families())
        text.set_parse_math(False)
        text.set_usetex(False)
    with matplotlib.rc_context(PLAIN_TEXT), replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # no font here has it: a box is drawn
        # PNG's fastest compression: a training waits for its pictures of photos.
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight", pil_kwargs={"compress_level": 1})


@cache
def _font_families() -> list[str]:
    """Returns Matplotlib's own font, then the installed fonts for other scripts and emoji."""
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]


def frameless_grid(rows: int, columns: int, cell: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """Creates a figure of axes without frames, `(rows, columns)`; `cell` is the width and height of one in inches."""
    figure = Figure(figsize=(cell[0] * columns, cell[1] * rows))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    return figure, grid


def plot_curves(metrics_csv: Path, path: Path) -> None:
    """Plots losses and accuracies over the epochs of a `metrics.csv`."""
    with metrics_csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(11, 4.2))
    for axes, kind in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        draw_curves(axes, rows, kind)
        axes.set_title(f"{kind}: validation solid, train dashed")
    save_figure(figure, path)


def draw_curves(axes: Axes, rows: Sequence[Mapping[str, str]], kind: str) -> None:
    """Draws the `loss` or `accuracy` columns of a `metrics.csv`: train dashed, validation solid, one colour per branch.

    `loss` and `combined_accuracy`, which cover all branches, are black, so that a branch has one colour in both kinds.
    """
    epochs = [int(row["epoch"]) for row in rows]
    validated = [name for name in rows[0] if name.startswith("val_") and name.endswith(kind)]
    trained = [name for name in rows[0] if name.endswith(f"_{kind}") and not name.startswith("val_")]
    only_trained = [name for name in trained if f"val_{name}" not in rows[0]]
    colors = (f"C{index}" for index in range(len(validated) + len(only_trained)))
    for column in validated:
        name = column.removeprefix("val_")
        color = "black" if name in ("loss", "combined_accuracy") else next(colors)
        label = name.removesuffix(f"_{kind}").replace("_", " ")
        axes.plot(epochs, [float(row[column]) for row in rows], "-", color=color, label=label, marker=".")
        axes.plot(epochs, [float(row[name]) for row in rows], "--", color=color, alpha=0.5)
    for name in only_trained:
        label = name.removesuffix(f"_{kind}").replace("_", " ")
        axes.plot(epochs, [float(row[name]) for row in rows], "--", color=next(colors), alpha=0.5, label=label)
    axes.set(xlabel="epoch", ylabel=kind, xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def plot_range_test(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], chosen: float, path: Path
) -> None:
    """Plots the loss of each step over its learning rate, smoothed in bold, with the chosen rate as a line."""
    figure = Figure(figsize=(6, 4.2))
    axes = figure.subplots()
    axes.semilogx(rates, losses, color="C0", alpha=0.35, label="loss")
    axes.semilogx(rates, smoothed, color="C0", label="smoothed loss")
    axes.axvline(chosen, color="black", linestyle="--", label=f"chosen: {chosen:g}")
    # The last steps may have losses many times the others', and formulas such as 10^-3 aren't drawn.
    axes.set(xlabel="learning rate", ylabel="loss", ylim=(None, max(x for x in losses if x <= 2 * losses[0])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, place: f"{rate:g}"))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def plot_confusion(matrix: np.ndarray, class_names: Sequence[str], path: Path, as_shares: bool = False) -> None:
    """Plots a confusion matrix `(classes, classes)` of counts, shaded by the share of each true class's photos.

    With `as_shares` the shares are also written into it, instead of the counts.
    """
    classes = len(class_names)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(3 + 0.32 * classes, 24)
    figure = Figure(figsize=(side + 1, side))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    cell_points = 72 * 0.77 * side / classes
    fontsize = min(9, 0.7 * cell_points)
    names = [printable(name) for name in class_names]
    axes.set_xticks(range(classes), names, rotation=90, fontsize=fontsize)
    axes.set_yticks(range(classes), names, fontsize=fontsize)
    of = "shares of the true class" if as_shares else "photos"
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix ({of})")
    if classes <= 60:
        for row, column in np.argwhere(matrix > 0):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{shares[row, column]:.2f}" if as_shares else matrix[row, column]
            axes.text(column, row, text, ha="center", va="center", fontsize=fontsize, color=color)
    save_figure(figure, path)


def plot_labelled_photos(photos: Sequence[np.ndarray], labels: Sequence[str], path: Path, columns: int = 6) -> None:
    """Plots uint8 RGB photos in rows, each with its label above."""
    figure, axes = _sheet(-(-len(photos) // columns), columns, (1.9, 2.2))
    for place, (photo, label) in enumerate(zip(photos, labels, strict=True)):
        row, column = divmod(place, columns)
        axes.imshow(photo, extent=(column + 0.02, column + 0.98, row + 0.98, row + 0.15), aspect="auto")
        text = printable(label, keep="\n")
        axes.text(column + 0.5, row + 0.13, text, ha="center", va="bottom", fontsize=7)
    save_figure(figure, path)


def plot_photo_grid(photos: Mapping[str, Sequence[np.ndarray]], path: Path) -> None:
    """Plots a row of uint8 RGB photos for each class, with its name."""
    figure, axes = _sheet(len(photos), max(len(row) for row in photos.values()), (1.5, 1.5))
    for top, (name, row) in enumerate(photos.items()):
        for left, photo in enumerate(row):
            axes.imshow(photo, extent=(left + 0.02, left + 0.98, top + 0.98, top + 0.02), aspect="auto")
        axes.text(-0.1, top + 0.5, printable(name), ha="right", va="center", fontsize=9)
    save_figure(figure, path)


def _sheet(rows: int, columns: int, cell: tuple[float, float]) -> tuple[Figure, Axes]:
    """Creates a figure of one axes without a frame, whose unit is a cell, counted from the top left.

    One axes is drawn sooner than one for each photo.

    Args:
        rows: how many there are.
        columns: how many there are.
        cell: width and height of a cell in inches.
    """
    figure = Figure(figsize=(cell[0] * columns, cell[1] * rows))
    axes = figure.add_axes((0, 0, 1, 1), autoscale_on=False, xlim=(0, columns), ylim=(rows, 0))
    axes.set_axis_off()
    return figure, axes
