"""The operators of the training graph: the layers' own functions, by operators that are faster on this device.

Saved files aren't affected: the layers are lent other functions only while the graph is traced.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from clan_tf.models.complexity import leaf_layers

# cuDNN takes no smaller epsilon.
SMALLEST_FUSED_EPSILON = 1e-5


@contextmanager
def training_operators(model: keras.Model, strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Gives a graph traced inside the training step's operators.

    - Batch norm takes its statistics over all devices; on a single device it is one operator (`FusedBatchNormV3`),
      which keeps half-precision maps as they are and computes their statistics in float32.
    - On CPUs the input gradient of 1x1 convolutions is a convolution; TensorFlow's operator is slow without oneDNN.

    Measurements: docs/measurements.md, "Training steps".

    Args:
        model: its layers compute as usual again after the block.
        strategy: where the step runs.
    """
    on_cpu = not tf.config.list_logical_devices("GPU")
    devices = strategy.num_replicas_in_sync
    layers = list(dict.fromkeys(leaf_layers(model)))
    lent: list[tuple[keras.layers.Layer, str]] = []
    try:
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = devices > 1
                if devices == 1 and _can_be_fused(layer):
                    layer.call = _fused_batch_norm(layer)
                    lent.append((layer, "call"))
            elif on_cpu and _is_pointwise(layer):
                layer.convolution_op = _pointwise_convolution(layer.strides)
                lent.append((layer, "convolution_op"))
        yield
    finally:
        for layer, name in lent:
            delattr(layer, name)
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = False


def _can_be_fused(layer: keras.layers.BatchNormalization) -> bool:
    rank = layer.input_spec.ndim
    return (
        type(layer) is keras.layers.BatchNormalization
        and rank == 4
        and layer.axis in (3, -1)
        and not getattr(layer, "renorm", False)  # Keras 3.12 has none
        and layer.epsilon >= SMALLEST_FUSED_EPSILON
        and layer.compute_dtype != "float64"
    )


def _is_pointwise(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.kernel_size == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


def _pointwise_convolution(strides: tuple[int, int]) -> Callable[[Any, Any], tf.Tensor]:
    """Returns a 1x1 convolution `(b, h, w, in)`, `(1, 1, in, out)` -> `(b, h', w', out)` with a fast input gradient.

    The input gradient is the convolution of the upstream gradient with the transposed kernel.
    """

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            input_gradient = tf.nn.conv2d(upstream, tf.transpose(kernel, [0, 1, 3, 2]), 1, "VALID")
            kernel_gradient = tf.raw_ops.Conv2DBackpropFilter(
                input=inputs,
                filter_sizes=tf.shape(kernel),
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="VALID",
            )
            return input_gradient, kernel_gradient

        return tf.nn.conv2d(inputs, kernel, 1, "VALID"), gradient

    def convolution_op(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        if strides != (1, 1):
            inputs = inputs[:, :: strides[0], :: strides[1]]
        return convolve(inputs, tf.convert_to_tensor(kernel))

    return convolution_op


def _fused_batch_norm(layer: keras.layers.BatchNormalization) -> Callable[..., tf.Tensor]:
    """Returns the layer's function, where training uses one operator; the moving variance stays the biased one."""
    keras_call = layer.call

    def call(inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        if not training or not layer.trainable or mask is not None:
            return keras_call(inputs, training=training, mask=mask)
        empty = tf.zeros([0], tf.float32)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=_float32(layer.gamma) if layer.scale else tf.ones_like(layer.moving_mean.value),
            offset=_float32(layer.beta) if layer.center else tf.zeros_like(layer.moving_mean.value),
            mean=empty,
            variance=empty,
            epsilon=layer.epsilon,
            is_training=True,
        )
        # The operator returns the unbiased variance.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        variance *= (count - 1) / count
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))
        return outputs

    return call


def _float32(variable: keras.Variable) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(variable.value), tf.float32)
