"""Cross-validation: one run for each fold, the accuracy over all, and the ensemble of their models."""

from clan_tf.folds.checking import plan_folds
from clan_tf.folds.cross_validate import CrossValidation, FoldResult, cross_validate
from clan_tf.folds.ensemble import ENSEMBLE, require_room, write_ensemble

__all__ = [
    "ENSEMBLE",
    "CrossValidation",
    "FoldResult",
    "cross_validate",
    "plan_folds",
    "require_room",
    "write_ensemble",
]
