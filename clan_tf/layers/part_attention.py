"""Attention to parts of a photo: each a soft group of channels that peak at the same places."""

from typing import Any

import keras
from keras import ops

from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor

_SCALE, _SHARPNESS, _VARIANCE_EPSILON = 0.1, 4.0, 1e-6


@keras.saving.register_keras_serializable(package="clan_tf")
class PartAttention(keras.layers.Layer):
    """Weights the positions of a map by several groups of its channels, and pools the map by each.

    Of every part `i`, `d_i = sigmoid(W2_i tanh(W1_i z + c_i) + e_i)` says how far each channel belongs to it, where `z`
    are the channels' means over the positions. The mean over the channels of `d_i` times the map is normalised over the
    positions, to mean 0 and variance 1; or, as published, multiplied by 0.1. Of its tanh, `t_i`, the part's map is
    `M_i = softmax(4 log(log(1 + exp(t_i))))` over the positions, and its feature the sum of the map's vectors weighted
    by `M_i`. All is computed in float32.

    Args:
        parts: how many there are.
        normalize_maps: whether the means are normalised over the positions. Otherwise `M_i` is nearly the same
            everywhere where the map's values are much smaller than 10.

    Call arguments:
        maps: `(batch, height, width, channels)`, of a known size.

    Returns:
        The parts' maps, each of sum 1, `(batch, height, width, parts)`, and their features `(batch, parts, channels)`.

    Raises:
        ValueError: if `parts` isn't positive, or the input isn't a map of a known size.

    Reference:
        Zheng, Fu, Mei and Luo, Learning Multi-Attention Convolutional Neural Network for Fine-Grained Image
        Recognition, ICCV 2017, section 3.1. The formula of `M_i` is that of the authors' published network.
    """

    def __init__(self, parts: int = 4, normalize_maps: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if parts < 1:
            raise ValueError(f"`parts` must be a positive number. Received: parts={parts!r}")
        self.parts = parts
        self.normalize_maps = normalize_maps

    def build(self, shape: Shape) -> None:
        """Creates the dense layers that group the channels, from the shape of `maps`."""
        require_map("maps", shape, static_size=True)
        self.inner, self.outer = (
            [
                keras.layers.Dense(
                    shape[-1],
                    activation,
                    kernel_initializer=keras.initializers.RandomNormal(stddev=0.005),
                    dtype="float32",
                    name=f"{name}_{number}",
                )
                for number in range(1, self.parts + 1)
            ]
            for name, activation in (("inner", "tanh"), ("outer", "sigmoid"))
        )
        for layer in self.sublayers:
            layer.build((shape[0], shape[-1]))

    def call(self, maps):
        """Computes the parts' maps and features."""
        height, width, channels = maps.shape[1:]
        x = ops.cast(ops.reshape(maps, (-1, height * width, channels)), "float32")
        means = ops.mean(x, axis=1)
        belongs = ops.stack([outer(inner(means)) for inner, outer in zip(self.inner, self.outer, strict=True)], axis=2)
        weights = part_maps(ops.matmul(x, belongs) / channels, self.normalize_maps)
        pooled = ops.matmul(ops.transpose(weights, (0, 2, 1)), x)
        found = ops.reshape(weights, (-1, height, width, self.parts)), pooled
        return tuple(ops.cast(each, self.compute_dtype) for each in found)

    def product_cost(self, shape: Shape) -> tuple[int, int]:
        """Counts multiply-accumulates and float32 bytes of one photo's maps and features."""
        positions, channels = shape[1] * shape[2], shape[3]
        return 2 * self.parts * positions * channels, 4 * self.parts * (4 * positions + channels)

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The layers with parameters inside this one, available once it is built."""
        return [*self.inner, *self.outer]

    def compute_output_shape(self, shape: Shape) -> tuple[Shape, Shape]:
        """Returns the shapes of the maps and of the features."""
        return (*shape[:3], self.parts), (shape[0], self.parts, shape[3])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "parts": self.parts, "normalize_maps": self.normalize_maps}


def part_maps(means: Tensor, normalize: bool) -> Tensor:
    """Returns the parts' maps, each of sum 1.

    Args:
        means: of the weighted channels at each position, `(batch, positions, parts)`.
        normalize: as in `PartAttention`.
    """
    if normalize:
        means = means - ops.mean(means, axis=1, keepdims=True)
        scaled = means * ops.rsqrt(ops.mean(ops.square(means), axis=1, keepdims=True) + _VARIANCE_EPSILON)
    else:
        scaled = _SCALE * means
    # TFLite has no softplus; the tanh keeps the exponential small.
    softplus = ops.log(1.0 + ops.exp(ops.tanh(scaled)))
    return ops.softmax(_SHARPNESS * ops.log(softplus), axis=1)
