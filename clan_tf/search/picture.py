"""The trials of a search as lines across the searched keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from clan_tf.plots import save_figure
from clan_tf.search.directory import TrialResult
from clan_tf.search.space import Integer, Number, SearchConfig
from clan_tf.search.standing import shown_value

UNUSED = "(not used)"
"""Where a line passes a key whose conditions aren't met."""
SPREAD = 0.3
"""Lines at one value are spread over this share of the distance to the next, so that each can be followed."""


def plot_trials(ranked: Sequence[TrialResult], search: SearchConfig, path: Path) -> None:
    """Draws parallel coordinates: a line per trial, a vertical axis per searched key, and the objective on the right.

    Args:
        ranked: trials that didn't fail, from the best to the worst.
        search: what was searched.
        path: the PNG file to write.
    """
    keys = list(search.parameters)
    scores = np.array([result.mean for result in ranked])
    low, high = float(scores.min()), float(scores.max())
    margin = 0.05 * (high - low) or 0.01
    order = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
    offsets = order / max(1, len(ranked) - 1) - 0.5
    positions = np.column_stack(
        [
            *(_positions(key, ranked, search, offsets) for key in keys),
            (scores - low + margin) / (high - low + 2 * margin),
        ]
    )
    figure = Figure(figsize=(3.2 + 1.9 * len(keys), 5.5))
    axes = figure.subplots()
    colours = colormaps["viridis"](Normalize(low - margin, high + margin)(scores))
    for index in reversed(range(len(ranked))):
        is_best = index == 0
        colour = "crimson" if is_best else colours[index]
        axes.plot(positions[index], color=colour, linewidth=3 if is_best else 1.3, alpha=1 if is_best else 0.8)
    for column, key in enumerate(keys):
        labels = _labels(key, ranked, search)
        has_scale = isinstance(search.parameters[key], Integer | Number)
        _draw_axis(axes, column, _ticks(key, ranked, search), None if has_scale else SPREAD / len(labels))
    _draw_axis(axes, len(keys), [((s - low + margin) / (high - low + 2 * margin), f"{s:.4g}") for s in {low, high}])
    names = [f"{section}\n{name}" for section, _, name in (key.partition(".") for key in keys)]
    axes.set_xticks(range(len(keys) + 1), [*names, search.objective.replace("_", "\n", 1)], fontsize=9)
    axes.xaxis.tick_top()
    axes.set(xlim=(-0.3, len(keys) + 0.6), ylim=(-0.03, 1.03), yticks=[])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    title = f"{len(ranked)} trials; the best, {scores[0]:.4g}, is red; among the others, lighter is better"
    axes.set_title(title if search.direction == "max" else title.replace("lighter", "darker"), fontsize=10, y=-0.08)
    save_figure(figure, path)


def _positions(key: str, ranked: Sequence[TrialResult], search: SearchConfig, offsets: np.ndarray) -> np.ndarray:
    """Computes the heights 0…1 of the trials on the axis of a key, `(trials,)`."""
    parameter, labels = search.parameters[key], _labels(key, ranked, search)
    if not isinstance(parameter, Integer | Number):
        step = 1 / len(labels)
        middle = {label: (index + 0.5) * step for index, label in enumerate(labels)}
        return np.array([middle[_label(result, key)] for result in ranked]) + offsets * step * 2 * SPREAD
    scale = np.log if parameter.sampling == "log" else np.asarray
    low, high = float(scale(parameter.min)), float(scale(parameter.max))
    base = 0.1 if labels else 0.0
    return np.array(
        [
            base + (1 - base) * (float(scale(result.values[key])) - low) / (high - low) if key in result.values else 0
            for result in ranked
        ]
    )


def _ticks(key: str, ranked: Sequence[TrialResult], search: SearchConfig) -> list[tuple[float, str]]:
    parameter, labels = search.parameters[key], _labels(key, ranked, search)
    if not isinstance(parameter, Integer | Number):
        return [((index + 0.5) / len(labels), label) for index, label in enumerate(labels)]
    is_log = parameter.sampling == "log"
    spaced = np.geomspace if is_log else np.linspace
    values = spaced(float(parameter.min), float(parameter.max), 4)
    base = 0.1 if labels else 0.0
    heights = np.linspace(base, 1, 4)
    texts = [f"{value:.0f}" if isinstance(parameter, Integer) else f"{value:.2g}" for value in values]
    return [*([(0.0, UNUSED)] if labels else []), *zip(heights.tolist(), texts, strict=True)]


def _labels(key: str, ranked: Sequence[TrialResult], search: SearchConfig) -> list[str]:
    """Returns the labels of an axis without a scale; for one with a scale, only the label for unused keys, if any."""
    parameter = search.parameters[key]
    unused = [UNUSED] if any(key not in result.values for result in ranked) else []
    if isinstance(parameter, Integer | Number):
        return unused
    values: Sequence[Any] = getattr(parameter, "values", [False, True])
    return [*unused, *map(shown_value, values)]


def _label(result: TrialResult, key: str) -> str:
    return shown_value(result.values[key]) if key in result.values else UNUSED


def _draw_axis(axes: Any, column: int, ticks: Sequence[tuple[float, str]], half_width: float | None = None) -> None:
    """Draws an axis and its ticks; with `half_width`, a bar around each tick instead, where lines of one value pass."""
    if half_width is None:
        axes.axvline(column, color="0.6", linewidth=1, zorder=0)
    for height, text in ticks:
        if half_width is not None:
            axes.plot([column] * 2, [height - half_width, height + half_width], color="0.85", linewidth=7, zorder=0)
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
        axes.text(column + 0.05, height, text, fontsize=9, va="center", bbox=box, zorder=5)
