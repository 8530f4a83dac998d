"""Export to ONNX, for ONNX Runtime and the many programs that read its files; converted by tf2onnx."""

import keras
import tensorflow as tf

from clan_tf.errors import UserError
from clan_tf.export.options import Io
from clan_tf.export.photo_function import photo_function
from clan_tf.runtime import Contract
from clan_tf.runtime.contract import CONTRACT_FILE, LABELS_FILE
from clan_tf.silence import silenced

OPSET = 18
"""The version of ONNX's operator set: every ONNX Runtime since 1.14 (2023) supports it."""


def classifier_to_onnx(model: keras.Model, contract: Contract, io: Io = "uint8") -> bytes:
    """Converts a classifier to an ONNX file from any number of photos, RGB in 0…255, to float32 `probabilities`.

    Labels and contract are in its metadata, as `labels.txt` and `clan_tf.json`.

    Args:
        model: a model from `inference_model`.
        contract: a contract with an `input_size`, the side of the square photos that the file takes.
        io: the type of the photos.

    Raises:
        UserError: if tf2onnx isn't installed.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise UserError("--format onnx: needs tf2onnx and ONNX Runtime: pip install clan-tf[onnx].") from error
    size = contract.input_size
    photos = tf.TensorSpec((None, size, size, 3), io, name="photos")
    with silenced():
        converted, _ = tf2onnx.convert.from_function(photo_function(model, size), [photos], opset=OPSET)
    onnx.helper.set_model_props(converted, {LABELS_FILE: contract.labels, CONTRACT_FILE: contract.to_json()})
    return converted.SerializeToString()
