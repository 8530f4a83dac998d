"""Exact folding of batch normalisation and zero padding into the convolutions and dense layers of a serving graph."""

from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

import keras
import numpy as np

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a functional model of the same answers, with fewer layers.

    - A batch normalisation right after a convolution, `γ (W x + b - μ) / √(σ² + ε) + β`, becomes part of `W` and `b`,
      computed in float64 and rounded once; so does one right before a dense layer on vectors.
    - Zero padding right before a convolution becomes `same` padding, where that adds the same rows and columns.

    What isn't between two such layers alone stays: a map that is tapped, or used twice, and the batch normalisation of
    pre-activated networks. A folded layer has the name of its convolution, and its own copy of the weights; the given
    model isn't changed.

    Args:
        model: a functional model, which computes as at inference; the layers of models inside it aren't looked at.
    """
    nodes = [node for of_depth in model._nodes_by_depth.values() for node in of_depth]
    operations = {id(node.operation): node.operation for node in nodes}
    inputs = {id(node.operation): node.input_tensors[0].shape for node in nodes if node.input_tensors}
    normalizations: dict[int, keras.layers.BatchNormalization] = {}
    normalized_inputs: dict[int, keras.layers.BatchNormalization] = {}
    paddings: set[int] = set()
    skipped: set[int] = set()
    users = _sole_users(nodes, model.output)
    for first, second in ((operations[before], operations[after]) for before, after in users.items()):
        if type(second) is keras.layers.BatchNormalization and _can_absorb(first, second):
            normalizations[id(first)] = second
            skipped.add(id(second))
        elif _is_same(first, second, inputs.get(id(first), ())):
            paddings.add(id(second))
            skipped.add(id(first))
        elif type(first) is keras.layers.BatchNormalization:
            while type(second) is keras.layers.Dropout and id(second) in users:
                second = operations[users[id(second)]]
            if type(second) is keras.layers.Dense and len(inputs[id(first)]) == 2:
                normalized_inputs[id(second)] = first
                skipped.add(id(first))

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) in normalized_inputs:
            return _folded_dense(layer, normalized_inputs[id(layer)])
        if id(layer) not in normalizations and id(layer) not in paddings:
            return layer
        padding = "same" if id(layer) in paddings else layer.padding
        return _folded(layer, normalizations.get(id(layer)), padding, inputs[id(layer)])

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if id(layer) in skipped else layer(*args, **kwargs)

    if not skipped:
        return model
    return keras.models.clone_model(model, clone_function=replace, call_function=call)


def _sole_users(nodes: Sequence[Any], outputs: Any) -> dict[int, int]:
    """Returns, by id, each operation whose one output is used once, and by what; all are called once.

    Nodes are those of one model: layers that models share also have the nodes of others.
    """
    times_called = Counter(id(node.operation) for node in nodes)
    uses = [(tensor, node.operation) for node in nodes for tensor in node.input_tensors]
    times_used = Counter(id(tensor) for tensor in keras.tree.flatten(outputs))
    times_used.update(id(tensor) for tensor, _ in uses)
    return {
        id(tensor._keras_history.operation): id(operation)
        for tensor, operation in uses
        if times_used[id(tensor)] == times_called[id(operation)] == 1
        and times_called[id(tensor._keras_history.operation)] == 1
    }


def _can_absorb(convolution: Any, normalization: keras.layers.BatchNormalization) -> bool:
    """Returns whether a layer is a linear convolution whose output channels are what is normalised."""
    if type(convolution) not in _CONVOLUTIONS or convolution.activation is not keras.activations.linear:
        return False
    return convolution.data_format == "channels_last" and normalization.axis in (-1, 3)


def _is_same(padding: Any, convolution: Any, unpadded: tuple[int | None, ...]) -> bool:
    """Returns whether `same` padding would add the rows and columns that a layer pads a map of a shape with."""
    if type(padding) is not keras.layers.ZeroPadding2D or type(convolution) not in _CONVOLUTIONS:
        return False
    if convolution.padding != "valid" or {padding.data_format, convolution.data_format} != {"channels_last"}:
        return False
    sides = unpadded[1:3], convolution.kernel_size, convolution.strides, convolution.dilation_rate
    return all(
        length is not None and tuple(added) == same_padding(length, 1 + dilation * (kernel - 1), stride)
        for added, length, kernel, stride, dilation in zip(padding.padding, *sides, strict=True)
    )


def same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Returns how many zeros `same` padding adds before and after: the odd one is after."""
    total = max(0, (ceil(length / stride) - 1) * stride + kernel - length)
    return total // 2, total - total // 2


def _folded(
    convolution: Any, normalization: keras.layers.BatchNormalization | None, padding: str, shape: tuple[int | None, ...]
) -> Any:
    kernel, *biases = (np.asarray(values, "float64") for values in convolution.get_weights())
    is_depthwise = type(convolution) is keras.layers.DepthwiseConv2D
    outputs = kernel.shape[2:] if is_depthwise else kernel.shape[3:]
    bias = biases[0] if biases else np.zeros(np.prod(outputs))
    if normalization is not None:
        scale, offset = scale_and_offset(normalization, len(bias))
        kernel, bias = kernel * scale.reshape(outputs), bias * scale + offset
    config = convolution.get_config() | {"use_bias": True, "padding": padding}
    folded = type(convolution).from_config(config)
    folded.build(shape)
    folded.set_weights([rounded(kernel), rounded(bias)])
    return folded


def _folded_dense(dense: keras.layers.Dense, normalization: keras.layers.BatchNormalization) -> keras.layers.Dense:
    kernel, *biases = (np.asarray(values, "float64") for values in dense.get_weights())
    scale, offset = scale_and_offset(normalization, len(kernel))
    bias = offset @ kernel + (biases[0] if biases else 0.0)
    folded = keras.layers.Dense.from_config(dense.get_config() | {"use_bias": True})
    folded.build((None, len(kernel)))
    folded.set_weights([rounded(kernel * scale[:, None]), rounded(bias)])
    return folded


def rounded(values: np.ndarray) -> np.ndarray:
    """Rounds to float32; what is too large becomes infinite, which is found in the answers."""
    with np.errstate(over="ignore"):
        return values.astype("float32")


def scale_and_offset(layer: keras.layers.BatchNormalization, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a batch normalisation multiplies and adds at inference, float64 `(channels,)` each.

    Batch renormalisation (`renorm`) differs in training only.
    """

    def value(variable: Any, default: float) -> np.ndarray:
        return np.full(channels, default) if variable is None else np.asarray(variable, "float64")

    gamma, beta = value(layer.gamma, 1.0), value(layer.beta, 0.0)
    scale = gamma / np.sqrt(value(layer.moving_variance, 1.0) + layer.epsilon)
    return scale, beta - value(layer.moving_mean, 0.0) * scale
