"""How much disk space a training run takes."""

import shutil
from pathlib import Path

from clan_tf.config import TrainingConfig
from clan_tf.errors import UserError
from clan_tf.files import existing_parent
from clan_tf.models import BranchClassifier
from clan_tf.text import data_size


def disk_bytes(variables: int, training: TrainingConfig) -> int:
    """Estimates the peak disk space, in bytes, of training a model with `variables` float32 values.

    Counts the best model, the last one, and three states (one being written) of weights, the optimizer's one or two
    numbers for each weight, and any average.
    """
    numbers = 2 + 3 * (1 + optimizer_numbers(training) + bool(training.ema))
    return numbers * (4 * variables + 2**20)


def optimizer_numbers(training: TrainingConfig) -> int:
    """Returns how many numbers the optimizer keeps for each weight."""
    return 2 if training.optimizer == "adamw" else 1


def require_space(model: BranchClassifier, training: TrainingConfig, folder: str) -> None:
    """Raises a `UserError` unless the disk has room for what the run will write."""
    existing = existing_parent(Path(folder))
    needed, free = disk_bytes(model.count_params(), training), shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{existing}: the checkpoints need {data_size(needed)} but the disk has only {data_size(free)} free. "
            "Free some space, or give another folder: --run-dir."
        )
