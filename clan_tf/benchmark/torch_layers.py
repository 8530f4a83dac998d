"""Single Keras layers and operations as PyTorch modules with the same weights.

Maps are `(batch, height, width, channels)` in Keras and `(batch, channels, height, width)` here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

from clan_tf.benchmark.torch_modules import (
    Arithmetic,
    Concatenate,
    DropPhotos,
    Lambda,
    Mean,
    Product,
    SamePadding,
    Sum,
    channels_of,
)


class Untranslated(Exception):
    """A layer or operation that has no translation; the text names it."""


@dataclass(frozen=True)
class Weight:
    """A weight of both networks.

    Attributes:
        path: its path in the Keras model.
        parameter: PyTorch's parameter.
        axes: Keras' axes in PyTorch's order.
        shape: Keras' sizes in that order; the parameter may have joined some of them.
    """

    path: str
    parameter: nn.Parameter
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def gradient(self) -> np.ndarray:
        """Returns the parameter's gradient as Keras orders it."""
        gradient = self.parameter.grad.detach().numpy(force=True)
        return gradient.reshape(self.shape).transpose(np.argsort(self.axes))


@dataclass
class Translator:
    """Translates layers, and keeps which parameter is which weight.

    Attributes:
        weights: all weights translated so far.
    """

    weights: list[Weight] = field(default_factory=list)

    def weight(self, variable: Any, axes: Sequence[int], shape: Sequence[int] | None = None) -> nn.Parameter:
        """Copies a Keras variable with its axes in another order, reshaped to `shape`."""
        values = keras.ops.convert_to_numpy(variable).transpose(axes)
        tensor = torch.from_numpy(np.array(values.reshape(shape or values.shape), order="C"))
        parameter = nn.Parameter(tensor, requires_grad=variable.trainable)
        self.weights.append(Weight(variable.path, parameter, tuple(axes), values.shape))
        return parameter

    def convolution(self, layer: keras.layers.Conv2D, size: tuple[int, int]) -> nn.Module:
        """Translates a `Conv2D` or `DepthwiseConv2D` on maps of `size`, with its activation."""
        kernel = layer.kernel.shape
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        inputs = kernel[2] if depthwise else kernel[2] * layer.groups
        outputs = kernel[2] * kernel[3] if depthwise else kernel[3]
        padding, before = self._padding(layer, size)
        module = nn.Conv2d(
            inputs,
            outputs,
            kernel[:2],
            layer.strides,
            padding,
            layer.dilation_rate,
            groups=inputs if depthwise else layer.groups,
            bias=layer.use_bias,
            device="meta",
        )
        if depthwise:
            module.weight = self.weight(layer.kernel, (2, 3, 0, 1), (outputs, 1, *kernel[:2]))
        else:
            module.weight = self.weight(layer.kernel, (3, 2, 0, 1))
        if layer.use_bias:
            module.bias = self.weight(layer.bias, (0,))
        return _chained(*before, module, *activation(layer))

    def batch_norm(self, layer: keras.layers.BatchNormalization) -> nn.Module:
        """Translates a batch norm over the channels of maps or the features of vectors."""
        if layer.axis not in (-1, layer.input_spec.ndim - 1) or getattr(layer, "renorm", False):
            raise Untranslated(f"{layer.name} (BatchNormalization over axis {layer.axis} or with renorm)")
        kind = nn.BatchNorm1d if layer.input_spec.ndim == 2 else nn.BatchNorm2d
        module = kind(layer.moving_mean.shape[0], layer.epsilon, 1 - layer.momentum)
        if layer.scale:
            module.weight = self.weight(layer.gamma, (0,))
        if layer.center:
            module.bias = self.weight(layer.beta, (0,))
        module.weight.requires_grad_(bool(layer.scale))
        module.bias.requires_grad_(bool(layer.center))
        module.running_mean.copy_(torch.tensor(keras.ops.convert_to_numpy(layer.moving_mean)))
        module.running_var.copy_(torch.tensor(keras.ops.convert_to_numpy(layer.moving_variance)))
        return module

    def dense(self, layer: keras.layers.Dense) -> nn.Module:
        """Translates a dense layer on vectors."""
        if layer.input_spec.ndim not in (None, 2) or len(getattr(layer.input, "shape", (0, 0))) != 2:
            raise Untranslated(f"{layer.name} (Dense on maps)")
        module = nn.Linear(*layer.kernel.shape, bias=layer.use_bias, device="meta")
        module.weight = self.weight(layer.kernel, (1, 0))
        if layer.use_bias:
            module.bias = self.weight(layer.bias, (0,))
        return _chained(module, *activation(layer))

    @staticmethod
    def _padding(layer: Any, size: tuple[int, int]) -> tuple[Any, list[nn.Module]]:
        """Returns the padding of a convolution, and a module before it where it isn't the same on both sides."""
        if layer.padding == "valid":
            return 0, []
        sides = same_padding(size, layer.kernel_size, layer.strides, layer.dilation_rate)
        if all(before == after for before, after in sides):
            return tuple(before for before, _ in sides), []
        return 0, [SamePadding(sides)]


def same_padding(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int] = (1, 1)
) -> list[tuple[int, int]]:
    """Computes TensorFlow's padding "same": for height and width, how much goes before and after."""
    sides = []
    for length, width, stride, rate in zip(size, kernel, strides, dilation, strict=True):
        total = max((-(-length // stride) - 1) * stride + (width - 1) * rate + 1 - length, 0)
        sides.append((total // 2, total - total // 2))
    return sides


def translate(operation: Any, inputs: Sequence[Any], args: Sequence[Any], translator: Translator) -> nn.Module:
    """Translates a layer or operation.

    Args:
        operation: the layer or operation.
        inputs: its symbolic inputs.
        args: all of its positional arguments, the symbolic ones among them.
        translator: copies weights.

    Raises:
        Untranslated: if there is no translation.
    """
    kind = type(operation)
    if isinstance(operation, keras.layers.Layer):
        rule = _LAYERS.get(kind)
    else:
        rule = _OPERATIONS.get(kind.__name__)
    if rule is None:
        raise Untranslated(f"{operation.name} ({kind.__name__})")
    return rule(operation, inputs, args, translator)


def activation(layer: Any) -> list[nn.Module]:
    """Returns the activation inside a layer as a module, or nothing if it is linear."""
    function = layer.activation
    if function is None or function is keras.activations.linear:
        return []
    if function not in _ACTIVATIONS:
        raise Untranslated(f"{layer.name} (activation {getattr(function, '__name__', function)})")
    return [_ACTIVATIONS[function]()]


_ACTIVATIONS: dict[Any, Callable[[], nn.Module]] = {
    keras.activations.relu: nn.ReLU,
    keras.activations.relu6: nn.ReLU6,
    keras.activations.sigmoid: nn.Sigmoid,
    keras.activations.silu: nn.SiLU,
    keras.activations.hard_sigmoid: nn.Hardsigmoid,
    keras.activations.hard_silu: nn.Hardswish,
    keras.activations.softmax: lambda: nn.Softmax(dim=1),
}


def _convolution(layer: Any, inputs: Sequence[Any], args: Sequence[Any], translator: Translator) -> nn.Module:
    return translator.convolution(layer, inputs[0].shape[1:3])


def _chained(*modules: nn.Module) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _relu(layer: keras.layers.ReLU, *_: Any) -> nn.Module:
    if layer.negative_slope or layer.threshold or layer.max_value not in (None, 6):
        raise Untranslated(f"{layer.name} (ReLU with a slope, a threshold or a maximum other than 6)")
    return nn.ReLU6() if layer.max_value else nn.ReLU()


def _pooling(layer: Any, inputs: Sequence[Any], *_: Any) -> nn.Module:
    is_max = isinstance(layer, keras.layers.MaxPooling2D)
    kind = nn.MaxPool2d if is_max else nn.AvgPool2d
    before = []
    if layer.padding == "same":
        sides = same_padding(inputs[0].shape[1:3], layer.pool_size, layer.strides)
        if any(after for _, after in sides):
            if not is_max:
                raise Untranslated(f"{layer.name} (AveragePooling2D with padding)")
            before = [SamePadding(sides, -torch.inf)]
    return _chained(*before, kind(layer.pool_size, layer.strides))


def _zero_padding(layer: keras.layers.ZeroPadding2D, *_: Any) -> nn.Module:
    (top, bottom), (left, right) = layer.padding
    return nn.ZeroPad2d((left, right, top, bottom))


def _global_pooling(layer: Any, *_: Any) -> nn.Module:
    keep = layer.keepdims
    if isinstance(layer, keras.layers.GlobalMaxPooling2D):
        return Lambda(lambda x: x.amax((2, 3), keepdim=keep))
    return Lambda(lambda x: x.mean((2, 3), keepdim=keep))


def _dropout(layer: keras.layers.Dropout, *_: Any) -> nn.Module:
    if layer.noise_shape is None:
        return nn.Dropout(layer.rate)
    if tuple(layer.noise_shape[1:]) != (1, 1, 1):
        raise Untranslated(f"{layer.name} (Dropout of the shape {layer.noise_shape})")
    return DropPhotos(layer.rate)


def _reshape(layer: keras.layers.Reshape, *_: Any) -> nn.Module:
    if len(layer.target_shape) != 3 or tuple(layer.target_shape[:2]) != (1, 1):
        raise Untranslated(f"{layer.name} (Reshape to {layer.target_shape})")
    return Lambda(lambda x: x.flatten(1)[:, :, None, None])


def _concatenate(layer: keras.layers.Concatenate, inputs: Sequence[Any], *_: Any) -> nn.Module:
    if layer.axis not in (-1, len(inputs[0].shape) - 1):
        raise Untranslated(f"{layer.name} (Concatenate over axis {layer.axis})")
    return Concatenate()


def _normalization(layer: keras.layers.Normalization, *_: Any) -> nn.Module:
    mean, variance = (channels_of(keras.ops.convert_to_numpy(x).ravel()) for x in (layer.mean, layer.variance))
    return Lambda(lambda x: (x - mean.to(x.device)) / variance.to(x.device).sqrt())


def _rescaling(layer: keras.layers.Rescaling, *_: Any) -> nn.Module:
    scale, offset = (channels_of(np.asarray(value, "float32")) for value in (layer.scale, layer.offset))
    return Lambda(lambda x: x * scale.to(x.device) + offset.to(x.device))


def _item(operation: Any, inputs: Sequence[Any], args: Sequence[Any], translator: Translator) -> nn.Module:
    if len(args) < 2 or args[1] != (Ellipsis, slice(None, None, -1)):
        raise Untranslated(f"{operation.name} (GetItem other than [..., ::-1])")
    return Lambda(lambda x: x.flip(1))


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[..., nn.Module]:
    def rule(operation: Any, inputs: Sequence[Any], args: Sequence[Any], translator: Translator) -> nn.Module:
        constants = [None if isinstance(arg, keras.KerasTensor) else arg for arg in args[:2]]
        if len(constants) != 2 or any(len(tensor.shape) != len(inputs[0].shape) for tensor in inputs):
            raise Untranslated(f"{operation.name} ({type(operation).__name__} on tensors of several ranks)")
        return Arithmetic(function, constants)

    return rule


_layers = keras.layers
_LAYERS: dict[type, Callable[..., nn.Module]] = {
    _layers.Conv2D: _convolution,
    _layers.DepthwiseConv2D: _convolution,
    _layers.BatchNormalization: lambda layer, inputs, args, translator: translator.batch_norm(layer),
    _layers.Dense: lambda layer, inputs, args, translator: translator.dense(layer),
    _layers.ReLU: _relu,
    _layers.Activation: lambda layer, *_: _chained(*(activation(layer) or [nn.Identity()])),
    _layers.Softmax: lambda layer, *_: nn.Softmax(dim=1),
    _layers.MaxPooling2D: _pooling,
    _layers.AveragePooling2D: _pooling,
    _layers.GlobalAveragePooling2D: _global_pooling,
    _layers.GlobalMaxPooling2D: _global_pooling,
    _layers.ZeroPadding2D: _zero_padding,
    _layers.Add: lambda *_: Sum(),
    _layers.Average: lambda *_: Mean(),
    _layers.Multiply: lambda *_: Product(),
    _layers.Concatenate: _concatenate,
    _layers.Dropout: _dropout,
    _layers.Reshape: _reshape,
    _layers.Rescaling: _rescaling,
    _layers.Normalization: _normalization,
    _layers.Identity: lambda *_: nn.Identity(),
}
_OPERATIONS: dict[str, Callable[..., nn.Module]] = {
    "GetItem": _item,
    "Cast": lambda *_: nn.Identity(),
    "Add": _arithmetic(torch.add),
    "Subtract": _arithmetic(torch.sub),
    "Multiply": _arithmetic(torch.mul),
    "Divide": _arithmetic(torch.div),
    "TrueDivide": _arithmetic(torch.div),
}
