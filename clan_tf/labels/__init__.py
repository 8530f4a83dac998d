"""Which photos are probably mislabelled, by confident learning; from the extra `labels`."""

from clan_tf.errors import UserError

try:
    import cleanlab  # noqa: F401
except ImportError as error:
    raise UserError("clan-tf data labels needs cleanlab: pip install 'clan-tf[labels]'") from error

from clan_tf.labels.mislabelled import find_mislabelled
from clan_tf.labels.report import LabelReport, RankedPhoto
from clan_tf.labels.table import write_labels

__all__ = ["LabelReport", "RankedPhoto", "find_mislabelled", "write_labels"]
