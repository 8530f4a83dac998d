"""Figures 4 to 6: what the networks look at in a few test photos, as PNG grids."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap

import keras
import matplotlib
import numpy as np

from clan_tf.data import Photo, Source
from clan_tf.data.checked_photos import CheckedPhotos, check_photos, used_part
from clan_tf.explain import Explainer, Explanation
from clan_tf.explain.drawing import Picture, attention_title
from clan_tf.models import load_model
from clan_tf.plots import PLAIN_TEXT, frameless_grid, save_figure
from clan_tf.progress import Progress
from clan_tf.reproduce.paper import FULL_CLAN, REFINEMENTS, Network
from clan_tf.reproduce.runs import Job
from clan_tf.run import read_run_data

SIZE = 224
"""Longest side of a photo in a figure, in pixels."""
_NAMES = {network: name for name, network in REFINEMENTS.items()} | {FULL_CLAN: "CLAN"}
_PHOTOS = {"figure4": 4, "figure5": 6, "figure6": 8}
_EVIDENCE = (
    "Grad-CAM at each scale: the evidence for each network's answer, right or wrong. "
    "Grey is no evidence, yellow the most within each map."
)
_HEADINGS = {
    "figure4": f"Figure 4. {_EVIDENCE}",
    "figure5": f"Figure 5. {_EVIDENCE}",
    "figure6": "Figure 6. Spatial attention (CLSA) at each mid-level map, from its smallest value to its largest.",
}

Panel = tuple[str, np.ndarray]
"""A title and a picture."""


def draw_figure(name: str, jobs: Sequence[Job], split: str, source: Source, output: Path, progress: Progress) -> Path:
    """Draws a figure from the networks of the first seed.

    Each photo has a row: in Figure 4, Grad-CAM of each scale's branch for `gap`, `non_local`, `clca` and CLAN side by
    side; in Figure 5, the same for `gap` and CLAN on more photos; in Figure 6, CLAN's spatial attention at each
    mid-level map.

    Returns:
        The PNG file.
    """
    own = read_run_data(jobs[0].run, jobs[0].experiment.data, source)
    photos = check_photos(_spread(own.photos(split), 3 * _PHOTOS[name]))
    count = min(_PHOTOS[name], len(photos.photos))
    pixels = [used_part(photos, index).numpy() for index in range(count)]
    first = [job for job in jobs if job.seed == jobs[0].seed]
    panels = _attention_panels if name == "figure6" else _evidence_panels
    by_network = []
    with progress.track("explaining photos", len(first)) as advance:
        for job in first:
            by_network.append(_rows(job, photos, pixels, source.class_names, panels))
            advance()
    grid = [
        [
            (_label(photos, number, source.class_names), pixels[number]),
            *(p for rows in by_network for p in rows[number]),
        ]
        for number in range(count)
    ]
    path = output / f"{name}.png"
    _draw(grid, _HEADINGS[name], path)
    return path


def _rows(
    job: Job,
    photos: CheckedPhotos,
    pixels: Sequence[np.ndarray],
    class_names: Sequence[str],
    panels: Callable[[str, Picture], list[Panel]],
) -> list[list[Panel]]:
    """Draws one network's panels for each photo; the first is titled with its answer."""
    explanations = Explainer(load_model(job.run.best)).explain_whole(pixels)
    rows = []
    for number, (photo, explanation) in enumerate(zip(pixels, explanations, strict=True)):
        drawn = panels(_NAMES[job.network], Picture.of(photo, explanation, SIZE))
        answer = _answer(job.network, explanation, photos.photos[number], class_names)
        rows.append([(f"{answer}\n{drawn[0][0]}", drawn[0][1]), *drawn[1:]])
    keras.utils.clear_session()
    return rows


def _evidence_panels(network: str, picture: Picture) -> list[Panel]:
    """Draws Grad-CAM of each scale's branch at its own map, from shallow to deep."""
    own = {branch: cam for (branch, stage), cam in picture.explanation.gradcam.items() if branch == stage}
    return [
        (f"{network} at {stage}", picture.with_evidence(cam)) for stage, cam in own.items() if stage != "refined_top"
    ]


def _attention_panels(network: str, picture: Picture) -> list[Panel]:
    return [
        (attention_title(name, heat), picture.with_attention(heat))
        for name, heat in picture.explanation.attention.items()
    ]


def _spread(photos: Sequence[Photo], count: int) -> list[Photo]:
    """Picks evenly spaced photos, so that their classes differ; the same for every network."""
    places = np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int)
    # Every third first, so that the spares for unreadable photos come last.
    return [photos[place] for start in range(3) for place in places[start::3]]


def _label(photos: CheckedPhotos, number: int, class_names: Sequence[str]) -> str:
    return f"photo: {class_names[photos.photos[number].label]}"


def _answer(network: Network, explanation: Explanation, photo: Photo, class_names: Sequence[str]) -> str:
    is_right = explanation.label == photo.label
    answer = "right" if is_right else f"wrong: {class_names[explanation.label]}"
    return f"{_NAMES[network]}, {answer} ({100 * explanation.probability:.0f} %)"


@matplotlib.rc_context(PLAIN_TEXT)
def _draw(grid: Sequence[Sequence[Panel]], heading: str, path: Path) -> None:
    columns = max(map(len, grid))
    figure, all_axes = frameless_grid(len(grid), columns, (2.7, 3.35))
    figure.suptitle("\n".join(wrap(heading, 33 * columns)), fontsize=10)
    for axes_row, row in zip(all_axes, grid, strict=True):
        for axes, (title, image) in zip(axes_row, row, strict=False):
            axes.imshow(image)
            axes.set_title(title, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    save_figure(figure, path)
