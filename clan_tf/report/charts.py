"""The report's charts, as SVG."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import StringIO

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from clan_tf.evaluation import Bin, RiskPoint
from clan_tf.plots import PLAIN_TEXT, draw_curves
from clan_tf.text import printable

_STYLE = PLAIN_TEXT | {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "clan-tf", "font.size": 9}
_RIGHT, _WRONG = "#1b6b57", "#b3261e"


def curves_chart(epochs: Sequence[Mapping[str, str]], kind: str, best_epoch: int | None) -> str:
    """Draws losses or accuracies over the epochs, with the best epoch marked."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        draw_curves(axes, epochs, kind)
        if best_epoch:
            axes.axvline(best_epoch, color="#667", linewidth=1, linestyle=":")

    return _svg(draw, (4.8, 3.4))


def reliability_chart(bins: Sequence[Bin]) -> str:
    """Draws accuracy by confidence, with the diagonal of perfect calibration; below, the number of photos."""

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        middles = [(b.low + b.high) / 2 for b in bins]
        width = bins[0].high - bins[0].low
        above.bar(middles, [b.accuracy for b in bins], width * 0.92, color="#5b8fd6", label="accuracy")
        above.plot([0, 1], [0, 1], "--", color="#444", linewidth=1, label="perfectly calibrated")
        above.plot([b.confidence for b in bins], [b.accuracy for b in bins], "o", color="#12305c", markersize=3)
        above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        above.legend(fontsize=8, loc="upper left")
        below.bar(middles, [b.photos for b in bins], width * 0.92, color="#9aa7b8")
        below.set(xlabel="confidence", ylabel="photos")

    return _svg(draw, (4.8, 4.2))


def risk_chart(curve: Sequence[RiskPoint]) -> str:
    """Draws the share of wrong answers over the share of photos that are answered, the most confident first."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        answered, errors = [point.answered.value for point in curve], [point.error.value for point in curve]
        axes.plot(100 * np.array(answered), 100 * np.array(errors), color="#12305c", linewidth=1.5)
        axes.set(xlabel="photos answered, %", ylabel="wrong answers, %", xlim=(0, 100), ylim=(0, None))

    return _svg(draw, (4.8, 3.2))


def confusion_chart(matrix: np.ndarray, names: Sequence[str], cell: int) -> dict[str, str | int]:
    """Draws a confusion matrix as three SVG images, so that the names stay in view while the cells scroll.

    Args:
        matrix: counts `(classes, classes)`, rows are true classes.
        cell: side of a cell in pixels.

    Returns:
        `cells`, `rows` and `columns`, the side of the cells and the length of the names in pixels.
    """
    shown = [short(name) for name in names]
    length = 12 + round(6.6 * max(map(len, shown)))
    side = cell * len(names)
    middles = [round(cell * (index + 0.5), 1) for index in range(len(names))]
    rows = [
        f'<text x="{length - 6}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
        for name, y in zip(shown, middles, strict=True)
    ]
    columns = [
        f'<text transform="translate({x + 4},{length - 6}) rotate(-90)">{escape(name)}</text>'
        for name, x in zip(shown, middles, strict=True)
    ]
    return {
        "cells": _plain_svg(side, side, [*_grid(len(names), cell), *_cells(matrix, names, cell, with_counts=True)]),
        "rows": _plain_svg(length, side, rows),
        "columns": _plain_svg(side, length, columns),
        "side": side,
        "length": length,
    }


def confusion_overview(matrix: np.ndarray, names: Sequence[str]) -> str:
    """Draws a large confusion matrix without names; each cell has a tooltip."""
    side = len(names)
    body = [f'<rect width="{side}" height="{side}" fill="#f4f6f9"/>', *_cells(matrix, names, 1, with_counts=False)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" aria-hidden="true">{"".join(body)}</svg>'
    )


def short(name: str, most: int = 30) -> str:
    """Shortens a class name to `most` characters, without a leading number such as `001.` and with spaces."""
    head, dot, tail = printable(name).partition(".")
    text = (tail if dot and head.isdigit() and tail else printable(name)).replace("_", " ")
    return text if len(text) <= most else text[: most - 1] + "…"


def _cells(matrix: np.ndarray, names: Sequence[str], cell: int, with_counts: bool) -> list[str]:
    totals = np.maximum(matrix.sum(axis=1), 1)
    palest = 0.15 if with_counts else 0.5
    parts = []
    for row, column in np.argwhere(matrix):
        count, share = int(matrix[row, column]), float(matrix[row, column] / totals[row])
        color = _RIGHT if row == column else _WRONG
        what = f"{names[row]}: {count} of {totals[row]} photos taken for {names[column]}"
        parts.append(
            f'<rect x="{column * cell}" y="{row * cell}" width="{cell}" height="{cell}" fill="{color}" '
            f'fill-opacity="{palest + (1 - palest) * share:.2f}"><title>{escape(printable(what))}</title></rect>'
        )
        if with_counts:
            ink = "#fff" if share > 0.45 else "#111"
            parts.append(
                f'<text x="{(column + 0.5) * cell}" y="{(row + 0.5) * cell + 3.5}" fill="{ink}" '
                f'text-anchor="middle">{count}</text>'
            )
    return parts


def _grid(classes: int, cell: int) -> list[str]:
    side = classes * cell
    path = "".join(f"M0 {i * cell}H{side}M{i * cell} 0V{side}" for i in range(classes + 1))
    return [f'<path d="{path}" stroke="#e4e8ee" fill="none"/>']


def _plain_svg(width: int, height: int, body: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" aria-hidden="true">'
        f"{''.join(body)}</svg>"
    )


def _svg(draw: Callable[[Figure], None], size: tuple[float, float]) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
