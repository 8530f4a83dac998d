"""Correction of biases for what the rounding of weights to integers adds to an operator's outputs on average."""

from collections import Counter
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from clan_tf.export.flatbuffer import read_tflite, write_tflite
from clan_tf.export.observed import Observed

_KINDS = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)
_INPUT, _WEIGHTS, _BIAS = range(3)
_WEIGHT_TYPES = (schema.TensorType.FLOAT32, schema.TensorType.INT8)
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


class BiasCorrection:
    """Corrects the biases of quantized files, so that rounded weights leave the mean of each channel as it was.

    With weights `W` that became `Q`, a linear operator's outputs change by `(Q - W) x`. Its mean over the positions
    of some photos, by channel, is subtracted from the bias: exact for the operator alone, as its inputs are in the
    float file. Activations that saturate, and what earlier operators still change, aren't corrected.

    Args:
        float_file: the float32 `.tflite` file of the same model.
        observed: what passes between its operators for photos that the gate doesn't compare on, with the means of
            `inputs_of_linear`.

    Reference:
        Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2.
    """

    def __init__(self, float_file: bytes, observed: Observed) -> None:
        graph = _Graph(float_file)
        self._linear = {
            name: (graph.values(each.weights), observed.means[each.taken])
            for name, each in graph.linear_operators().items()
        }

    def correct(self, quantized: bytes) -> bytes:
        """Returns a file whose operators with integer weights have corrected biases; its other operators stay."""
        graph = _Graph(quantized)
        for name, each in graph.linear_operators().items():
            if name in self._linear and each.weights.type == schema.TensorType.INT8:
                weights, inputs = self._linear[name]
                graph.add_to_bias(each, -_mean_output(each, inputs, graph.values(each.weights) - weights))
        return write_tflite(graph.model)


def inputs_of_linear(file: bytes) -> list[int]:
    """Lists the numbers of the tensors that operators of a file multiply by constant weights."""
    return sorted({each.taken for each in _Graph(file).linear_operators().values()})


@dataclass(frozen=True)
class _Linear:
    """An operator that multiplies its input by constant weights, and adds a bias.

    Attributes:
        operator: the operator.
        kind: one of `_KINDS`.
        weights: the tensor of its weights.
    """

    operator: schema.OperatorT
    kind: int
    weights: schema.TensorT

    @property
    def taken(self) -> int:
        """The number of the tensor that it multiplies by its weights."""
        return int(self.operator.inputs[_INPUT])


class _Graph:
    """The operators of a file and the constants that they use."""

    def __init__(self, file: bytes) -> None:
        self.model = read_tflite(file)
        (self._graph,) = self.model.subgraphs

    def linear_operators(self) -> dict[str, _Linear]:
        """Returns those with constant weights by the name of their output, which a quantized file doesn't change."""
        names = Counter(self._output_name(each) for each in self._graph.operators)
        found = {}
        for operator in self._graph.operators:
            code = self.model.operatorCodes[operator.opcodeIndex]
            kind, name = max(code.builtinCode, code.deprecatedBuiltinCode), self._output_name(operator)
            if kind in _KINDS and names[name] == 1:
                weights = self._graph.tensors[operator.inputs[_WEIGHTS]]
                if weights.type in _WEIGHT_TYPES and self._data(weights) is not None:
                    found[name] = _Linear(operator, kind, weights)
        return found

    def _output_name(self, operator: schema.OperatorT) -> str:
        name: bytes = self._graph.tensors[operator.outputs[0]].name
        return name.decode()

    def values(self, tensor: schema.TensorT) -> np.ndarray:
        """Returns a constant as float64; integers are multiplied by their scales."""
        stored = np.frombuffer(bytes(self._data(tensor)), _DTYPES[tensor.type]).reshape(tensor.shape)
        return stored.astype("float64") if _is_float(tensor) else stored * _scales(tensor)

    def add_to_bias(self, linear: _Linear, added: np.ndarray) -> None:
        """Adds numbers `(channels,)` to the bias of an operator, which gets one if there is none.

        Operators may share a bias; the others keep theirs.
        """
        operator, tensors = linear.operator, self._graph.tensors
        number = operator.inputs[_BIAS] if len(operator.inputs) > _BIAS else -1
        bias = tensors[number] if number >= 0 else self._no_bias(linear, len(added))
        values = self.values(bias) if number >= 0 else np.zeros(len(added))
        stored = _DTYPES[bias.type]
        new = values + added if _is_float(bias) else np.rint((values + added) / _scales(bias))
        if number < 0 or self._uses(number) > 1:
            bias = copy(bias)
            bias.buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT())
            operator.inputs = [*operator.inputs[:_BIAS], len(tensors)]
            tensors.append(bias)
        self.model.buffers[bias.buffer].data = np.frombuffer(new.astype(stored).tobytes(), "uint8")

    def _uses(self, number: int) -> int:
        """Counts the inputs of operators that a constant's buffer is read for."""
        buffer = self._graph.tensors[number].buffer
        same = {index for index, tensor in enumerate(self._graph.tensors) if tensor.buffer == buffer}
        return sum(each in same for operator in self._graph.operators for each in operator.inputs)

    def _no_bias(self, linear: _Linear, channels: int) -> schema.TensorT:
        taken = self._graph.tensors[linear.taken]
        bias = schema.TensorT()
        bias.name, bias.shape, bias.type = b"bias", [channels], _BIAS_OF_INPUT[taken.type]
        if not _is_float(bias):
            bias.quantization = schema.QuantizationParametersT()
            scales = np.broadcast_to(np.ravel(_scales(linear.weights)) * _scales(taken), channels)
            bias.quantization.scale, bias.quantization.zeroPoint = list(scales), [0] * channels
        return bias

    def _data(self, tensor: schema.TensorT) -> Any:
        return self.model.buffers[tensor.buffer].data


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


def _mean_output(linear: _Linear, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean over the positions of what an operator with other weights makes of an input: `(channels,)`."""
    if linear.kind == schema.BuiltinOperator.FULLY_CONNECTED:
        return inputs.reshape(-1, weights.shape[1]).mean(axis=0) @ weights.T
    options = linear.operator.builtinOptions
    padding = "SAME" if options.padding == schema.Padding.SAME else "VALID"
    dilations = [options.dilationHFactor, options.dilationWFactor]
    if linear.kind == schema.BuiltinOperator.CONV_2D:
        strides = [options.strideH, options.strideW]
        outputs = tf.nn.conv2d(inputs, weights.transpose(1, 2, 3, 0), strides, padding, dilations=dilations)
    else:
        kernel = weights.reshape(*weights.shape[1:3], inputs.shape[3], -1)
        strides = [1, options.strideH, options.strideW, 1]
        outputs = tf.nn.depthwise_conv2d(inputs, kernel, strides, padding, dilations=dilations)
    return np.asarray(outputs).mean(axis=(0, 1, 2))
