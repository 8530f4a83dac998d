"""What a user should know about their photos before training on them."""

from clan_tf.data.check.checked import check_splits
from clan_tf.data.check.quarantine import Quarantine, choose_quarantined, write_quarantine
from clan_tf.data.check.readiness import require_ready, training_problems
from clan_tf.data.check.report import DataReport, check_data

__all__ = [
    "DataReport",
    "Quarantine",
    "check_data",
    "check_splits",
    "choose_quarantined",
    "require_ready",
    "training_problems",
    "write_quarantine",
]
