"""The models of all folds as one."""

from pathlib import Path

from clan_tf import limits
from clan_tf.errors import UserError
from clan_tf.folds.cross_validate import CrossValidation
from clan_tf.models import Ensemble, load_model, save_model
from clan_tf.run import RunDirectory

ENSEMBLE = "ensemble.keras"


def require_room(folds: int) -> None:
    """Raises a `UserError` for more folds than an ensemble can have members."""
    if folds > limits.MEMBERS:
        raise UserError(
            f"--ensemble: takes at most {limits.MEMBERS} models; received --folds {folds}. Use fewer folds, or omit "
            "--ensemble."
        )


def write_ensemble(result: CrossValidation) -> Path:
    """Writes the ensemble of the folds' best models beside their runs, in place of an earlier one.

    Args:
        result: what `cross_validate` returned, which has finished all folds.

    Returns:
        The path of `ensemble.keras`, which `clan_tf.load_model` reads.

    Raises:
        UserError: if a model can't be read, or there are more than an ensemble can have.
        CheckFailed: if weights are NaN or infinite.
    """
    require_room(len(result.folds))
    members = [load_model(RunDirectory(fold.run).best) for fold in result.folds]
    path = result.folder / ENSEMBLE
    save_model(Ensemble(members, name="ensemble"), path)
    return path
