"""A run that starts from a trained model: `model.init`."""

import hashlib
from pathlib import Path
from typing import Any

import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.errors import CheckFailed, UserError
from clan_tf.files import open_regular_file
from clan_tf.inference import locate_keras
from clan_tf.models import BranchClassifier, load_model
from clan_tf.models.transfer import copy_fitting
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory
from clan_tf.run.checkpoints import state_files


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
    return {"init": {"file": str(file), "sha256": _digest(file), "transfer": str(transfer)}}


def require_start(run: RunDirectory, experiment: Experiment) -> None:
    """Raises a `UserError` if a run has no checkpoint, but its first weights came from another model."""
    if experiment.model.init is not None and not state_files(run.checkpoints):
        raise UserError(
            f"{run.path}: has no checkpoint left to resume, and started from another model (model.init). Train again "
            "in another --run-dir."
        )


def _digest(path: Path) -> str:
    file: Any
    with open_regular_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
