"""Comparison of a trained model with its exports: the compared photos, and the outputs of both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from clan_tf.data import Photo, place_of
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.errors import CheckFailed, UserError, counted
from clan_tf.evaluation import (
    check_noted,
    experiment_of,
    note_on_folds,
    other_config,
    read_noted,
    with_model_classes,
    without_photos,
)
from clan_tf.export.gate import GateReport, Limits, check_file
from clan_tf.export.options import ExportOptions
from clan_tf.export.sampling import stratified
from clan_tf.files import file_sha256
from clan_tf.inference import KerasPredictor, keras_process, locate, locate_keras
from clan_tf.inference.views import views_of_contract
from clan_tf.progress import Progress
from clan_tf.run.unfinished import note_unless_finished
from clan_tf.runtime import Contract, ExportedModel
from clan_tf.runtime.exported import PROBABILITIES, SERVE_BYTES

FEW_PHOTOS = 50
"""A note warns if fewer photos are compared: each is more than 2 %, which is all that an int8 file may lose."""


class Comparison:
    """One trained model and the photos that its exports are compared on.

    Args:
        model: a run directory or a `.keras` file.
        samples: how many photos; all of the test split if `None`.
        config: the config whose data to use, or a folder of photos; the run's own if `None`.
        overrides: `KEY=VALUE` strings that override the config.
        progress: where progress is shown.

    Attributes:
        path: the model's file.
        sha256: of that file, in hexadecimal.
        name: the experiment's name, which exported files are named after.
        model: the Keras model.
        split: the split of the compared photos: `test`, or where there is none `val` or `train`.
        photos: the compared photos.
        place: where these photos are.
        notes: what is unusual about the photos that exports are compared and calibrated on.

    Raises:
        UserError: if the model or the data is wrong.
        CheckFailed: if the model has weights that are NaN or infinite.
    """

    def __init__(
        self,
        model: str,
        samples: int | None = None,
        config: str | None = None,
        overrides: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> None:
        if samples is not None and samples < 1:
            raise UserError(f"--samples: must be 1 or more; received {samples}.")
        self.progress = progress or Progress()
        located = locate_keras(model)
        self.path, run = located.file, located.run
        self.sha256 = file_sha256(self.path)
        note_unless_finished(run, self.progress.note)
        config = other_config(run, config, self.progress, overrides)
        experiment = experiment_of(self.path, run, config, overrides)
        self.name = experiment.name
        self._predictor = KerasPredictor.open(located)
        self.model = self._predictor.model
        data = read_noted(run, experiment, config, self.progress)
        self._data = with_model_classes(self.path, self.model.class_names, data)
        self.notes: list[str] = []
        self.place = place_of(data.config)
        self.split = next((split for split in ("test", "val") if self._data.has(split)), "train")
        if self.split != "test":
            kind = "validation" if self.split == "val" else "train"
            self._note(f"there are no test photos: {kind} photos are compared")
        self.photos = self.sample(self.split, samples)
        if len(self.photos.photos) < FEW_PHOTOS:
            self.progress.note(f"{counted(len(self.photos.photos), 'photo')} compared: too few to generalise.")
        if run is None:
            note_on_folds(self.path, self.photos, self.progress)

    def sample(self, split: str, count: int | None = None) -> CheckedPhotos:
        """Reads photos of a split, stratified over classes; all if `count` is `None`."""
        photos: Sequence[Photo] = self._data.photos(split)
        if missing := without_photos(self.model.class_names, photos, self._data, split):
            self._note(missing)
        some = stratified(photos, count) if count else photos
        return check_noted(self._data, split, some, self.progress, are_measured=False)

    def _note(self, note: str) -> None:
        """Shows a note, and keeps it for `export.json`."""
        if note not in self.notes:
            self.progress.note(f"note: {note}")
            self.notes.append(note)

    def views(self, checked: CheckedPhotos, contract: Contract, description: str) -> list[np.ndarray]:
        """Prepares photos as input of an exported file, uint8 RGB."""
        with self.progress.track(description, len(checked.photos)) as advance:
            views = []
            for view in views_of_contract(contract, checked):
                views.append(view)
                advance()
        return views

    def check(
        self,
        path: Path,
        contract: Contract,
        limits: Limits,
        own_contract: Contract | None = None,
        threads: Sequence[int] = (),
        seconds: float = 1.0,
        signatures: Sequence[str] = (),
        takes_batches: bool = False,
    ) -> GateReport:
        """Compares an exported file with the model; the file holds its contract unless one is given."""
        if contract.class_names != tuple(self.model.class_names) or not set(contract.branches) <= set(self.answers):
            raise UserError(f"{path}: has other classes or branches than {self.path}. Give its own run: --run.")
        expected = {PROBABILITIES: self.model.combine(self.answers, contract.branches)}
        if contract.per_branch:
            expected |= {f"{PROBABILITIES}_{name}": self.answers[name] for name in contract.branches}
        expected |= dict.fromkeys(signatures, expected[PROBABILITIES])
        return check_file(
            lambda count: _open_file(path, count, own_contract),
            self.photos,
            {name: np.asarray(values) for name, values in expected.items()},
            limits,
            threads,
            seconds,
            self.progress,
            takes_batches,
        )

    def further_signatures(self, options: ExportOptions) -> list[str]:
        """Lists the signatures of a SavedModel that are compared in addition to the default one."""
        if options.format != "saved_model":
            return []
        signatures = ["serve_uint8" if options.io == "float32" else "serve_float32"]
        signatures += ["explain"] if options.explain else []
        if any(photo.box for photo in self.photos.photos):
            self.progress.note(f"{SERVE_BYTES} isn't compared: it takes whole photos, but this data uses their boxes.")
            return signatures
        return [*signatures, SERVE_BYTES]

    @contextmanager
    def own_files(self, options: ExportOptions) -> Iterator[None]:
        """Turns a `UserError` into a `CheckFailed`: if a file made here can't be run, it isn't the user's mistake."""
        try:
            yield
        except UserError as error:
            raise CheckFailed(f"{self.path}: the export {options.kind} can't be used: {error}") from error

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """The Keras model's probabilities by branch."""
        return self._predictor.answers(self.photos, self.progress)


def _open_file(path: Path, threads: int, contract: Contract | None) -> ExportedModel:
    """Opens a file as its users do; if a contract is given, the file is a `.keras` file, which has none itself."""
    if contract is None:
        return ExportedModel(locate(path).file, threads)
    return ExportedModel(path, threads, contract, keras_process.__file__)
