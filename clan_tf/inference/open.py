"""Opening a MODEL of any kind."""

from collections.abc import Sequence

from clan_tf.errors import UserError
from clan_tf.inference.exported_predictor import ExportedPredictor
from clan_tf.inference.locate import LocatedModel
from clan_tf.inference.predictor import Predictor


def open_predictor(model: LocatedModel, branches: Sequence[str] | None = None, batch_size: int = 32) -> Predictor:
    """Opens a model of any format; `.tflite` and `.onnx` files need no TensorFlow.

    Args:
        model: the located model.
        branches: which to combine; those that the model combines if `None`.
        batch_size: how many photos the model gets at a time, at most.

    Raises:
        UserError: if it can't be opened, or lacks a branch, or `batch_size` isn't positive.
        CheckFailed: if a Keras model's weights are NaN or infinite.
    """
    if batch_size < 1:
        raise UserError(f"batch_size: must be at least 1; received {batch_size}.")
    if model.is_exported:
        return ExportedPredictor.open(model, branches, batch_size)
    from clan_tf.inference.keras_predictor import KerasPredictor

    return KerasPredictor.open(model, branches, batch_size)
