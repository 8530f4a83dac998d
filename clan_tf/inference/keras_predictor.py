"""Running a model over photos, on one device or several."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from clan_tf.data.checked_photos import CheckedPhotos, used_part
from clan_tf.data.pipeline import PhotoReader, View, evaluation_batches, evaluation_view
from clan_tf.data.sources.content import read_content
from clan_tf.errors import CheckFailed
from clan_tf.inference.locate import find_model
from clan_tf.models import COMBINED, BranchClassifier, load_model
from clan_tf.photos.reading import read_photo
from clan_tf.runtime.exported import PROBABILITIES, SERVE_BYTES, ExportedModel


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


def require_finite_answers(path: Path, answers: Mapping[str, np.ndarray]) -> None:
    """Raises a `CheckFailed` if any output holds NaN: finite weights may overflow."""
    wrong = [name for name, values in answers.items() if not np.isfinite(values).all()]
    if wrong:
        raise CheckFailed(
            f"{path}: the model answers NaN ({', '.join(wrong)}); its weights are damaged or too large. "
            "Take another checkpoint, or train again."
        )


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


class KerasClassifier:
    """Labels photos by a Keras model, as `predict` takes it; a context manager like `ExportedClassifier`.

    Args:
        model: a run directory or a `.keras` file.
        batch_size: how many photos are predicted at a time.

    Raises:
        UserError: if it can't be loaded.
    """

    def __init__(self, model: Path, batch_size: int) -> None:
        path, _ = find_model(model)
        self._path = path
        self._model = load_model(path)
        self._batch_size = batch_size
        self._run = tf.function(lambda batch: self._model(batch, training=False)[COMBINED], autograph=False)
        self.class_names: Sequence[str] = self._model.class_names

    def __enter__(self) -> "KerasClassifier":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def read(self, photo: Path) -> np.ndarray | str:
        """What the model sees of a photo, uint8 RGB; or why it can't be read."""
        image = read_photo(photo)
        return image if isinstance(image, str) else evaluation_view(tf.constant(image), model_view(self._model)).numpy()

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Combined probabilities `(views, classes)`."""
        # Batches of one size are traced once.
        filling = [views[0]] * (self._batch_size - len(views))
        answers = self._run(tf.stack([*views, *filling])).numpy()[: len(views)]
        require_finite_answers(self._path, {COMBINED: answers})
        return answers


def exported_probabilities(
    model: ExportedModel,
    checked: CheckedPhotos,
    on_photo: Callable[[], None] = lambda: None,
    signatures: Sequence[str] = (),
    not_served: Collection[int] = (),
) -> dict[str, np.ndarray]:
    """Every output of an exported file for every photo, by the file's own preprocessing.

    Args:
        model: the file.
        checked: the photos.
        on_photo: called after each photo, for progress.
        signatures: of a SavedModel, further ones to ask.
        not_served: indices of the photos that `serve_bytes` isn't asked.

    Returns:
        Float32 arrays `(photos, classes)`: `probabilities`, `probabilities_BRANCH` where the file has them, and the
        probabilities of the further signatures by their names; NaN where one wasn't asked.
    """
    answers = []
    for index, view in enumerate(exported_views(model, checked)):
        answer = model(view[None])
        for name in signatures:
            if name == SERVE_BYTES and index in not_served:
                answer[name] = np.full_like(answer[PROBABILITIES], np.nan)
                continue
            encoded = name == SERVE_BYTES
            given = np.frombuffer(read_content(checked.photos[index]), "uint8") if encoded else view
            answer[name] = model(given[None], name)[PROBABILITIES]
        answers.append(answer)
        on_photo()
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def exported_views(model: ExportedModel, checked: CheckedPhotos) -> Iterator[np.ndarray]:
    """What an exported file is given of each photo: uint8 RGB, whole where it resizes photos itself."""
    contract = model.contract
    if contract.input_size is None:
        yield from (used_part(checked, index).numpy() for index in range(len(checked.photos)))
        return
    view = View(contract.input_size, contract.resize_size, contract.resize_mode)
    for photos, _, _ in evaluation_batches(PhotoReader(checked, view), checked.labels, 1):
        yield photos[0].numpy()
