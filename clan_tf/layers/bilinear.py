"""Bilinear pooling: the products of all pairs of a map's channels, averaged over its positions."""

import keras
from keras import ops

from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor

ROOT_EPSILON = 1e-5
NORM_EPSILON = 1e-12


class SecondOrderPooling(keras.layers.Layer):
    """What bilinear pooling and its compact form share: a vector of products, its signed square root and norm.

    All is computed in float32, because sums of products leave the range or the precision of half precision.
    """

    def call(self, maps):
        """Pools `maps`."""
        x = ops.cast(ops.reshape(maps, (ops.shape(maps)[0], -1, maps.shape[-1])), "float32")
        positions = ops.cast(ops.shape(x)[1], "float32")
        return ops.cast(l2_normalized(signed_root(self.products(x) / positions)), self.compute_dtype)

    def products(self, x: Tensor) -> Tensor:
        """Sums products of channels over the positions of `x`, `(batch, positions, channels)`: `(batch, features)`."""
        raise NotImplementedError

    def product_cost(self, shape: Shape) -> tuple[int, int]:
        """Counts multiply-accumulates and float32 bytes of the products of one photo's map."""
        positions, channels = shape[1] * shape[2], shape[3]
        return positions * channels**2, 4 * channels**2


@keras.saving.register_keras_serializable(package="clan_tf")
class BilinearPooling(SecondOrderPooling):
    """Pools a map to the products of all pairs of its channels, averaged over the positions.

    `G = X^T X / n` of the map as a matrix `X (n, channels)`, flattened, its signed square root, divided by its norm.

    Call arguments:
        maps: `(batch, height, width, channels)`.

    Returns:
        `(batch, channels ** 2)`, each of norm 1, or 0 where the map is 0.

    Raises:
        ValueError: if the input isn't a map with a known number of channels.

    Reference:
        Lin, RoyChowdhury and Maji, Bilinear CNN Models for Fine-grained Visual Recognition, ICCV 2015.
    """

    def build(self, shape: Shape) -> None:
        """Checks the shape of `maps`."""
        require_map("maps", shape)

    def products(self, x: Tensor) -> Tensor:
        """Sums the products of all pairs of channels over the positions."""
        return ops.reshape(ops.matmul(ops.transpose(x, (0, 2, 1)), x), (-1, x.shape[-1] ** 2))

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns `(batch, channels ** 2)`."""
        return (shape[0], shape[-1] ** 2)


def signed_root(x: Tensor) -> Tensor:
    """Computes the square root of the magnitude with the sign kept: 0 at 0, where the gradient is 0, too.

    `sign(x) sqrt(|x|)` has an infinite gradient at 0. Elsewhere this one's is at most `0.5 / sqrt(1e-5)`, 158.
    """
    return ops.sqrt(ops.relu(x) + ROOT_EPSILON) - ops.sqrt(ops.relu(-x) + ROOT_EPSILON)


def l2_normalized(x: Tensor) -> Tensor:
    """Divides vectors, on the last axis, by their norm; 0 stays 0."""
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + NORM_EPSILON)
