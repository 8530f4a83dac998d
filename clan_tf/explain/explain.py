"""Explanations of photo files, as pictures and arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.errors import CheckFailed, UserError, counted, nearest
from clan_tf.explain.drawing import Picture, draw_contact_sheet, draw_sheet
from clan_tf.explain.geometry import seen_window
from clan_tf.explain.maps import Explainer, Explanation
from clan_tf.files import new_folder
from clan_tf.inference import KerasPredictor, locate_keras
from clan_tf.inference.views import view_of_model
from clan_tf.models import BranchClassifier, Ensemble
from clan_tf.photos import PhotoError, list_photos, read_photo
from clan_tf.progress import Progress
from clan_tf.text import printable

BATCH = 8
SHEET_PHOTOS = 48
"""Maximum number of photos on one contact sheet; more photos get further sheets."""
MOST_BYTES = 120
"""Maximum bytes of a photo's name in its pictures' names: file systems allow 255, temporary files need some."""
SMALL = 200
"""Longest side of a photo on a contact sheet, in pixels."""


def explain_photos(
    model: str,
    paths: Sequence[str],
    output: Path,
    at: tuple[int, int] | None = None,
    branches: Sequence[str] | None = None,
    label: str | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Writes what a model looks at in photos: a PNG and an `.npz` for each, and contact sheets if there are several.

    Args:
        model: a run directory or a `.keras` file.
        paths: photos, and folders of photos, as for `predict`.
        output: the folder to make.
        at: column and row of a pixel of the upright photo whose relations are shown, too.
        branches: the branches whose Grad-CAM is wanted; those that are combined if `None`.
        label: name of the class to explain; each photo's predicted class if `None`.
        progress: where progress is shown.

    Returns:
        For each photo, in order, `{"path", "label", "probability", "picture", "arrays"}` or `{"path", "error"}`.

    Raises:
        UserError: if the model can't be loaded, a name is wrong, `at` is outside what it sees of every photo, or
            `output` exists.
        CheckFailed: if no photo could be explained; nothing is written then.
    """
    progress = progress or Progress()
    photos = list_photos(paths, progress.note)
    predictor = KerasPredictor.open(locate_keras(model), branches)
    if isinstance(predictor.model, Ensemble):
        raise UserError(
            f"{model}: is an ensemble, and has no maps of its own. Explain its members, the runs of the folds."
        )
    _require_relations(predictor.model, at)
    for note in missing_maps(predictor.model):
        progress.note(f"note: {note}")
    explainer = Explainer(predictor.model, predictor.chosen)
    labels = None if label is None else _label_index(predictor.model, label)
    with new_folder(output) as folder:
        job = _Job(explainer, at, labels, folder, output)
        with progress.track("explaining photos", len(photos)) as advance:
            for start in range(0, len(photos), BATCH):
                job.add(photos[start : start + BATCH])
                for _ in photos[start : start + BATCH]:
                    advance()
        job.require_some()
        job.finish_contact_sheets()
    return job.results


def missing_maps(model: BranchClassifier) -> list[str]:
    """Describes the maps that a model doesn't have."""
    notes = []
    if not any(name.startswith("attention_") for name in model.features):
        notes.append("this model has no attention maps.")
    if not getattr(model, "refinements", {}):
        notes.append("this model relates no positions (neither clca nor non_local), so --at isn't possible.")
    return notes


class _Outside(PhotoError):
    """The model doesn't see the pixel `at` of a photo."""


class _Job:
    """One call's photos, processed batch by batch."""

    def __init__(
        self, explainer: Explainer, at: tuple[int, int] | None, label: int | None, folder: Path, output: Path
    ) -> None:
        self.explainer, self.at, self.label = explainer, at, label
        self.folder, self.output = folder, output
        self.results: list[dict[str, Any]] = []
        self.small: list[Picture] = []
        self.captions: list[str] = []
        self.sheets = 0
        self.outside: list[_Outside] = []

    def add(self, paths: Sequence[Path]) -> None:
        """Explains and writes a batch of photos."""
        photos: dict[Path, np.ndarray] = {}
        errors: dict[Path, str] = {}
        for path in paths:
            try:
                photos[path] = self._read(path)
            except _Outside as error:
                errors[path] = str(error)
                self.outside.append(error)
            except PhotoError as error:
                errors[path] = str(error)
        labels = None if self.label is None else [self.label] * len(photos)
        found = self.explainer.explain_whole([*photos.values()], labels, self.at) if photos else []
        explanations = dict(zip(photos, found, strict=True))
        for path in paths:
            if path in errors:
                self.results.append({"path": str(path), "error": errors[path]})
            else:
                self._write(path, photos[path], explanations[path])

    def require_some(self) -> None:
        """Raises a `UserError` if no photo could be explained because of `at`, a `CheckFailed` if for other reasons."""
        if any("error" not in result for result in self.results):
            return
        if self.outside:
            path = next(result["path"] for result in self.results if result["error"] == str(self.outside[0]))
            others = len(self.outside) - 1
            so = f", and so of {counted(others, 'other photo')}" if others else ""
            raise UserError(f"{path}: {self.outside[0]}{so}. Give a pixel that it sees, or omit --at.")
        problems = "\n".join(f"  {result['path']}: {result['error']}" for result in self.results[:20])
        raise CheckFailed(f"None of {counted(len(self.results), 'photo')} could be explained:\n{problems}")

    def finish_contact_sheets(self) -> None:
        """Writes the last photos' sheet: `contact_sheet.png` if it is the only one; none for a single photo."""
        if self.sheets:
            self._draw_contact_sheet(f"contact_sheet_{self.sheets + 1:03d}.png")
        elif len(self.small) > 1:
            self._draw_contact_sheet("contact_sheet.png")

    def _draw_contact_sheet(self, name: str) -> None:
        """Writes a sheet, and forgets its photos: their maps fill the memory."""
        draw_contact_sheet(self.small, self.captions, self.folder / name)
        self.small, self.captions, self.sheets = [], [], self.sheets + 1

    def _read(self, path: Path) -> np.ndarray:
        """Reads a whole photo; raises a `PhotoError` if it can't be read, `_Outside` if the model doesn't see `at`."""
        photo = read_photo(path)
        height, width, _ = photo.shape
        window = seen_window(height, width, view_of_model(self.explainer.model))
        if self.at and window.cell_at(*self.at, 1, 1) is None:
            left, top = round(window.left), round(window.top)
            raise _Outside(
                f"--at {self.at[0]},{self.at[1]} is outside what the model sees of this photo of {width} x "
                f"{height} pixels: columns {left} to {round(window.left + window.width) - 1}, rows {top} to "
                f"{round(window.top + window.height) - 1}"
            )
        return photo

    def _write(self, path: Path, photo: np.ndarray, explanation: Explanation) -> None:
        name = _free_name(self.folder, _written_name(path.stem))
        label = self.explainer.model.class_names[explanation.label]
        caption = f"{label} {100 * explanation.probability:.0f} %"
        heading = f"{_written_name(path.name)}: evidence for {label} ({100 * explanation.probability:.1f} %)"
        draw_sheet(Picture.of(photo, explanation), heading, self.at, self.folder / f"{name}.png")
        np.savez_compressed(self.folder / f"{name}.npz", allow_pickle=False, **explanation.arrays())
        if len(self.small) == SHEET_PHOTOS:
            self._draw_contact_sheet(f"contact_sheet_{self.sheets + 1:03d}.png")
        self.small.append(Picture.of(photo, explanation, SMALL))
        self.captions.append(f"{_written_name(path.name)}\n{printable(caption)}")
        self.results.append(
            {
                "path": str(path),
                "label": label,
                "probability": explanation.probability,
                "picture": str(self.output / f"{name}.png"),
                "arrays": str(self.output / f"{name}.npz"),
            }
        )


def _require_relations(model: BranchClassifier, at: tuple[int, int] | None) -> None:
    if at and not getattr(model, "refinements", {}):
        kind = getattr(model, "mid_refinement", type(model).__name__)
        raise UserError(
            f"--at: this model ({kind}) relates no positions; only clca and non_local do. Omit --at, or give "
            "another model."
        )


def _label_index(model: BranchClassifier, name: str) -> int:
    names = model.class_names
    if name not in names:
        raise UserError(f"--label: this model has no class {name!r}.{nearest(name, names)}")
    return names.index(name)


def _written_name(name: str) -> str:
    """Returns a photo's name for headings and for its pictures' names: printable, and truncated if long."""
    name = printable(name)
    return name if len(name.encode()) <= MOST_BYTES else f"{name.encode()[:MOST_BYTES].decode(errors='ignore')}…"


def _free_name(folder: Path, stem: str) -> str:
    """Returns the photo's name, numbered if another photo has the same name."""
    name, number = stem, 1
    while (folder / f"{name}.png").exists():
        number += 1
        name = f"{stem}-{number}"
    return name
