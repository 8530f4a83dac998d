"""Pictures of classes with any names; warnings are errors in these tests."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager
from matplotlib.lines import Line2D
from matplotlib.text import Text

from clan_tf import plots
from clan_tf.plots import draw_curves, plot_confusion, plot_labelled_photos, plot_photo_grid

NAMES = ("白鷺 鸟", "طائر أزرق", "птица", "🐦 bird", "नीलकंठ")


def draw_everything(folder: Path) -> None:
    """Every picture that holds names of classes."""
    photo = np.zeros((8, 8, 3), "uint8")
    plot_confusion(np.eye(5, dtype=int), NAMES, folder / "confusion.png")
    plot_labelled_photos([photo] * 5, NAMES, folder / "labelled.png")
    plot_photo_grid({name: [photo] for name in NAMES}, folder / "grid.png")
    assert len(list(folder.glob("*.png"))) == 3


@pytest.fixture
def unfiltered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn without the filter that hides letters which no font has."""
    add = warnings.filterwarnings

    def add_others(action: str, message: str = "", *arguments: Any, **more: Any) -> None:
        if "Glyph" not in message:
            add(action, message, *arguments, **more)

    monkeypatch.setattr(warnings, "filterwarnings", add_others)


def font_with(letters: str, name: str, path: Path) -> FontEntry:
    """A font of squares."""
    builder, pen = FontBuilder(1000), TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyphs = [".notdef", "square"]
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(letter): "square" for letter in letters})
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return FontEntry(fname=str(path), name=name)


def test_letters_come_from_the_fonts_of_this_machine_that_have_them(
    unfiltered: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font = font_with("".join(NAMES), "GNU Unifont", tmp_path / "squares.ttf")
    monkeypatch.setattr(fontManager, "ttflist", [*fontManager.ttflist, font])
    monkeypatch.setattr(plots, "_font_families", plots._font_families.__wrapped__)
    draw_everything(tmp_path)


def test_letters_that_no_font_has_are_drawn_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_font_families", lambda: ["DejaVu Sans"])
    draw_everything(tmp_path)


def test_without_the_filter_there_would_be_a_warning(
    unfiltered: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "_font_families", lambda: ["DejaVu Sans"])
    with pytest.raises(UserWarning, match="Glyph .* missing from"):
        draw_everything(tmp_path)


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


def test_a_loss_that_validation_lacks_is_drawn_dashed_in_a_colour_of_its_own() -> None:
    row = {"epoch": "1", "loss": "2", "top_loss": "1", "pairs_loss": "3", "val_loss": "1", "val_top_loss": "1"}
    axes = Figure().subplots()
    draw_curves(axes, [row, {**row, "epoch": "2"}], "loss")
    lines = {text.get_text(): line for text, line in _legend(axes)}
    assert list(lines) == ["loss", "top", "pairs"] and lines["pairs"].get_linestyle() == "--"
    assert len({line.get_color() for line in lines.values()}) == 3


def _legend(axes: Axes) -> list[tuple[Text, Line2D]]:
    legend = axes.get_legend()
    return list(zip(legend.get_texts(), legend.get_lines(), strict=True))
