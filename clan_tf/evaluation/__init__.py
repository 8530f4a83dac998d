"""Evaluation of a model on a split of its data: metrics, tables and pictures."""

from clan_tf.evaluation.evaluate import Evaluation, evaluate
from clan_tf.evaluation.metrics import (
    Bin,
    Share,
    calibration_error,
    confused_pairs,
    expected_calibration_error,
    reliability_bins,
    top_k_accuracy,
)
from clan_tf.evaluation.photos import check_noted, experiment_of, read_noted, require_same_classes
from clan_tf.evaluation.tables import EVALUATE_AGAIN, read_predictions

__all__ = [
    "EVALUATE_AGAIN",
    "Bin",
    "Evaluation",
    "Share",
    "calibration_error",
    "check_noted",
    "confused_pairs",
    "evaluate",
    "expected_calibration_error",
    "experiment_of",
    "read_noted",
    "read_predictions",
    "reliability_bins",
    "require_same_classes",
    "top_k_accuracy",
]
