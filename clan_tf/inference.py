"""Running a model over photos, on one device or several."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from clan_tf.data.reading import View
from clan_tf.models import BranchClassifier


def model_view(model: BranchClassifier) -> View:
    """What a model sees of a photo."""
    return View(model.image_size, model.resize_size, model.resize_mode)


def branch_probabilities(
    model: BranchClassifier,
    batches: tf.data.Dataset,
    photos: int,
    strategy: tf.distribute.Strategy | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """Every output of the model for every photo, each counted once.

    Args:
        model: the model, made under `strategy`.
        batches: what `evaluation_batches` gives: batches of one size, the last filled up.
        photos: how many of the photos aren't filling.
        strategy: where to run; the default strategy if `None`.
        on_batch: called after each batch, for progress.

    Returns:
        Float32 arrays `(photos, classes)` by branch, and `combined`.
    """
    return ProbabilityFunction(model, strategy)(batches, photos, on_batch)


class ProbabilityFunction:
    """`branch_probabilities` for one model, traced once: for validation after every epoch."""

    def __init__(self, model: BranchClassifier, strategy: tf.distribute.Strategy | None = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self._run = tf.function(
            lambda photos: self.strategy.run(lambda photos: model(photos, training=False), args=(photos,)),
            autograph=False,
        )

    def __call__(
        self, batches: tf.data.Dataset, photos: int, on_batch: Callable[[], None] = lambda: None
    ) -> dict[str, np.ndarray]:
        collected: dict[str, list[np.ndarray]] = {}
        for images, _, _ in self.strategy.experimental_distribute_dataset(batches):
            for name, value in self._run(images).items():
                # Replicas hold consecutive parts of the batch.
                collected.setdefault(name, []).extend(
                    part.numpy() for part in self.strategy.experimental_local_results(value)
                )
            on_batch()
        return {name: np.concatenate(parts)[:photos] for name, parts in collected.items()}
