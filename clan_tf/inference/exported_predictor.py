"""Exported files as predictors. TensorFlow is imported only for checked photos, which its pipeline prepares."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clan_tf.errors import UserError
from clan_tf.inference.locate import LocatedModel
from clan_tf.inference.predictor import Predictor, choose_branches, rejection_of
from clan_tf.progress import Progress
from clan_tf.runtime import ExportedModel
from clan_tf.runtime.exported import ACCEPTED, LABEL_IDS, PROBABILITIES, SERVE_BYTES
from clan_tf.taxonomy import Taxonomy

if TYPE_CHECKING:
    from clan_tf.data.checked_photos import CheckedPhotos


WHOLE_PHOTOS = 4
"""How many whole photos are taken at a time, at most, by a file that resizes them itself."""


class ExportedPredictor(Predictor):
    """An exported file, which runs in its own process.

    Args:
        model: the running file.
        path: the name for messages and tables.
        branches: which to combine; those that the file combines if `None`.
        batch_size: how many views it gets at a time, at most.

    Attributes:
        contract: the file's labels and preprocessing.

    Raises:
        UserError: if the file can't combine these branches.
    """

    def __init__(
        self,
        model: ExportedModel,
        path: Path,
        branches: Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> None:
        self._model, self.path = model, path
        self.contract = model.contract
        # A file that resizes photos itself gets them whole, and so they fill the memory.
        self.batch_size = batch_size if self.contract.input_size is not None else min(batch_size, WHOLE_PHOTOS)
        self.class_names = self.contract.class_names
        table = self.contract.taxonomy
        self.taxonomy = Taxonomy.of(table, self.class_names) if table else None
        self.branches = self.contract.branches if self.contract.per_branch else ()
        self.chosen = choose_branches(self.contract.branches, branches)
        _, self.temperature = self.contract.temperatures_of(self.chosen)
        is_whole = set(self.chosen) == set(self.contract.branches)
        usual = self.contract.branches
        self.rejection, self.lost_rejection = rejection_of(self.chosen, usual, self.contract.rejection)
        if not self.contract.per_branch and not is_whole:
            raise UserError(
                f"--branches: {path} answers for {', '.join(self.contract.branches)} together. "
                "Export these branches alone, or a SavedModel with --per-branch."
            )

    @classmethod
    def open(
        cls, located: LocatedModel, branches: Sequence[str] | None = None, batch_size: int = 32
    ) -> "ExportedPredictor":
        """Starts a file's process.

        Raises:
            UserError: if the file can't be read or run, or can't combine these branches.
        """
        model = ExportedModel(located.file)
        try:
            return cls(model, located.path, branches, batch_size)
        except UserError:
            model.close()
            raise

    def view(self, photo: np.ndarray) -> np.ndarray:
        """Prepares a whole upright photo by the file's own preprocessing; unchanged if the file resizes it."""
        return self._model.view(photo)

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Computes combined probabilities `(views, classes)`, at once where all views have one size."""
        if self.contract.input_size is None:
            requests = [view[None] for view in views]
        else:
            # The first view alone, so that a file that never answers is given up soon.
            first = 0 if self._model.has_answered else 1
            requests = [np.stack(part) for part in (views[:first], views[first:]) if len(part)]
        answers = [self._model(request)[PROBABILITIES] for request in requests]
        return np.concatenate(answers)

    def answers(self, checked: "CheckedPhotos", progress: Progress) -> dict[str, np.ndarray]:
        """Computes probabilities of the branches that the file answers for, and `combined`."""
        from clan_tf.models import COMBINED, combine

        with progress.track("evaluating photos", len(checked.photos)) as advance:
            outputs = self.outputs(checked, advance)
        answers = {branch: outputs[f"{PROBABILITIES}_{branch}"] for branch in self.branches}
        if set(self.chosen) == set(self.contract.branches):
            return answers | {COMBINED: outputs[PROBABILITIES]}
        own = [answers[branch] for branch in self.chosen]
        weights = self.contract.weights_of(self.chosen)
        temperatures = self.contract.temperatures_of(self.chosen)
        return answers | {COMBINED: np.asarray(combine(own, self.contract.combination, weights, *temperatures))}

    def outputs(
        self,
        checked: "CheckedPhotos",
        on_photo: Callable[[], None] = lambda: None,
        signatures: Sequence[str] = (),
        not_served: Collection[int] = (),
    ) -> dict[str, np.ndarray]:
        """Computes every output of the file for every photo, by the file's own preprocessing.

        Args:
            checked: the photos.
            on_photo: called after each photo, for progress.
            signatures: further signatures of a SavedModel to run.
            not_served: indices of the photos that aren't sent to `serve_bytes`.

        Returns:
            Float32 arrays `(photos, classes)`: `probabilities`, `probabilities_BRANCH` if the file has them, and
            the probabilities of the further signatures by their names; NaN for photos that weren't sent. Of a
            SavedModel also `label_ids` and `accepted`, `(photos,)`, and those of the signatures as `NAME.label_ids`
            and `NAME.accepted`.
        """
        from clan_tf.data.sources.content import read_content
        from clan_tf.inference.views import views_of_contract

        answers = []
        for index, view in enumerate(views_of_contract(self.contract, checked)):
            answer = self._model(view[None])
            for name in signatures:
                if name == SERVE_BYTES and index in not_served:
                    answer[name] = np.full_like(answer[PROBABILITIES], np.nan)
                    answer |= {f"{name}.{each}": answer[each] for each in (LABEL_IDS, ACCEPTED) if each in answer}
                    continue
                encoded = name == SERVE_BYTES
                given = np.frombuffer(read_content(checked.photos[index]), "uint8") if encoded else view
                found = self._model(given[None], name)
                answer[name] = found[PROBABILITIES]
                answer |= {f"{name}.{each}": found[each] for each in (LABEL_IDS, ACCEPTED) if each in found}
            answers.append(answer)
            on_photo()
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def close(self) -> None:
        """Ends the file's process."""
        self._model.close()
