"""From a model to files that other runtimes read."""

from clan_tf.export.saved_model import write_saved_model
from clan_tf.export.tflite import to_tflite

__all__ = ["to_tflite", "write_saved_model"]
