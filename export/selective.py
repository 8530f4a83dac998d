"""Quantized files in which the layers with the largest error per byte stay in float32."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from clan_tf.errors import UserError, nearest
from clan_tf.export.bias_correction import BiasCorrection
from clan_tf.export.flatbuffer import activation_ranges, input_dtype
from clan_tf.export.gate import Limits, compare, failed_limits
from clan_tf.export.options import CALIBRATED, Quantization
from clan_tf.layers.sampling import Resampler
from clan_tf.runtime import Contract, ExportedModel
from clan_tf.runtime.exported import PROBABILITIES
from clan_tf.silence import silenced

_SIGNATURE = "serving_default"
_ANSWER = "^StatefulPartitionedCall"
"""The operator that outputs the probabilities: in int8 they would have steps of 1/256."""
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
"""A recipe for float16 weights, which ai-edge-quantizer doesn't provide."""


class SelectiveQuantizer:
    """Quantizes a float32 file with ai-edge-quantizer, entirely or except for some layers.

    Args:
        float_file: a file from `classifier_to_tflite`, without quantization.
        model: the model that it was converted from, for the names of layers.
        contract: labels and preprocessing of the file.
        quantization: one of `SELECTIVE`.
        calibration: for `int8`, input photos of the file, uint8; not those that the gate compares on.
        correction: corrects the biases beside integer weights, if given.

    Raises:
        UserError: if ai-edge-quantizer isn't installed.
    """

    def __init__(
        self,
        float_file: bytes,
        model: keras.Model,
        contract: Contract,
        quantization: Quantization,
        calibration: Sequence[np.ndarray] = (),
        correction: BiasCorrection | None = None,
    ) -> None:
        try:
            from ai_edge_quantizer import quantizer, recipe
        except ImportError as error:
            raise UserError("Layers in float32 need ai-edge-quantizer: pip install clan-tf[export].") from error
        self._file, self._contract, self._quantizer = float_file, contract, quantizer
        self._correction = correction
        recipes = {"dynamic": recipe.dynamic_wi8_afp32, "int8": recipe.static_wi8_ai8, "float16": lambda: _FLOAT16}
        self._recipe = recipes[quantization]()
        self.layers = _layers_that_compute(model)
        self._locating = layers_that_locate(model)
        self._calibration = self._calibrate(calibration) if quantization in CALIBRATED else None

    def quantize(self, keep_float: Sequence[str]) -> bytes:
        """Quantizes the file, except that `keep_float` layers stay in float32."""
        with silenced():
            file = bytes(self._quantizer_without(keep_float).quantize(self._calibration).quantized_model)
        return self._correction.correct(file) if self._correction else file

    def layers_to_keep(
        self, ranked: Sequence[str], photos: Sequence[np.ndarray], labels: np.ndarray, limits: Limits
    ) -> Iterator[Sequence[str]]:
        """Yields the layers to keep in float32: the first 1, 2, 3, 5, 8, 12 …, at most half of all.

        Where a model looks at a part of the photo that it has chosen, a small error can move that part. So the last
        choices are all layers that choose (`layers_that_locate`), however many.

        Starts with the first choice that meets the limits on some photos, or with the last one.

        Args:
            ranked: the layers from `ranked_layers`.
            photos: input photos of the file; not those that the gate compares on.
            labels: their labels.
            limits: the limits to meet, compared with the float file.

        Raises:
            UserError: if the runtime can't run one of the files.
        """
        expected = self._answers(self._file, photos)

        def fails(kept: Sequence[str]) -> list[str]:
            answers = self._answers(self.quantize(kept), photos)
            figures = compare({PROBABILITIES: expected}, {PROBABILITIES: answers}, labels, limits.margin)
            return failed_limits(figures, limits)

        choices, count = [], 1
        while count <= len(ranked) // 2:
            choices.append(ranked[:count])
            count += (count + 1) // 2
        choices += self._locating
        yield from dropwhile(lambda kept: kept is not choices[-1] and fails(kept), choices)

    def ranked_layers(self, photos: Sequence[np.ndarray], on_layer: Callable[[], None] = lambda: None) -> list[str]:
        """Ranks the layers, first those that should stay in float32.

        The rank is the change of the probabilities when only this layer is quantized, per byte that this saves; layers
        smaller than the mean count as large as the mean.

        Args:
            photos: a few input photos of the file.
            on_layer: called after each layer, for progress.

        Raises:
            UserError: if the runtime can't run one of the files.
        """
        expected, none = self._answers(self._file, photos), self.quantize(self.layers)
        # Operators that belong to no layer are quantized with each of them.
        harm_of_none = float(np.abs(self._answers(none, photos) - expected).mean())
        harm, saved = {}, {}
        for layer in self.layers:
            file = self.quantize([name for name in self.layers if name != layer])
            harm[layer] = float(np.abs(self._answers(file, photos) - expected).mean()) - harm_of_none
            saved[layer] = max(len(none) - len(file), 0)
            on_layer()
        mean = max(sum(saved.values()) / len(saved), 1.0)
        return sorted(self.layers, key=lambda layer: harm[layer] / max(saved[layer], mean), reverse=True)

    def _answers(self, file: bytes, photos: Sequence[np.ndarray]) -> np.ndarray:
        """Computes probabilities `(photos, classes)` in a separate process: a file may make its runtime abort."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "candidate.tflite"
            path.write_bytes(file)
            with ExportedModel(path, contract=self._contract) as model:
                return np.concatenate([model(photo[None])[PROBABILITIES] for photo in photos])

    def _calibrate(self, photos: Sequence[np.ndarray]) -> Any:
        """Returns the ranges of activations as ai-edge-quantizer has them, but over all photos.

        It would take a moving average of each photo's range instead, and cut off what few photos reach.
        """
        with silenced():
            examples = [{"photos": photos[0][None].astype(input_dtype(self._file))}]
            ranges = self._quantizer_without(()).calibrate({_SIGNATURE: examples})
        observed = activation_ranges(self._file, photos)
        for name, each in ranges.items():
            if name in observed:
                for key, value in zip(("min", "max"), observed[name], strict=True):
                    each[key] = np.full_like(each[key], value)
        return ranges

    def _quantizer_without(self, layers: Sequence[str]) -> Any:
        quantizer = self._quantizer.Quantizer(bytearray(self._file))
        quantizer.load_quantization_recipe(self._recipe)
        # Photos and probabilities keep their types; MediaPipe doesn't accept int8 photos.
        for operation in ("INPUT", "OUTPUT"):
            quantizer.update_quantization_recipe(".*", operation, algorithm_key="no_quantize")
        quantizer.update_quantization_recipe(_ANSWER, "*", algorithm_key="no_quantize")
        for layer in layers:
            quantizer.update_quantization_recipe(_scope(layer), "*", algorithm_key="no_quantize")
        return quantizer


def require_layers(names: Sequence[str], model: keras.Model) -> None:
    """Raises a `UserError` for a name that is neither that of a layer with operators nor that of a network."""
    layers, networks = _layers_that_compute(model), [each.name for each in _networks(model)]
    for name in names:
        if name not in (*layers, *networks):
            raise UserError(
                f"--keep-float: no layer {name!r}.{nearest(name, [*layers, *networks])} Layers that compute: "
                f"{', '.join(layers)}; whole networks: {', '.join(networks)}."
            )


def layers_that_locate(model: keras.Model) -> list[list[str]]:
    """Lists the layers that decide which part of a photo a model looks at, and those that cut it out.

    Args:
        model: the model, with a network for each look; an ensemble of such models, too.

    Returns:
        Names, in order: first with the first of the networks that decide, then with the second, too, and so on.
        Empty if the model doesn't choose.
    """
    networks, between = [], []
    for part in (model, *_networks(model)):
        sources: dict[int, list[keras.Operation]] = {}
        for node in (each for of_depth in part._nodes_by_depth.values() for each in of_depth):
            operations = (tensor._keras_history.operation for tensor in node.input_tensors)
            sources.setdefault(id(node.operation), []).extend(operations)
        found: set[int] = set()
        waiting: list[keras.Operation] = [layer for layer in part.layers if isinstance(layer, Resampler)]
        while waiting:
            operation = waiting.pop()
            if id(operation) not in found:
                found.add(id(operation))
                waiting += sources[id(operation)]
        layers = [each for each in part.layers if id(each) in found and not isinstance(each, keras.layers.InputLayer)]
        networks += [each.name for each in layers if isinstance(each, keras.Model)]
        between += [each.name for each in layers if not isinstance(each, keras.Model)]
    networks, between = list(dict.fromkeys(networks)), list(dict.fromkeys(between))
    return [[*networks[:count], *between] for count in range(1 if networks else 0, len(networks) + 1) if between]


def _networks(model: keras.Model) -> Iterator[keras.Model]:
    """Yields the models inside a model, and those inside them."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield layer
            yield from _networks(layer)


def _layers_that_compute(model: keras.Model) -> list[str]:
    """Lists the names of layers of a model, and of the models in it, that become operators, in order."""
    names: list[str] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            names += _layers_with_weights(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            names.append(layer.name)
    return list(dict.fromkeys(names))  # two networks may have layers of the same names


def _layers_with_weights(network: keras.Model) -> Iterator[str]:
    for inner in network.layers:
        if isinstance(inner, keras.Model):  # the backbone of a member of an ensemble
            yield from _layers_with_weights(inner)
        elif inner.weights and not _is_folded_away(inner):
            yield inner.name


def _is_folded_away(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _scope(layer: str) -> str:
    """Returns a pattern that finds the layer in an operator's name, where Keras may number it."""
    return rf"(^|/){re.escape(layer)}(_\d+)?(/|;|$)"
