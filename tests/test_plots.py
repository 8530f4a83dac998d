"""Pictures of classes with any names; warnings are errors in these tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from clan_tf.plots import plot_confusion, plot_labelled_photos, plot_photo_grid

NAMES = ("白鷺 鸟", "طائر أزرق", "птица", "🐦 bird", "नीलकंठ")


def test_names_in_any_script_are_drawn_without_warnings(tmp_path: Path) -> None:
    photo = np.zeros((8, 8, 3), "uint8")
    plot_confusion(np.eye(5, dtype=int), NAMES, tmp_path / "confusion.png")
    plot_labelled_photos([photo] * 5, NAMES, tmp_path / "labelled.png")
    plot_photo_grid({name: [photo] for name in NAMES}, tmp_path / "grid.png")
    for name in ("confusion", "labelled", "grid"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 100
