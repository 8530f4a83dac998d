"""Attention that a map's own channels make: where those that are alike are strong together."""

from typing import Any

import keras
from keras import ops

from clan_tf.layers.non_local import Shape, require_map

_LEAST_DETAIL = 0.01
"""Added to the map of a single channel, as in the authors' code."""


@keras.saving.register_keras_serializable(package="clan_tf")
class TrilinearAttention(keras.layers.Layer):
    """Makes two attention maps of a map's channels and their relations: one of all channels, one of a single one.

    With the map as a matrix `M (channels, positions)`, negative values cut off and divided by its root mean square:
    `N = softmax(scale M)` over the positions, `B = softmax(N M^T)` over the channels, `T = B M`. The first map is the
    mean of all channels of `T`; the second one channel, drawn at random for each photo in training, and else the one
    that the others are most alike to. No gradient passes, and all is computed in float32.

    Args:
        scale: how sharp the softmax over the positions is.
        seed: draws the channels.

    Call arguments:
        maps: `(batch, height, width, channels)`, of a known height and width.

    Returns:
        Two maps, not negative, `(batch, height, width, 1)`.

    Raises:
        ValueError: if an argument is invalid, or the input isn't a map of a known size.

    Reference:
        Zheng, Fu, Zha and Luo, Looking for the Devil in the Details, CVPR 2019, section 3.1.
    """

    def __init__(self, scale: float = 7.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not scale > 0:
            raise ValueError(f"`scale` must be above 0. Received: scale={scale!r}")
        self.scale = scale
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, shape: Shape) -> None:
        """Checks the shape of `maps`."""
        require_map("maps", shape, static_size=True)

    def call(self, maps, training=None):
        """Computes both maps."""
        height, width, channels = maps.shape[1:]
        x = ops.relu(ops.cast(maps, "float32"))
        x = x * ops.rsqrt(ops.mean(ops.square(x), axis=(1, 2, 3), keepdims=True) + 1e-12)
        positions = ops.reshape(x, (-1, height * width, channels))
        by_channel = ops.transpose(positions, (0, 2, 1))
        normalized = ops.softmax(self.scale * by_channel, axis=2)
        related = ops.softmax(ops.matmul(normalized, positions), axis=2)
        weights = ops.mean(related, axis=1, keepdims=True)
        if training:
            drawn = keras.random.uniform(ops.shape(maps)[:1], 0, channels, seed=self.seed_generator)
            chosen = ops.one_hot(ops.minimum(ops.cast(drawn, "int32"), channels - 1), channels, dtype="float32")
            chosen = ops.expand_dims(chosen, 1)
        else:
            # Keras' `argmax` has no built-in TFLite operators; channels that are equal share.
            chosen = ops.cast(weights >= ops.max(weights, axis=2, keepdims=True), "float32")
            chosen = chosen / ops.sum(chosen, axis=2, keepdims=True)
        found = []
        for each, least in ((weights, 0.0), (ops.matmul(chosen, related), _LEAST_DETAIL)):
            attention = ops.reshape(ops.matmul(each, by_channel), (-1, height, width, 1)) + least
            found.append(ops.stop_gradient(ops.cast(attention, self.compute_dtype)))
        return found[0], found[1]

    def product_cost(self, shape: Shape) -> tuple[int, int]:
        """Counts multiply-accumulates and float32 bytes of the products of one photo's channels."""
        positions, channels = shape[1] * shape[2], shape[3]
        return positions * channels**2, 2 * 4 * channels**2

    def compute_output_shape(self, shape: Shape) -> tuple[Shape, Shape]:
        """Returns `(batch, height, width, 1)` twice."""
        return (*shape[:3], 1), (*shape[:3], 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "scale": self.scale, "seed": self.seed}
