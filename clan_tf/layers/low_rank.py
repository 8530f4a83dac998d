"""Low-rank bilinear pooling: a bilinear classifier whose large matrices are never formed."""

from typing import Any

import keras
from keras import ops

from clan_tf.layers.bilinear import NORM_EPSILON, signed_root
from clan_tf.layers.non_local import Shape, require_map


@keras.saving.register_keras_serializable(package="clan_tf")
class PowerNormalization(keras.layers.Layer):
    """Scales a map so that the mean square of its vectors' lengths is `scale ** 2`, after their signed square root.

    The matrix of products of channels, averaged over the positions, then has the trace `scale ** 2`, whatever the
    backbone. All is computed in float32.

    Args:
        root: whether the signed square root of each number is taken first.
        scale: the root mean square of the lengths.

    Call arguments:
        maps: `(batch, height, width, channels)`.

    Returns:
        A map of the same shape; 0 where the whole map is 0.

    Raises:
        ValueError: if `scale` isn't positive, or the input isn't a map with a known number of channels.

    Reference:
        Kong and Fowlkes, Low-rank Bilinear Pooling for Fine-grained Classification, CVPR 2017, whose public training
        code takes the square root of the features and divides them by a constant, the square root of 20,000.
    """

    def __init__(self, root: bool = True, scale: float = 10.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not scale > 0:
            raise ValueError(f"`scale` must be positive. Received: scale={scale!r}")
        self.root = root
        self.scale = scale

    def build(self, shape: Shape) -> None:
        """Checks the shape of `maps`."""
        require_map("maps", shape)

    def call(self, maps):
        """Normalises `maps`."""
        x = ops.cast(maps, "float32")
        x = signed_root(x) if self.root else x
        mean_square = ops.mean(ops.sum(ops.square(x), axis=-1, keepdims=True), axis=(1, 2), keepdims=True)
        return ops.cast(x * (self.scale * ops.rsqrt(mean_square + NORM_EPSILON)), self.compute_dtype)

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns the shape of `maps`."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "root": self.root, "scale": self.scale}


@keras.saving.register_keras_serializable(package="clan_tf")
class LowRankBilinear(keras.layers.Layer):
    """Scores a map for each class by the difference of two energies.

    `score_c = (1 / n) (|Y U+_c|^2 - |Y U-_c|^2) + b_c` of the map as a matrix `Y (n, channels)`. It equals the product
    of the class's matrix `U+_c U+_c^T - U-_c U-_c^T`, of rank `rank`, with `Y^T Y / n`, which isn't formed. The score
    is quadratic in `U`, so that 0 would be a saddle point without a gradient: `U` starts at random. All is computed in
    float32: a score is the difference of two large sums of squares.

    Args:
        units: number of classes.
        rank: columns of `U_c`, an even number: the first half is `U+_c`.

    Call arguments:
        maps: `(batch, height, width, channels)`.

    Returns:
        `(batch, units)`.

    Raises:
        ValueError: if an argument is invalid, or the input isn't a map with a known number of channels.

    Reference:
        Kong and Fowlkes, Low-rank Bilinear Pooling for Fine-grained Classification, CVPR 2017.
    """

    def __init__(self, units: int, rank: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"`units` must be a positive number. Received: units={units!r}")
        if rank < 2 or rank % 2:
            raise ValueError(f"`rank` must be a positive even number. Received: rank={rank!r}")
        self.units = units
        self.rank = rank

    def build(self, shape: Shape) -> None:
        """Creates `U`, `(channels, rank, units)`, and the biases, from the shape of `maps`."""
        require_map("maps", shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(shape[-1], self.rank, self.units),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
            autocast=False,
        )
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros", autocast=False)

    def call(self, maps):
        """Scores `maps`."""
        channels = maps.shape[-1]
        x = ops.cast(ops.reshape(maps, (ops.shape(maps)[0], -1, channels)), "float32")
        kernel = ops.reshape(ops.cast(self.kernel, "float32"), (channels, self.rank * self.units))
        energies = ops.mean(ops.square(ops.matmul(x, kernel)), axis=1)
        halves = ops.sum(ops.reshape(energies, (-1, 2, self.rank // 2, self.units)), axis=2)
        return ops.cast(halves[:, 0] - halves[:, 1] + ops.cast(self.bias, "float32"), self.compute_dtype)

    def multiply_accumulates(self, shape: Shape) -> int:
        """Counts the multiply-accumulates for one photo's map: those of a 1x1 convolution with `U`."""
        return shape[1] * shape[2] * shape[3] * self.rank * self.units

    def working_bytes(self, shape: Shape) -> int:
        """Counts the float32 bytes of `Y U` for one photo's map, which training keeps."""
        return 4 * shape[1] * shape[2] * self.rank * self.units

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns `(batch, units)`."""
        return (shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "units": self.units, "rank": self.rank}
