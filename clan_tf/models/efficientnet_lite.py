"""EfficientNet-Lite, for phones and quantization: EfficientNet without squeeze-and-excitation and with ReLU6."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np


class _Stage(NamedTuple):
    blocks: int
    kernel_size: int
    strides: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280


def efficientnet_lite0(input_shape: tuple[int, int, int]) -> keras.Model:
    """Builds EfficientNet-Lite0 without its dense layer (3,371,008 trainable weights); see `_build`."""
    return _build("efficientnet_lite0", input_shape, width=1.0, depth=1.0)


def efficientnet_lite1(input_shape: tuple[int, int, int]) -> keras.Model:
    """Builds EfficientNet-Lite1: Lite0 with more blocks; see `_build`."""
    return _build("efficientnet_lite1", input_shape, width=1.0, depth=1.1)


def efficientnet_lite2(input_shape: tuple[int, int, int]) -> keras.Model:
    """Builds EfficientNet-Lite2: Lite1 with wider and more blocks; see `_build`."""
    return _build("efficientnet_lite2", input_shape, width=1.1, depth=1.2)


def _build(name: str, input_shape: tuple[int, int, int], width: float, depth: float) -> keras.Model:
    """Builds a network from `(height, width, 3)`, RGB as (x - 127)/128, to a map of 1280 channels at 1/32 of the size.

    The stem and the last convolution aren't scaled by `width`, the first and last stage not by `depth`. Layers are
    named as in Keras' EfficientNets: `block5c_add` ends the fifth stage of Lite0.

    Reference:
        Tan and Le, ICML 2019, and `lite/` in the authors' `tensorflow/tpu/models/official/efficientnet`.
    """
    inputs = keras.Input(input_shape)
    x = _normalized(keras.layers.Conv2D(_STEM_FILTERS, 3, 2, "same", use_bias=False, name="stem_conv")(inputs), "stem")
    channels = _STEM_FILTERS
    for number, stage in enumerate(_STAGES, start=1):
        filters = _round_filters(stage.filters * width)
        for index in range(_blocks(number, stage, depth)):
            block = f"block{number}{chr(ord('a') + index)}"
            x = _inverted_residual(x, channels, filters, stage, stage.strides if index == 0 else 1, block)
            channels = filters
    x = _normalized(keras.layers.Conv2D(_HEAD_FILTERS, 1, use_bias=False, name="top_conv")(x), "top")
    return keras.Model(inputs, x, name=name)


def _inverted_residual(x: Any, channels: int, filters: int, stage: _Stage, strides: int, name: str) -> Any:
    """Adds a 1x1 expansion, a depthwise convolution and a linear 1x1 projection, beside a shortcut where it fits."""
    shortcut = x
    if stage.expansion > 1:
        wide = channels * stage.expansion
        x = _normalized(keras.layers.Conv2D(wide, 1, use_bias=False, name=f"{name}_expand_conv")(x), f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(stage.kernel_size, strides, "same", use_bias=False, name=f"{name}_dwconv")(x)
    x = _normalized(x, f"{name}_dw")
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalized(x, f"{name}_project", activation=False)
    return keras.layers.Add(name=f"{name}_add")([shortcut, x]) if strides == 1 and channels == filters else x


def _normalized(x: Any, name: str, activation: bool = True) -> Any:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_activation")(x) if activation else x


def _round_filters(filters: float) -> int:
    """Rounds to a multiple of 8, but never below nine tenths."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8


def _blocks(number: int, stage: _Stage, depth: float) -> int:
    return stage.blocks if number in (1, len(_STAGES)) else math.ceil(stage.blocks * depth)


def assign_torch_weights(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Copies a state dict of `efficientnet_lite_pytorch` into a model of this module; the dense layer is left out.

    Raises:
        ValueError: if a tensor is missing, left over, or has another shape than its layer.
    """
    missing = {
        f"{prefix}.{suffix}" for layer, prefix in _names_in_torch(model) for suffix in _KINDS[type(layer)][0]
    } - state.keys()
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, such as {min(missing)}")
    rest = {key for key in state if not key.endswith("num_batches_tracked") and not key.startswith("_fc.")}
    for layer, prefix in _names_in_torch(model):
        keys, convert = _KINDS[type(layer)]
        values = [convert(state[key]) for key in (f"{prefix}.{suffix}" for suffix in keys)]
        layer.set_weights(values)
        rest -= {f"{prefix}.{suffix}" for suffix in keys}
    if rest:
        raise ValueError(f"{len(rest)} tensors belong to no layer, such as {min(rest)}")


def _names_in_torch(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, str]]:
    """Yields each layer with weights, and the prefix of its tensors: `_blocks.N._bn0` for the first batch norm."""
    blocks: dict[str, int] = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        block, _, part = layer.name.partition("_")
        if block in ("stem", "top"):
            yield (
                layer,
                {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}[layer.name],
            )
        else:
            number = blocks.setdefault(block, len(blocks))
            yield layer, f"_blocks.{number}.{_PARTS[part]}"


_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "dw_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_KINDS: dict[type, tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]] = {
    keras.layers.Conv2D: (("weight",), lambda kernel: kernel.transpose(2, 3, 1, 0)),
    keras.layers.DepthwiseConv2D: (("weight",), lambda kernel: kernel.transpose(2, 3, 0, 1)),
    keras.layers.BatchNormalization: (("weight", "bias", "running_mean", "running_var"), lambda values: values),
}
