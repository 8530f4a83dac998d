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
def training_operators(
    model: keras.Model, strategy: tf.distribute.Strategy, deterministic: bool = False
) -> Iterator[None]:
    """Gives a graph traced inside the training step's operators.

    - Batch norm takes its statistics over all devices; on a single device it is one operator (`FusedBatchNormV3`),
      which keeps half-precision maps as they are and computes their statistics in float32.
    - On CPUs, unless steps must be repeatable, 1x1 convolutions are matrix products: TensorFlow's input gradient of a
      convolution is slow there.

    Measurements: docs/measurements.md, "Training steps".

    Args:
        model: its layers compute as usual again after the block.
        strategy: where the step runs.
        deterministic: whether steps must be repeatable bit for bit. TensorFlow's matrix product of many rows isn't on
            CPUs, so that convolutions are kept.
    """
    products = not deterministic and not tf.config.list_logical_devices("GPU")
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
            elif products and _is_pointwise(layer):
                layer.convolution_op = _pointwise_product(layer.strides)
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


def _pointwise_product(strides: tuple[int, int]) -> Callable[[Any, Any], tf.Tensor]:
    """Returns a 1x1 convolution `(b, h, w, in)`, `(1, 1, in, out)` -> `(b, h', w', out)` as a matrix product."""

    def convolution_op(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        if strides != (1, 1):
            inputs = inputs[:, :: strides[0], :: strides[1]]
        # Later layers need the known sizes of a map, also if that of the batch is unknown.
        return tf.tensordot(inputs, tf.convert_to_tensor(kernel)[0, 0], axes=1)

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
