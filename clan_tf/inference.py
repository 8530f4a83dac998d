"""Running a model over photos, on one device or several."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from clan_tf.data.reading import View
from clan_tf.models import BranchClassifier


def model_view(model: BranchClassifier) -> View:
    """What a model sees of a photo."""
    return View(model.image_size, model.resize_size, model.resize_mode)


def branch_probabilities(
    model: BranchClassifier, batches: tf.data.Dataset, photos: int, on_batch: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Every output of the model for every photo, each counted once.

    Args:
        model: the model.
        batches: what `evaluation_batches` gives: batches of one size, the last filled up.
        photos: how many of the photos aren't filling.
        on_batch: called after each batch, for progress.

    Returns:
        Float32 arrays `(photos, classes)` by branch, and `combined`.
    """
    return ProbabilityFunction(model)(batches, photos, on_batch)


class ProbabilityFunction:
    """`branch_probabilities` for one model, traced once, on all devices: for validation after every epoch."""

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
        collected: dict[str, list[np.ndarray]] = {}
        for images, _, _ in batches:
            for name, values in self._run(images).items():
                collected.setdefault(name, []).append(values.numpy())
            on_batch()
        return {name: np.concatenate(parts)[:photos] for name, parts in collected.items()}
