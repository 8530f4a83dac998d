"""TensorFlow Lite."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from clan_tf.export.saved_model import write_saved_model


def to_tflite(model: keras.Model) -> bytes:
    """The model as a float32 `.tflite` file that needs built-in operators only.

    Converted by way of a SavedModel: TensorFlow's direct conversion of a Keras 3 model gives NaN without an error.

    Raises:
        Exception: TensorFlow's `ConverterError`, naming the operators that aren't built in.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(model, Path(folder) / "saved_model")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "saved_model"))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()
