"""A run that starts from a trained model: `model.init`."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.data.pipeline import evaluation_batches
from clan_tf.data.pipeline.reading import Reader
from clan_tf.errors import CheckFailed, UserError
from clan_tf.files import file_sha256
from clan_tf.inference import locate_keras
from clan_tf.models import BranchClassifier, load_model
from clan_tf.models.transfer import copy_fitting
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files
from clan_tf.training.devices import require_agreement


def start_from(
    experiment: Experiment, model: BranchClassifier, strategy: tf.distribute.Strategy, progress: Progress
) -> dict[str, Any]:
    """Copies what fits from the model of `model.init`, if it is given, and notes what.

    Returns:
        What the run records about it, as plain values.

    Raises:
        UserError: if there is no such model, its file is damaged or foreign, or it doesn't fit.
    """
    init = experiment.model.init
    if init is None:
        return {}
    try:
        file = locate_keras(init).file
        source = load_model(file)
        with strategy.scope():
            transfer = copy_fitting(source, model)
    except (UserError, CheckFailed) as error:
        text = str(error).removeprefix(f"{init}: ")
        raise UserError(f"model.init: {init}: {text}{'' if text.endswith('.') else '.'}") from error
    progress.note(f"starts from {file}; {transfer}")
    return {"init": {"file": str(file), "sha256": file_sha256(file), "transfer": str(transfer)}}


def require_start(run: RunDirectory, experiment: Experiment) -> None:
    """Raises a `UserError` if a run has no checkpoint, but its first weights came from another model."""
    if experiment.model.init is not None and not state_files(run.checkpoints):
        raise UserError(
            f"{run.path}: has no checkpoint left to resume, and started from another model (model.init). Train again "
            "in another --run-dir."
        )


def prepare_start(
    experiment: Experiment,
    model: BranchClassifier,
    strategy: tf.distribute.Strategy,
    reader: Reader,
    labels: np.ndarray,
    run: RunDirectory,
    progress: Progress,
) -> bool:
    """Sets weights that start from the train photos, if the model has such and the run has no checkpoint.

    As many photos are computed at a time as a device trains on. Every process of a run goes through all of them.

    Args:
        experiment: with numbers for `training.batch_size` and `training.accumulation`.
        model: the model, made in the strategy's scope.
        strategy: where it runs.
        reader: of the train photos.
        labels: their labels, int32 `(photos,)`.
        run: the run.
        progress: where progress is shown.

    Returns:
        Whether there were such weights.

    Raises:
        CheckFailed: if the photos' features aren't finite, or processes have computed other weights.
    """
    if not model.needs_photos_to_start or state_files(run.checkpoints):
        return False
    size = max(1, experiment.training.batch_size // experiment.training.parts // strategy.num_replicas_in_sync)
    with progress.track("weights that start from the train photos", -(-len(labels) // size)) as advance:

        def batches() -> Iterator[Any]:
            for batch in evaluation_batches(reader, labels, size):
                yield batch
                advance()

        with strategy.scope():
            model.prepare(batches())
    digest = hashlib.sha256()
    for layer in model.layers:
        for values in layer.get_weights() if layer.name in model.HEAD_LAYERS else ():
            digest.update(values.tobytes())
    require_agreement(strategy, weights_from_photos=digest.hexdigest())
    return True
