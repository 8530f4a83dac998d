"""Keras models as predictors, and their answers on one device or several."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from clan_tf.choices import temperature_of
from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import PhotoReader, evaluation_batches
from clan_tf.inference.locate import LocatedModel
from clan_tf.inference.predictor import Predictor, choose_branches, rejection_of, require_finite_answers
from clan_tf.inference.views import seen_by_model, view_of_model
from clan_tf.models import COMBINED, BranchClassifier, load_model
from clan_tf.progress import Progress


class KerasPredictor(Predictor):
    """A Keras model, which runs in this process.

    Args:
        model: the model.
        path: the model's file, for messages.
        branches: which to combine; those that the model combines if `None`.
        batch_size: how many photos it processes at a time.

    Raises:
        UserError: if a branch isn't one of the model's.
    """

    def __init__(
        self,
        model: BranchClassifier,
        path: Path,
        branches: Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> None:
        self.model, self.path = model, path
        self.class_names, self.taxonomy = model.class_names, model.taxonomy
        self.branches = model.branches
        self.chosen = choose_branches(model.branches, branches, model.branch_weights)
        self.temperature = temperature_of(self.chosen, model.temperatures)
        usual = choose_branches(model.branches, None, model.branch_weights)
        self.rejection, self.lost_rejection = rejection_of(self.chosen, usual, model.rejection)
        self.batch_size = batch_size
        self._run = tf.function(lambda batch: model(batch, training=False)[COMBINED], autograph=False)

    @classmethod
    def open(
        cls, located: LocatedModel, branches: Sequence[str] | None = None, batch_size: int = 32
    ) -> "KerasPredictor":
        """Loads a `.keras` file.

        Raises:
            UserError: if it can't be loaded, or a branch isn't one of the model's.
            CheckFailed: if its weights are NaN or infinite.
        """
        return cls(load_model(located.file), located.file, branches, batch_size)

    def view(self, photo: np.ndarray) -> np.ndarray:
        """Prepares a whole upright photo as for evaluation, uint8 RGB."""
        return seen_by_model(self.model, photo)

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        # Batches of one size are traced once.
        """Computes combined probabilities `(views, classes)` in one batch."""
        filling = [views[0]] * (self.batch_size - len(views))
        answers = self._run(np.stack([*views, *filling])).numpy()[: len(views)]
        require_finite_answers(self.path, {COMBINED: answers})
        return answers

    def answers(self, checked: CheckedPhotos, progress: Progress) -> dict[str, np.ndarray]:
        """Computes probabilities of every branch, and `combined` for the chosen ones."""
        photos, size = len(checked.photos), self.batch_size
        batches = evaluation_batches(PhotoReader(checked, view_of_model(self.model)), checked.labels, size)
        with progress.track("running the Keras model", -(-photos // size)) as advance:
            answers = ProbabilityFunction(self.model)(batches, photos, advance)
        require_finite_answers(self.path, answers)
        return answers | {COMBINED: np.asarray(self.model.combine(answers, self.chosen))}


class ProbabilityFunction:
    """Computes every output of one model for every photo, traced once, on all devices; also used for validation.

    Args:
        model: the model.
        strategy: the devices; those of the current scope if `None`.
    """

    def __init__(self, model: BranchClassifier, strategy: tf.distribute.Strategy | None = None) -> None:
        strategy = strategy or tf.distribute.get_strategy()

        @tf.function(autograph=False)
        def run(photos: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = strategy.run(lambda photos: model(photos, training=False), args=(photos,))
            return {name: strategy.gather(values, axis=0) for name, values in outputs.items()}

        self._run = run

    def __call__(
        self, batches: Iterable, photos: int, on_batch: Callable[[], None] = lambda: None
    ) -> dict[str, np.ndarray]:
        """Runs the model.

        Args:
            batches: the batches of `evaluation_batches`, all of one size, the last one padded.
            photos: the number of photos without the padding.
            on_batch: called after each batch, for progress.

        Returns:
            Float32 arrays `(photos, classes)` by branch, and `combined`.
        """
        collected: dict[str, list[np.ndarray]] = {}
        for images, _, _ in batches:
            for name, values in self._run(images).items():
                collected.setdefault(name, []).append(values.numpy())
            on_batch()
        return {name: np.concatenate(parts)[:photos] for name, parts in collected.items()}
