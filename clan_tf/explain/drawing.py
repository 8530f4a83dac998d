"""Heat maps over photos, sheets of one photo and contact sheets of many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from clan_tf.explain.geometry import spread_over_photo
from clan_tf.explain.image_grid import Cell, ImageGrid
from clan_tf.explain.maps import Explanation
from clan_tf.plots import PLAIN_TEXT, save_figure
from clan_tf.text import printable

MOST_PIXELS = 640
"""Longest side of a photo in a picture; the arrays don't depend on it."""
NEARLY_SHUT = 0.05
"""Spatial attention that is nowhere stronger passes on almost nothing of the top-level map."""
_LEGEND = (
    "Grad-CAM: grey is no evidence, yellow the most within each map; colours can't be compared between maps, but the "
    "largest values in the titles of one branch can. The model doesn't see anything outside the dashed frame."
)
_CONTACT_LEGEND = (
    "Right of each photo is Grad-CAM, the evidence for the class, averaged over the branches: grey is none, yellow the "
    "most within the photo; colours can't be compared between photos. The model doesn't see what is washed out."
)


@dataclass(frozen=True)
class Picture:
    """A photo to draw on.

    Attributes:
        pixels: upright, uint8 RGB, at most `MOST_PIXELS` on the longer side.
        scale: pixels of the picture per pixel of the photo.
        explanation: the maps to draw; their window is in pixels of the photo.
    """

    pixels: np.ndarray
    scale: float
    explanation: Explanation

    @classmethod
    def of(cls, photo: np.ndarray, explanation: Explanation, most: int = MOST_PIXELS) -> "Picture":
        """Makes a picture of a photo, reduced to at most `most` pixels on the longer side."""
        scale = min(1.0, most / max(photo.shape[:2]))
        size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
        pixels = photo if scale == 1.0 else np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
        return cls(pixels, scale, explanation)

    def with_evidence(self, heat: np.ndarray, brightest: float | None = None) -> np.ndarray:
        """Draws a map of values from 0 up over the grey photo, warmer for higher values; uint8 RGB.

        Args:
            heat: the map.
            brightest: the value of the warmest colour; the map's largest if `None`.
        """
        brightest = float(heat.max()) if brightest is None else brightest
        return self._blend(heat / max(brightest, 1e-12), "inferno", lambda spread: 0.7 * spread)

    def with_attention(self, heat: np.ndarray) -> np.ndarray:
        """Draws a map over the grey photo, between its own smallest (dark) and largest (bright) value."""
        span = max(float(np.ptp(heat)), 1e-12)
        return self._blend((heat - heat.min()) / span, "viridis", lambda spread: np.full_like(spread, 0.6))

    def with_signed(self, heat: np.ndarray) -> np.ndarray:
        """Draws a signed map over the grey photo: red above 0, blue below."""
        values = 0.5 + 0.5 * heat / max(float(np.abs(heat).max()), 1e-12)
        return self._blend(values, "RdBu_r", lambda spread: 0.75 * np.abs(2 * spread - 1))

    def _blend(self, values: np.ndarray, colors: str, opacity_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Blends colours over the grey photo; the part that the model doesn't see is washed out."""
        window = self.explanation.window.scaled(self.scale)
        spread = spread_over_photo(values, window, *self.pixels.shape[:2]).clip(0, 1)
        unseen = np.isnan(spread)
        spread = np.nan_to_num(spread)
        opacity = opacity_of(spread)[..., None]
        # On a grey photo all colours are the map's.
        grey = self.pixels.mean(axis=-1, keepdims=True)
        blended = (1 - opacity) * grey + opacity * 255 * matplotlib.colormaps[colors](spread)[..., :3]
        return np.where(unseen[..., None], 0.35 * grey + 160, blended).clip(0, 255).astype("uint8")


@matplotlib.rc_context(PLAIN_TEXT)
def draw_sheet(picture: Picture, heading: str, at: tuple[int, int] | None, path: Path) -> None:
    """Writes a PNG of one photo: the photo, attention and relation maps above, Grad-CAM by branch and stage below.

    A single map of Grad-CAM stands in the first row, too.
    """
    explanation = picture.explanation
    first_row: list[Cell | None] = [("photo", picture.pixels)]
    for name, heat in explanation.attention.items():
        first_row.append((attention_title(name, heat), picture.with_attention(heat)))
    for name, heat in explanation.relation.items():
        is_signed = heat.min() < 0
        drawn = picture.with_signed(heat) if is_signed else picture.with_evidence(heat)
        colors = "red adds, blue subtracts" if is_signed else "yellow is the most"
        first_row.append((f"what + gathers in {name}\n{colors}", drawn))
    marked = [index for index, cell in enumerate(first_row) if cell and cell[0].startswith(("photo", "what +"))]
    rows = _gradcam_rows(picture)
    if len(explanation.gradcam) == 1:
        first_row += rows.pop()
    height, width = picture.pixels.shape[:2]
    columns = max(map(len, [first_row, *rows]))
    grid = ImageGrid(columns, (2.4, 2.4 * height / width), heading=heading, legend=_LEGEND)
    figure, axes = grid.draw([first_row, *rows])
    for index in marked:
        _mark(axes[0, index], picture, at)
    _outline(axes[0, 0], picture)
    save_figure(figure, path)


def _gradcam_rows(picture: Picture) -> list[list[Cell | None]]:
    """Returns a row for each branch, with a map for each stage that it is computed from, else `None`."""
    explanation = picture.explanation
    stages = list(dict.fromkeys(stage for _, stage in explanation.gradcam))
    rows: dict[str, list[Cell | None]] = {branch: [None] * len(stages) for branch, _ in explanation.gradcam}
    for (branch, stage), cam in explanation.gradcam.items():
        drawn = picture.with_evidence(cam, explanation.brightest(branch, stage))
        title = f"Grad-CAM of branch {branch}\nat {stage}: {_strength(explanation, branch, stage)}"
        rows[branch][stages.index(stage)] = title, drawn
    return [*rows.values()]


def _strength(explanation: Explanation, branch: str, stage: str) -> str:
    most = float(explanation.gradcam[branch, stage].max())
    if most <= 0:
        return "no evidence"
    hardly = "hardly any evidence, " if explanation.is_faint(branch, stage) else ""
    return f"{hardly}up to {most:.2g}"


def attention_title(name: str, heat: np.ndarray) -> str:
    """Describes a map of attention, with the values of its darkest and brightest positions."""
    if not name.startswith("mid_"):
        return f"attention {name}\n{heat.min():.2g} (dark) to {heat.max():.2g} (bright)"
    shut = ", nearly shut" if np.abs(heat).max() < NEARLY_SHUT else ""
    return f"CLSA of {name}{shut}\n{heat.min():.2g} (dark) to {heat.max():.2g} (bright)"


@matplotlib.rc_context(PLAIN_TEXT)
def draw_contact_sheet(pictures: Sequence[Picture], captions: Sequence[str], path: Path, columns: int = 4) -> None:
    """Writes a PNG of many photos, each beside the combined heat map of all branches, with a caption."""
    tallest = max(picture.pixels.shape[0] / picture.pixels.shape[1] for picture in pictures)
    cells: list[Cell | None] = []
    for picture, caption in zip(pictures, captions, strict=True):
        seen = picture.with_evidence(picture.explanation.summary())
        cells.append((printable(caption, keep="\n"), np.concatenate([picture.pixels, seen], axis=1)))
    columns = min(columns, len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    grid = ImageGrid(columns, (3.2, 1.6 * min(tallest, 2.0)), legend=_CONTACT_LEGEND)
    save_figure(grid.draw(rows)[0], path)


def _mark(axes: Axes, picture: Picture, at: tuple[int, int] | None) -> None:
    if at:
        axes.plot(
            (at[0] + 0.5) * picture.scale - 0.5,
            (at[1] + 0.5) * picture.scale - 0.5,
            marker="+",
            markersize=14,
            markeredgewidth=2.5,
            color="cyan",
        )


def _outline(axes: Axes, picture: Picture) -> None:
    top, left, height, width = picture.explanation.window.scaled(picture.scale)
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor="white", linestyle="--"))
