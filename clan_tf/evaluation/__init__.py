"""Evaluation of a model on a split of its data: metrics, tables and pictures."""

from clan_tf.evaluation.evaluate import Evaluation, evaluate
from clan_tf.evaluation.metrics import Share, calibration_error, expected_calibration_error, top_k_accuracy
from clan_tf.evaluation.tables import read_predictions

__all__ = [
    "Evaluation",
    "Share",
    "calibration_error",
    "evaluate",
    "expected_calibration_error",
    "read_predictions",
    "top_k_accuracy",
]
