"""A MODEL of any kind, opened."""

from collections.abc import Sequence
from pathlib import Path

from clan_tf.inference.exported_predictor import ExportedPredictor
from clan_tf.inference.locate import locate
from clan_tf.inference.predictor import Predictor


def open_predictor(model: str | Path, branches: Sequence[str] | None = None, batch_size: int = 32) -> Predictor:
    """Opens MODEL, whatever runs it; `.tflite` and `.onnx` files need no TensorFlow.

    Args:
        model: a run directory, a `.keras`, `.tflite` or `.onnx` file, a SavedModel folder, or the folder of an export.
        branches: which to combine; all if `None`.
        batch_size: how many photos a Keras model answers at a time.

    Raises:
        UserError: if it can't be opened, or a branch isn't one of its.
        CheckFailed: if a Keras model's weights are NaN or infinite.
    """
    located = locate(model)
    if located.is_exported:
        return ExportedPredictor.open(located, branches)
    from clan_tf.inference.keras_predictor import KerasPredictor

    return KerasPredictor.open(located, branches, batch_size)
