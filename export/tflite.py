"""Export to TensorFlow Lite, for phones."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from clan_tf.errors import CheckFailed
from clan_tf.export.options import CALIBRATED, Io, Quantization
from clan_tf.export.photo_function import photo_function
from clan_tf.export.pruning import inference_model
from clan_tf.export.saved_model import write_saved_model
from clan_tf.files import written_by_tensorflow
from clan_tf.models import BranchClassifier
from clan_tf.silence import silenced

_OperatorSet = tf.lite.OpsSet


def to_tflite(model: keras.Model) -> bytes:
    """Converts any Keras model to a float32 `.tflite` file that needs built-in operators only.

    It is converted via a SavedModel: TensorFlow's direct conversion of a Keras 3 model gives NaN without an error.

    Raises:
        CheckFailed: naming the operators that aren't built in, or if the converter fails otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(model, Path(folder) / "saved_model")
        return _convert(tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "saved_model")))


def tflite_bytes(model: BranchClassifier) -> bytes:
    """Converts a model to a float32 `.tflite` file of its combined prediction, without metadata."""
    return classifier_to_tflite(inference_model(model, model.branches), model.image_size)


def classifier_to_tflite(
    model: keras.Model,
    input_size: int,
    quantization: Quantization = "none",
    io: Io = "float32",
    any_batch: bool = False,
    calibration: Sequence[np.ndarray] = (),
) -> bytes:
    """Converts a classifier to a `.tflite` file from photos in RGB 0…255 to float32 probabilities.

    Args:
        model: a model from `inference_model`.
        input_size: side of the square photos that the file takes; the model sees their centre.
        quantization: `float16` and `dynamic` (int8) store the weights in less space; `int8` and `int16x8` (int16
            activations) also compute in integers.
        io: the type of the photos.
        any_batch: whether the file takes any number of photos at once, instead of one.
        calibration: for `int8` and `int16x8`, photos, uint8 `(input_size, input_size, 3)`.

    Raises:
        CheckFailed: naming the operators that aren't built in, or if the converter otherwise fails or scales uint8
            photos.
    """
    # An int8 file takes uint8 through the converter's own option, without a detour through floats.
    signature_io = "float32" if quantization == "int8" else io
    with tempfile.TemporaryDirectory() as folder:
        _write_signature(model, folder, input_size, signature_io, None if any_batch else 1)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        _quantize(converter, quantization, io, calibration)
        file = _convert(converter)
    if quantization == "int8" and io == "uint8":
        _require_levels(file)
    return file


def _require_levels(file: bytes) -> None:
    """Raises a `CheckFailed` unless photos are quantized with scale 1 and zero point 0, as users will assume."""
    from ai_edge_litert.interpreter import Interpreter

    scale, zero = Interpreter(model_content=file).get_input_details()[0]["quantization"]
    if (scale, zero) != (1.0, 0):
        raise CheckFailed(
            f"--io uint8: TFLite gives the photos the scale {scale:.4g} and the zero point {zero}, instead of "
            "1 and 0, for this model's preprocessing. Export with --io float32."
        )


def _write_signature(model: keras.Model, folder: str, input_size: int, io: Io, batch: int | None) -> None:
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    photos = tf.TensorSpec((batch, input_size, input_size, 3), io, name="photos")
    serve = photo_function(model, input_size)
    with written_by_tensorflow(Path(folder)):
        tf.saved_model.save(module, folder, signatures=serve.get_concrete_function(photos))


def _quantize(
    converter: tf.lite.TFLiteConverter, quantization: Quantization, io: Io, calibration: Sequence[np.ndarray]
) -> None:
    if quantization == "none":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization in CALIBRATED:
        signature_io = "float32" if quantization == "int8" else io
        converter.representative_dataset = lambda: _representative(calibration, signature_io)
    if quantization == "int8":
        converter.inference_input_type = tf.as_dtype(io)
    if quantization == "int16x8":
        integers = _OperatorSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [integers, _OperatorSet.TFLITE_BUILTINS]


def _representative(calibration: Sequence[np.ndarray], dtype: str) -> Iterator[dict[str, np.ndarray]]:
    for photo in calibration:
        example = photo[None].astype(dtype)
        # Makes the input's quantization exactly that of uint8 photos: scale 1, nothing clipped.
        example[0, 0, 0], example[0, -1, -1] = 0, 255
        yield {"photos": example}


def _convert(converter: tf.lite.TFLiteConverter) -> bytes:
    if _OperatorSet.TFLITE_BUILTINS not in converter.target_spec.supported_ops:
        converter.target_spec.supported_ops = [_OperatorSet.TFLITE_BUILTINS]
    try:
        # The converter warns about its own interpreter, and its C++ side logs how it quantizes.
        with silenced():
            return converter.convert()
    # `ConverterError` isn't public.
    except Exception as error:
        operators = sorted(set(re.findall(r"tf\.(\w+)' op is neither", str(error))))
        if operators:
            raise CheckFailed(f"TFLite has no built-in operators for: {', '.join(operators)}.") from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckFailed(f"TFLite's converter failed: {reason}") from error
