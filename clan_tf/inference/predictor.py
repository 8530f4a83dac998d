"""Models of any kind as `evaluate` takes them: answers on checked photos, by branch and combined."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import PhotoReader, evaluation_batches
from clan_tf.errors import UserError, nearest
from clan_tf.inference.keras_predictor import (
    branch_probabilities,
    exported_probabilities,
    model_view,
    require_finite_answers,
)
from clan_tf.inference.locate import find_model
from clan_tf.models import COMBINED, combine, load_model
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory, find_run_above
from clan_tf.runtime.contract import find_exported
from clan_tf.runtime.exported import PROBABILITIES, ExportedModel


class AnsweringModel(ABC):
    """A model that has been opened; a context manager.

    Attributes:
        path: its file.
        run: the run it belongs to, if any.
        class_names: the labels, in the order of the probabilities.
        branches: the branches whose own answers it gives.
        chosen: the branches that are combined.
    """

    path: Path
    run: RunDirectory | None
    class_names: Sequence[str]
    branches: tuple[str, ...]
    chosen: tuple[str, ...]

    @abstractmethod
    def answer(self, checked: CheckedPhotos, batch_size: int, progress: Progress) -> dict[str, np.ndarray]:
        """Probabilities `(photos, classes)` of each branch in `branches`, and `combined`."""

    def __enter__(self) -> "AnsweringModel":
        return self

    def __exit__(self, *exception: Any) -> None:
        """Ends what was started."""
        return


def open_answering(model: str, branches: Sequence[str] | None) -> AnsweringModel:
    """A run directory, a `.keras`, `.tflite` or `.onnx` file or SavedModel folder; `branches` are to be combined.

    Raises:
        UserError: if it can't be opened, or a branch isn't one of its.
    """
    return ExportedFile(model, branches) if find_exported(Path(model)) else TrainedModel(model, branches)


def choose_branches(available: Sequence[str], names: Sequence[str] | None) -> tuple[str, ...]:
    """The branches to combine, each once; all if `None`. A `UserError` for a name that isn't a branch."""
    for name in names or ():
        if name not in available:
            raise UserError(
                f"--branches: no branch {name!r}.{nearest(name, list(available))} "
                f"This model's branches: {', '.join(available)}."
            )
    return tuple(dict.fromkeys(names)) if names else tuple(available)


class TrainedModel(AnsweringModel):
    """A Keras model, run in this process."""

    def __init__(self, model: str, branches: Sequence[str] | None) -> None:
        self.path, self.run = find_model(model)
        self._model = load_model(self.path)
        self.class_names = self._model.class_names
        self.branches = self._model.branches
        self.chosen = choose_branches(self.branches, branches)

    def answer(self, checked: CheckedPhotos, batch_size: int, progress: Progress) -> dict[str, np.ndarray]:
        photos = len(checked.photos)
        batches = evaluation_batches(PhotoReader(checked, model_view(self._model)), checked.labels, batch_size)
        with progress.track("evaluating batches", -(-photos // batch_size)) as advance:
            answers = branch_probabilities(self._model, batches, photos, on_batch=advance)
        require_finite_answers(self.path, answers)
        rule = self._model.settings["combination"]
        return answers | {COMBINED: np.asarray(combine([answers[branch] for branch in self.chosen], rule))}


class ExportedFile(AnsweringModel):
    """An exported file, run in a process of its own."""

    def __init__(self, model: str, branches: Sequence[str] | None) -> None:
        self.path = Path(model)
        self.run = find_run_above(self.path)
        self._model = ExportedModel(self.path)
        contract = self._model.contract
        self.class_names = contract.class_names
        self.branches = contract.branches if contract.per_branch else ()
        try:
            self.chosen = choose_branches(contract.branches, branches)
            if not contract.per_branch and set(self.chosen) != set(contract.branches):
                raise UserError(
                    f"--branches: {self.path} answers for {', '.join(contract.branches)} together. "
                    "Export these branches alone, or a SavedModel with --per-branch."
                )
        except UserError:
            self._model.close()
            raise

    def answer(self, checked: CheckedPhotos, batch_size: int, progress: Progress) -> dict[str, np.ndarray]:
        with progress.track("evaluating photos", len(checked.photos)) as advance:
            outputs = exported_probabilities(self._model, checked, advance)
        answers = {branch: outputs[f"{PROBABILITIES}_{branch}"] for branch in self.branches}
        contract = self._model.contract
        if set(self.chosen) == set(contract.branches):
            return answers | {COMBINED: outputs[PROBABILITIES]}
        own = [answers[branch] for branch in self.chosen]
        return answers | {COMBINED: np.asarray(combine(own, contract.combination))}

    def __exit__(self, *exception: Any) -> None:
        self._model.close()
