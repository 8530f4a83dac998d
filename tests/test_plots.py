"""Pictures of classes with any names; warnings are errors in these tests."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from clan_tf.plots import draw_curves, plot_confusion, plot_labelled_photos, plot_photo_grid

NAMES = ("白鷺 鸟", "طائر أزرق", "птица", "🐦 bird", "नीलकंठ")


def test_names_in_any_script_are_drawn_without_warnings(tmp_path: Path) -> None:
    photo = np.zeros((8, 8, 3), "uint8")
    plot_confusion(np.eye(5, dtype=int), NAMES, tmp_path / "confusion.png")
    plot_labelled_photos([photo] * 5, NAMES, tmp_path / "labelled.png")
    plot_photo_grid({name: [photo] for name in NAMES}, tmp_path / "grid.png")
    for name in ("confusion", "labelled", "grid"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 100


def test_a_branch_has_one_colour_in_losses_and_accuracies() -> None:
    names = ["loss", "mid_1_loss", "top_loss", "mid_1_accuracy", "top_accuracy", "combined_accuracy"]
    row = {"epoch": "1", **{prefix + name: "0.5" for prefix in ("", "val_") for name in names}}
    colors = {}
    for kind in ("loss", "accuracy"):
        axes = Figure().subplots()
        draw_curves(axes, [row], kind)
        colors[kind] = {text.get_text(): line.get_color() for text, line in _legend(axes)}
    assert colors["loss"].pop("loss") == colors["accuracy"].pop("combined") == "black"
    assert colors["loss"] == colors["accuracy"] and len(set(colors["loss"].values())) == 2


def _legend(axes: Axes) -> list[tuple[Text, Line2D]]:
    legend = axes.get_legend()
    return list(zip(legend.get_texts(), legend.get_lines(), strict=True))
