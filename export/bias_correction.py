"""Correction of biases for what the rounding of weights to integers adds to an operator's outputs on average."""

from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from clan_tf.export.batch_norm import same_padding
from clan_tf.export.flatbuffer import read_tflite, run_photos, write_tflite

_CONVOLUTION = schema.BuiltinOperator.CONV_2D
_DEPTHWISE = schema.BuiltinOperator.DEPTHWISE_CONV_2D
_DENSE = schema.BuiltinOperator.FULLY_CONNECTED
_INPUT, _WEIGHTS, _BIAS = range(3)
_DTYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("float32"),
    schema.TensorType.INT8: np.dtype("int8"),
    schema.TensorType.INT32: np.dtype("int32"),
    schema.TensorType.INT64: np.dtype("int64"),
}
_BIAS_OF_INPUT = {
    schema.TensorType.FLOAT32: schema.TensorType.FLOAT32,
    schema.TensorType.INT8: schema.TensorType.INT32,
    schema.TensorType.INT16: schema.TensorType.INT64,
}
"""The type of a bias by that of the operator's input."""
_ROUNDING = 0.51
"""How far a rounded weight can be from what it was, in steps of the integers."""


class BiasCorrection:
    """Corrects the biases of quantized files, so that rounded weights leave the mean of each channel as it was.

    With weights `W` that became `Q`, the outputs of a convolution or a dense layer change by `(Q - W) x`. The mean of
    that over photos and positions, by channel, is subtracted from the bias: with the inputs `x` that the operator has
    in the float file, its outputs then have their mean but for the rounding of the bias. What rounded activations and
    the operators before add isn't corrected.

    Args:
        float_file: the float32 `.tflite` file of the same model.
        photos: input photos of the file, uint8 `(input_size, input_size, 3)`; not those that the gate compares on.
        on_photo: called after each photo, for progress.

    Reference:
        Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2.
        They take the inputs from statistics of batch normalisation, or run the layers before already quantized.
    """

    def __init__(
        self, float_file: bytes, photos: Sequence[np.ndarray], on_photo: Callable[[], None] = lambda: None
    ) -> None:
        graph = _Graph(float_file)
        linear = graph.linear_operators()
        inputs = sorted({each.input_number for each in linear.values()})
        means: list[Any] = [0.0] * len(inputs)
        for values in run_photos(float_file, photos, inputs):
            means = [mean + value / np.float32(len(photos)) for mean, value in zip(means, values, strict=True)]
            on_photo()
        maps = dict(zip(inputs, means, strict=True))
        self._known = {
            name: _Known(graph.constant(each.weights), graph.bias(each), _mean_window(each, maps[each.input_number]))
            for name, each in linear.items()
        }

    def correct(self, quantized: bytes) -> bytes:
        """Returns a file whose operators with integer weights have corrected biases; its other operators stay.

        Operators are found by the name of their output; where their weights aren't those of the float file, rounded,
        they stay, too.
        """
        graph = _Graph(quantized)
        for name, each in graph.linear_operators().items():
            known, weights = self._known.get(name), graph.constant(each.weights)
            if known is None or _is_float(each.weights) or weights.shape != known.weights.shape:
                continue
            rounding = weights - known.weights
            if (np.abs(rounding) <= _ROUNDING * _scales(each.weights)).all():
                graph.set_bias(each, known.bias - _mean_output(each.kind, rounding, known.window))
        return write_tflite(graph.model)


@dataclass(frozen=True)
class _Known:
    """What is known of an operator from the float file.

    Attributes:
        weights: float32.
        bias: `(channels,)`, or 0.
        window: the mean of what the weights are multiplied by, `(height, width, input channels)`, or `(inputs,)`.
    """

    weights: np.ndarray
    bias: np.ndarray
    window: np.ndarray


@dataclass(frozen=True)
class _Linear:
    """An operator that multiplies its input by constant weights, and adds a bias.

    Attributes:
        operator: the operator.
        kind: convolution, depthwise convolution or dense layer.
        weights: the tensor of its weights.
    """

    operator: schema.OperatorT
    kind: int
    weights: schema.TensorT

    @property
    def input_number(self) -> int:
        """The number of the tensor that it multiplies by its weights."""
        return int(self.operator.inputs[_INPUT])

    @property
    def bias_number(self) -> int:
        """The number of the tensor of its bias, or -1."""
        return int(self.operator.inputs[_BIAS]) if len(self.operator.inputs) > _BIAS else -1


class _Graph:
    """The operators of a file and the constants that they use."""

    def __init__(self, file: bytes) -> None:
        self.model = read_tflite(file)
        self._graph = self.model.subgraphs[0]

    def linear_operators(self) -> dict[str, _Linear]:
        """Returns those with constant weights by the name of their output, which a quantized file doesn't change."""
        names = Counter(self._output_name(each) for each in self._graph.operators)
        found = {}
        for operator in self._graph.operators:
            code = self.model.operatorCodes[operator.opcodeIndex]
            kind, name = max(code.builtinCode, code.deprecatedBuiltinCode), self._output_name(operator)
            if kind in (_CONVOLUTION, _DEPTHWISE, _DENSE) and names[name] == 1:
                weights = self._graph.tensors[operator.inputs[_WEIGHTS]]
                is_known = weights.type in (schema.TensorType.FLOAT32, schema.TensorType.INT8)
                if is_known and self.model.buffers[weights.buffer].data is not None:
                    found[name] = _Linear(operator, kind, weights)
        return found

    def constant(self, tensor: schema.TensorT) -> np.ndarray:
        """Returns what a tensor holds: float32 as it is stored, integers multiplied by their scales, float64."""
        stored = np.asarray(self.model.buffers[tensor.buffer].data, "uint8").view(_DTYPES[tensor.type])
        stored = stored.reshape(tensor.shape)
        return stored if _is_float(tensor) else stored * _scales(tensor)

    def bias(self, linear: _Linear) -> np.ndarray:
        """Returns the bias of an operator, `(channels,)`; 0 if it has none."""
        number = linear.bias_number
        return self.constant(self._graph.tensors[number]) if number >= 0 else np.zeros(1, "float32")

    def set_bias(self, linear: _Linear, values: np.ndarray) -> None:
        """Gives an operator a bias `(channels,)`; others that shared the old one keep it."""
        number, tensors = linear.bias_number, self._graph.tensors
        bias = copy(tensors[number]) if number >= 0 else self._no_bias(linear, len(values))
        if number < 0 or self._readers(number) > 1:
            bias.buffer = len(self.model.buffers)
            bias.name = f"bias_{len(tensors)}".encode()
            self.model.buffers.append(schema.BufferT())
            linear.operator.inputs = [*linear.operator.inputs[:_BIAS], len(tensors)]
            tensors.append(bias)
        dtype = _DTYPES[bias.type]
        if not _is_float(bias):
            limits = np.iinfo(dtype)
            # Channels without weights have scales so small that their biases don't fit. Half: more is added to them.
            values = np.clip(np.rint(values / _scales(bias)), limits.min / 2, limits.max / 2)
        self.model.buffers[bias.buffer].data = np.frombuffer(values.astype(dtype).tobytes(), "uint8")

    def _output_name(self, operator: schema.OperatorT) -> str:
        name: bytes = self._graph.tensors[operator.outputs[0]].name
        return name.decode()

    def _readers(self, number: int) -> int:
        """Counts the operators' inputs that read the same buffer as a tensor."""
        buffer = self._graph.tensors[number].buffer
        same = {index for index, tensor in enumerate(self._graph.tensors) if tensor.buffer == buffer}
        return sum(each in same for operator in self._graph.operators for each in operator.inputs)

    def _no_bias(self, linear: _Linear, channels: int) -> schema.TensorT:
        taken = self._graph.tensors[linear.input_number]
        bias = schema.TensorT()
        bias.shape, bias.type = [channels], _BIAS_OF_INPUT[taken.type]
        if not _is_float(bias):
            bias.quantization = schema.QuantizationParametersT()
            scales = np.ravel(_scales(linear.weights)) * _scales(taken)
            bias.quantization.scale, bias.quantization.zeroPoint = list(scales), [0] * len(scales)
        return bias


def _is_float(tensor: schema.TensorT) -> bool:
    return tensor.type == schema.TensorType.FLOAT32


def _scales(tensor: schema.TensorT) -> np.ndarray:
    """Returns what a tensor's integers are multiplied by, in a shape that can be; zero points of weights are 0."""
    scales = np.asarray(tensor.quantization.scale, "float64")
    if len(scales) == 1:
        return scales[0]
    shape = np.ones(len(tensor.shape), int)
    shape[tensor.quantization.quantizedDimension] = len(scales)
    return scales.reshape(shape)


def _mean_window(linear: _Linear, inputs: np.ndarray) -> np.ndarray:
    """Returns the mean, over the positions of the outputs, of what each weight is multiplied by.

    Args:
        linear: the operator.
        inputs: its mean input, `(1, height, width, channels)`, or for a dense layer with `inputs` numbers at the end.

    Returns:
        `(kernel height, kernel width, channels)`, or `(inputs,)` for a dense layer.
    """
    shape, options = linear.weights.shape, linear.operator.builtinOptions
    if linear.kind == _DENSE:
        return inputs.reshape(-1, shape[1]).mean(axis=0, dtype="float64")
    strides = options.strideH, options.strideW
    dilations = options.dilationHFactor, options.dilationWFactor
    kernel = tuple(shape[1:3])
    spans = [1 + dilation * (length - 1) for dilation, length in zip(dilations, kernel, strict=True)]
    map_ = inputs[0]
    if options.padding == schema.Padding.SAME:
        added = [same_padding(*each) for each in zip(map_.shape, spans, strides, strict=False)]
        map_ = np.pad(map_, [*added, (0, 0)])
    window = np.empty((*kernel, map_.shape[2]))
    for row, column in np.ndindex(kernel):
        # The part of the map that this weight meets while the kernel moves.
        parts = [
            slice(start * dilation, length - span + start * dilation + 1, stride)
            for start, dilation, length, span, stride in zip(
                (row, column), dilations, map_.shape, spans, strides, strict=False
            )
        ]
        window[row, column] = map_[tuple(parts)].mean(axis=(0, 1), dtype="float64")
    return window


def _mean_output(kind: int, weights: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Returns the mean output of an operator with other weights, `(channels,)`, from its mean window."""
    if kind == _DENSE:
        return weights @ window
    if kind == _DEPTHWISE:  # (1, height, width, channels * multiplier)
        return (weights[0] * np.repeat(window, weights.shape[3] // window.shape[2], axis=2)).sum(axis=(0, 1))
    groups = window.shape[2] // weights.shape[3]
    grouped = weights.reshape(groups, -1, *weights.shape[1:])
    return np.einsum("gohwi,hwgi->go", grouped, window.reshape(*window.shape[:2], groups, -1)).ravel()
