"""Cross-validation: one run for each fold, and the accuracy over all."""

from clan_tf.folds.cross_validate import CrossValidation, FoldResult, cross_validate

__all__ = ["CrossValidation", "FoldResult", "cross_validate"]
