"""A network's exported files as contenders: what predicts for its users, opened in this process with all cores."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from clan_tf.benchmark.comparison import Difference, output_difference, random_batch
from clan_tf.choices import chosen_weights
from clan_tf.export.onnx import classifier_to_onnx
from clan_tf.export.pruning import inference_model
from clan_tf.export.saved_model import write_servable
from clan_tf.export.tflite import classifier_to_tflite
from clan_tf.in_parallel import cores
from clan_tf.models import COMBINED, BranchClassifier
from clan_tf.runtime import Contract
from clan_tf.runtime.contract import contract_temperatures
from clan_tf.runtime.exported import PROBABILITIES
from clan_tf.runtime.worker_process import open_onnx, open_tflite

INT8 = "TFLite, int8"
CALIBRATION_PHOTOS = 8

Prediction = Callable[[np.ndarray], np.ndarray]
"""From photos, uint8 `(1, image_size, image_size, 3)`, to their combined probabilities."""


class ExportedContenders:
    """The exported files of a model that predict a random photo as the model does.

    Photos have the size that the model sees, so that no file resizes them.

    Args:
        model: the model.
        folder: an empty folder for the files, which are needed as long as the calls.

    Attributes:
        calls: predicts the photo, by format.
        differences: how far the probabilities are from the model's; not of int8.
        notes: why formats aren't measured.
    """

    def __init__(self, model: BranchClassifier, folder: Path) -> None:
        self._model, self._folder = model, folder
        self._network = inference_model(model, model.branches)
        self._photos = np.rint(random_batch(model.image_size, model.classes, 1)[0]).astype("uint8")
        outputs = model(self._photos.astype("float32"), training=False)
        self._own = {COMBINED: keras.ops.convert_to_numpy(outputs[COMBINED])}
        self.calls: dict[str, Callable[[], Any]] = {}
        self.differences: list[Difference] = []
        self.notes = [f"{INT8} isn't compared: its calibration photos are random."]
        formats: dict[str, Callable[[], Prediction]] = {
            "SavedModel": self._saved_model,
            "ONNX": self._onnx,
            "TFLite": self._tflite,
            INT8: partial(self._tflite, "int8"),
        }
        for name, open_one in formats.items():
            try:
                self._add(name, open_one())
            # Converters and runtimes raise anything for networks that they can't take.
            except Exception as error:  # noqa: BLE001
                self.notes.append(f"{name} isn't measured: {error}")

    def _add(self, name: str, predict: Prediction) -> None:
        difference = output_difference(name, self._own, {COMBINED: predict(self._photos)})
        if name != INT8:
            if not difference.largest <= difference.limit:
                raise ValueError(f"its probabilities differ by {difference.largest:.1e} of the largest")
            self.differences.append(difference)
        self.calls[name] = partial(predict, self._photos)

    def _contract(self, input_size: int | None) -> Contract:
        model = self._model
        names, size = tuple(map(str, range(model.classes))), model.image_size
        weights = chosen_weights(model.branches, model.branch_weights) or ()
        return Contract(
            names,
            size,
            size,
            "stretch",
            input_size,
            model.branches,
            model.combination,
            branch_weights=weights,
            temperatures=contract_temperatures(model.branches, model.temperatures),
        )

    def _saved_model(self) -> Prediction:
        write_servable(self._network, self._contract(None), self._folder / "1")
        serve = tf.saved_model.load(str(self._folder / "1")).signatures["serving_default"]
        return lambda photos: serve(photos=tf.constant(photos))[PROBABILITIES].numpy()

    def _onnx(self) -> Prediction:
        path = self._folder / "model.onnx"
        path.write_bytes(classifier_to_onnx(self._network, self._contract(self._model.image_size)))
        answer = open_onnx(str(path), cores())
        return lambda photos: answer(photos)[PROBABILITIES]

    def _tflite(self, quantization: Any = "none") -> Prediction:
        size, path = self._model.image_size, self._folder / f"{quantization}.tflite"
        calibration: list[np.ndarray] = []
        if quantization == "int8":
            calibration = list(np.rint(random_batch(size, self._model.classes, CALIBRATION_PHOTOS)[0]).astype("uint8"))
        path.write_bytes(classifier_to_tflite(self._network, size, quantization, "uint8", calibration=calibration))
        answer = open_tflite(str(path), cores())
        return lambda photos: answer(photos)[PROBABILITIES]
