"""Quantized files in which the layers that suffer most stay float32."""

import re
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from clan_tf.errors import UserError, nearest
from clan_tf.export.options import CALIBRATED, Quantization
from clan_tf.runtime.exported import PROBABILITIES
from clan_tf.silence import silenced

_SIGNATURE = "serving_default"
_RANKED_ON = 24
"""How many calibration photos tell how much a layer suffers."""
_FLOAT16 = [
    {
        "regex": ".*",
        "operation": "*",
        "algorithm_key": "float_casting",
        "op_config": {
            "weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"},
            "compute_precision": "FLOAT",
            "explicit_dequantize": True,
        },
    }
]
"""ai-edge-quantizer's recipe for float16 weights, of which it has no ready one."""


class SelectiveQuantizer:
    """Quantizes a float32 file to float16 or int8, all of it or without some layers, by ai-edge-quantizer.

    Args:
        float_file: what `classifier_to_tflite` gives, without quantization.
        model: the model it was made of, whose layers have the names.
        quantization: `float16` or `int8`.
        calibration: photos as the file takes them, uint8.

    Raises:
        UserError: if ai-edge-quantizer isn't installed.
    """

    def __init__(
        self, float_file: bytes, model: keras.Model, quantization: Quantization, calibration: Sequence[np.ndarray]
    ) -> None:
        try:
            from ai_edge_quantizer import quantizer, recipe
        except ImportError as error:
            raise UserError("--keep-float: needs ai-edge-quantizer: pip install clan-tf[export].") from error
        self._file, self._quantizer = float_file, quantizer
        self._recipe = _FLOAT16 if quantization == "float16" else recipe.static_wi8_ai8()
        self.layers = _layers_that_compute(model)
        self._photos = list(calibration)
        self._calibration = self._calibrate() if quantization in CALIBRATED else None

    def quantize(self, keep_float: Sequence[str]) -> bytes:
        """The file with these of `layers` in float32."""
        with silenced():
            return bytes(self._quantizer_without(keep_float).quantize(self._calibration).quantized_model)

    def layers_to_keep(
        self, ranked: Sequence[str], photos: Sequence[np.ndarray], labels: np.ndarray, max_drop: float
    ) -> Iterator[Sequence[str]]:
        """The layers to keep in float32: of those that suffer most 1, 2, 4 …, half of all at most.

        Begins with the first of these numbers for which the accuracy of some photos drops little enough.

        Args:
            ranked: of `ranked_layers`.
            photos: as the file takes them; not those that the gate compares on.
            labels: their labels.
            max_drop: by how many percentage points the accuracy may be lower than the float file's.
        """

        def accuracy(file: bytes) -> float:
            return float((_answers(file, photos).argmax(axis=1) == labels).mean())

        whole, count = accuracy(self._file), 1
        while count < len(ranked) and 100 * (whole - accuracy(self.quantize(ranked[:count]))) > max_drop:
            count *= 2
        while count <= len(ranked) // 2:
            yield ranked[:count]
            count *= 2

    def ranked_layers(self, on_layer: Callable[[], None] = lambda: None) -> list[str]:
        """The layers, those first that change the answers most when they alone are quantized."""
        photos = self._photos[:_RANKED_ON]
        expected = _answers(self._file, photos)
        harm = {}
        for layer in self.layers:
            others = [name for name in self.layers if name != layer]
            harm[layer] = float(np.abs(_answers(self.quantize(others), photos) - expected).mean())
            on_layer()
        return sorted(self.layers, key=harm.__getitem__, reverse=True)

    def _calibrate(self):
        dtype = _input_dtype(self._file)
        examples = [{"photos": photo[None].astype(dtype)} for photo in self._photos]
        with silenced():
            return self._quantizer_without(()).calibrate({_SIGNATURE: examples})

    def _quantizer_without(self, layers: Sequence[str]):
        quantizer = self._quantizer.Quantizer(bytearray(self._file))
        quantizer.load_quantization_recipe(self._recipe)
        # Photos and probabilities keep their types; MediaPipe doesn't take int8 photos.
        for operation in ("INPUT", "OUTPUT"):
            quantizer.update_quantization_recipe(".*", operation, algorithm_key="no_quantize")
        for layer in layers:
            quantizer.update_quantization_recipe(_scope(layer), "*", algorithm_key="no_quantize")
        return quantizer


def require_layers(names: Sequence[str], model: keras.Model) -> None:
    """Raises a `UserError` for a name that isn't that of a layer which computes."""
    layers = _layers_that_compute(model)
    for name in names:
        if name not in layers:
            raise UserError(
                f"--keep-float: no layer {name!r}.{nearest(name, layers)} Layers that compute: {', '.join(layers)}."
            )


def _layers_that_compute(model: keras.Model) -> list[str]:
    """Names of the layers of a model, and of the models in it, that become operators, in their order."""
    names = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            names += [inner.name for inner in layer.layers if inner.weights and not _is_folded_away(inner)]
        elif not isinstance(layer, keras.layers.InputLayer):
            names.append(layer.name)
    return names


def _is_folded_away(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _scope(layer: str) -> str:
    """Finds the layer in an operator's name, where Keras may number it."""
    return rf"(^|/){re.escape(layer)}(_\d+)?(/|;|$)"


def _input_dtype(file: bytes) -> np.dtype:
    return _runner(file).get_input_details()["photos"]["dtype"]


def _answers(file: bytes, photos: Sequence[np.ndarray]) -> np.ndarray:
    runner = _runner(file)
    dtype = runner.get_input_details()["photos"]["dtype"]
    return np.concatenate([runner(photos=photo[None].astype(dtype))[PROBABILITIES] for photo in photos])


def _runner(file: bytes):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=file).get_signature_runner(_SIGNATURE)
