"""A network's exported files as contenders: what predicts for its users, opened in this process with all cores."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from clan_tf.benchmark.comparison import random_batch
from clan_tf.errors import CheckFailed, UserError
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.pruning import inference_model
from clan_tf.export.saved_model import write_servable
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.models import BranchClassifier
from clan_tf.runtime import Contract
from clan_tf.runtime.exported import PROBABILITIES, cores
from clan_tf.runtime.worker_process import open_onnx, open_tflite

SAVED_MODEL, ONNX, TFLITE, INT8 = "SavedModel", "ONNX", "TFLite", "TFLite, int8"
CALIBRATION_PHOTOS = 8

Prediction = Callable[[np.ndarray], np.ndarray]
"""From photos, uint8 `(1, image_size, image_size, 3)`, to their combined probabilities."""


def open_exports(model: BranchClassifier, folder: Path) -> tuple[dict[str, Prediction], list[str]]:
    """Exports a model in every format, and opens the files.

    Photos have the size that the model sees, so that no file resizes them.

    Args:
        model: the model.
        folder: an empty folder for the files, which are needed as long as the predictions.

    Returns:
        The predictions by format, and a note for each format that can't be measured.
    """
    network = inference_model(model, model.branches)
    size = model.image_size
    contracts = {
        input_size: Contract(
            class_names=tuple(map(str, range(model.classes))),
            image_size=size,
            resize_size=size,
            resize_mode="stretch",
            input_size=input_size,
            branches=model.branches,
        )
        for input_size in (None, size)
    }
    calibration = list(np.rint(random_batch(size, model.classes, CALIBRATION_PHOTOS)[0]).astype("uint8"))

    def tflite(name: str, **how: Any) -> Prediction:
        path = folder / f"{name}.tflite"
        path.write_bytes(classifier_to_tflite(network, size, io="uint8", **how))
        return _probabilities(open_tflite(str(path), cores()))

    def onnx() -> Prediction:
        path = folder / "model.onnx"
        path.write_bytes(classifier_to_onnx(network, contracts[size]))
        return _probabilities(open_onnx(str(path), cores()))

    def saved_model() -> Prediction:
        write_servable(network, contracts[None], folder / "1")
        serve = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]
        return lambda photos: serve(photos=tf.constant(photos))[PROBABILITIES].numpy()

    opened, notes = {}, []
    for name, open_one in {
        SAVED_MODEL: saved_model,
        ONNX: onnx,
        TFLITE: lambda: tflite("float32"),
        INT8: lambda: tflite("int8", quantization="int8", calibration=calibration),
    }.items():
        try:
            opened[name] = open_one()
        except (UserError, CheckFailed, ImportError) as error:
            notes.append(f"{name} isn't measured: {error}")
    return opened, notes


def own_probabilities(model: keras.Model, photos: np.ndarray, name: str) -> np.ndarray:
    """Computes the Keras model's output `name` for uint8 photos, as the exported files see them."""
    return keras.ops.convert_to_numpy(model(photos.astype("float32"), training=False)[name])


def _probabilities(answer: Callable[[np.ndarray], Mapping[str, np.ndarray]]) -> Prediction:
    return lambda photos: answer(photos)[PROBABILITIES]
