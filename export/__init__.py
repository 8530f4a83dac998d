"""Export of a trained model to files for other runtimes, and the check that their outputs agree."""

from clan_tf.errors import UserError

try:
    import ai_edge_litert  # noqa: F401
except ImportError as error:
    raise UserError("clan-tf export needs LiteRT: pip install 'clan-tf[export]'") from error

from clan_tf.export.comparison import Comparison
from clan_tf.export.export import Export, Exporter, export
from clan_tf.export.options import ExportOptions
from clan_tf.export.saved_model import write_saved_model
from clan_tf.export.tflite import tflite_bytes, to_tflite

__all__ = [
    "Comparison",
    "Export",
    "ExportOptions",
    "Exporter",
    "export",
    "tflite_bytes",
    "to_tflite",
    "write_saved_model",
]
