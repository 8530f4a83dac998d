"""What a training run writes to the disk."""

import shutil
from pathlib import Path

from clan_tf.config import TrainingConfig
from clan_tf.errors import UserError
from clan_tf.files import existing_parent
from clan_tf.models import BranchClassifier


def disk_bytes(variables: int, training: TrainingConfig) -> int:
    """Estimates the bytes that training a model with so many float32 numbers takes on the disk at most.

    The best model, the last one, and three states, one of them being written: weights, momentum and their average.
    """
    numbers = 2 + 3 * (3 if training.ema else 2)
    return numbers * (4 * variables + 2**20)


def require_space(model: BranchClassifier, training: TrainingConfig, folder: str) -> None:
    """Raises a `UserError` unless the disk has room for what the run will write."""
    existing = existing_parent(Path(folder))
    needed, free = disk_bytes(model.count_params(), training), shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{existing}: the checkpoints need {needed / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB free. "
            "Free some space, or give another folder: --run-dir."
        )
