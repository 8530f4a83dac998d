"""Warm-up requests: TensorFlow Serving runs them when it loads a model, so that the first call isn't slow."""

from io import BytesIO
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(folder: Path, size: int, io: str, signatures: list[str]) -> None:
    """Writes a request with one grey photo for each signature of a SavedModel folder.

    Args:
        folder: the SavedModel.
        size: side of the photo in pixels.
        io: the type of photos that `serving_default` and `explain` take.
        signatures: the names of the signatures.
    """
    path = folder / WARMUP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            writer.write(_prediction_log(signature, _photos(signature, size, io)))


def _photos(signature: str, size: int, io: str) -> tf.Tensor:
    photo = np.full((size, size, 3), 128, "uint8")
    if signature == "serve_bytes":
        encoded = BytesIO()
        Image.fromarray(photo).save(encoded, "JPEG")
        return tf.constant([encoded.getvalue()])
    dtype = signature.removeprefix("serve_") if signature.startswith("serve_") else io
    return tf.constant(photo[None], dtype)


def _prediction_log(signature: str, photos: tf.Tensor) -> bytes:
    """Serializes a `tensorflow.serving.PredictionLog` that holds a `PredictRequest`.

    The messages are written field by field (tensorflow_serving/apis/prediction_log.proto, predict.proto, model.proto):
    the package with their classes would be another dependency for these six lines.
    """
    model_spec = _field(3, signature.encode())
    tensor = tf.make_tensor_proto(photos).SerializeToString()
    inputs = _field(1, b"photos") + _field(2, tensor)
    request = _field(1, model_spec) + _field(2, inputs)
    return _field(6, _field(1, request))


def _field(number: int, content: bytes) -> bytes:
    """Encodes a field of bytes in the wire format of protocol buffers: tag, length, content."""
    length, digits = len(content), []
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *digits, length]) + content
