"""Evaluation of a model on a split of its data: metrics, tables and pictures."""

from clan_tf.evaluation.calibrate import CalibrationResult, calibrate
from clan_tf.evaluation.cells import DRAWN, Cells
from clan_tf.evaluation.classes import with_model_classes, without_photos
from clan_tf.evaluation.confusion import average_rows
from clan_tf.evaluation.current import current_evaluation
from clan_tf.evaluation.evaluate import Evaluation, evaluate
from clan_tf.evaluation.groups import Groups, interval_text
from clan_tf.evaluation.levels import Levels, accuracy_rows, mean_height_text, severity_rows
from clan_tf.evaluation.metrics import (
    Bin,
    Estimate,
    Share,
    calibration_error,
    calibration_figures,
    calibration_rows,
    calibration_text,
    reliability_bins,
    top_k_accuracy,
)
from clan_tf.evaluation.photos import check_noted, experiment_of, note_on_folds, other_config, read_noted
from clan_tf.evaluation.selective import RiskPoint, Selective, rejection_text, risk_curve, risk_rows
from clan_tf.evaluation.tables import read_predictions
from clan_tf.evaluation.unknown import Unknown, score_rows, unknown_text
from clan_tf.run.evaluation_folder import EVALUATE_AGAIN

__all__ = [
    "DRAWN",
    "EVALUATE_AGAIN",
    "Bin",
    "CalibrationResult",
    "Cells",
    "Estimate",
    "Evaluation",
    "Groups",
    "Levels",
    "RiskPoint",
    "Selective",
    "Share",
    "Unknown",
    "accuracy_rows",
    "average_rows",
    "calibrate",
    "calibration_error",
    "calibration_figures",
    "calibration_rows",
    "calibration_text",
    "check_noted",
    "current_evaluation",
    "evaluate",
    "experiment_of",
    "interval_text",
    "mean_height_text",
    "note_on_folds",
    "other_config",
    "read_noted",
    "read_predictions",
    "rejection_text",
    "reliability_bins",
    "risk_curve",
    "risk_rows",
    "score_rows",
    "severity_rows",
    "top_k_accuracy",
    "unknown_text",
    "with_model_classes",
    "without_photos",
]
