"""Products of channels within groups, at each position: the bilinear transformation of DBT-Net."""

from typing import Any

import keras
import numpy as np
from keras import ops

from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor

_DIVISOR = 32.0
"""What the products are divided by before the hyperbolic tangent, as in the authors' code."""
_BASE = 1.5
"""Base of the wave lengths of the groups' code, as in the authors' code."""


@keras.saving.register_keras_serializable(package="clan_tf")
class GroupBilinear(keras.layers.Layer):
    """Multiplies all pairs of channels within each group at every position, and adds up the groups.

    The channels are divided into `groups` of `c` channels that stand side by side. With the code `p_g` of a group,
    which tells it from the others, `y = sum_g (v_g + p_g) (v_g + p_g)^T` has `c ** 2` numbers at each position. What is
    returned is `tanh(y / 32)`, interpolated linearly to as many numbers as there are channels. There are no weights,
    and all is computed in float32.

    Args:
        groups: number of groups, which divides the channels.

    Call arguments:
        maps: `(batch, height, width, channels)`, of a known height and width.

    Returns:
        A map of the same shape, in -1…1.

    Raises:
        ValueError: if an argument is invalid, or the input isn't a map of a multiple of `groups` channels.

    Reference:
        Zheng, Fu, Zha and Luo, Learning Deep Bilinear Transformation for Fine-grained Image Representation,
        NeurIPS 2019, section 3.2.
    """

    def __init__(self, groups: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if groups < 1:
            raise ValueError(f"`groups` must be a positive number. Received: groups={groups!r}")
        self.groups = groups

    def build(self, shape: Shape) -> None:
        """Makes the groups' code, from the shape of `maps`."""
        require_map("maps", shape, static_size=True)
        if shape[-1] % self.groups:
            raise ValueError(f"The channels must be a multiple of groups={self.groups}. Received: shape {shape}")
        self.code = group_code(self.groups, shape[-1] // self.groups)

    def call(self, maps):
        """Multiplies the channels of `maps`."""
        height, width, channels = maps.shape[1:]
        size = channels // self.groups
        grouped = ops.reshape(ops.cast(maps, "float32"), (-1, self.groups, size)) + self.code
        products = ops.matmul(ops.transpose(grouped, (0, 2, 1)), grouped)
        y = interpolated(ops.tanh(ops.reshape(products, (-1, size**2)) / _DIVISOR), size**2, channels)
        return ops.cast(ops.reshape(y, (-1, height, width, channels)), self.compute_dtype)

    def product_cost(self, shape: Shape) -> tuple[int, int]:
        """Counts multiply-accumulates and float32 bytes of the products of one photo's map."""
        positions, size = shape[1] * shape[2], shape[3] // self.groups
        return positions * shape[3] * size, 4 * positions * size**2

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns the shape of `maps`."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="clan_tf")
class IdentityKernel(keras.initializers.Initializer):
    """Starts a 1x1 convolution as the identity: kernels `(1, 1, channels, channels)`."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Makes the kernel."""
        return ops.reshape(ops.eye(shape[2], shape[3], dtype=dtype), shape)


def group_code(groups: int, size: int) -> np.ndarray:
    """Returns a code of sines and cosines for each group: float32 `(groups, size)`.

    Channel `i` of group `g` has the angle `g / 1.5 ** (2 floor(i / 2) / size)`: its sine where `i` is even, its cosine
    where it is odd.
    """
    channel = np.arange(size)
    angle = np.arange(groups)[:, None] / _BASE ** (2 * (channel // 2) / size)
    return np.where(channel % 2 == 0, np.sin(angle), np.cos(angle)).astype("float32")


def interpolated(x: Tensor, length: int, wanted: int) -> Tensor:
    """Interpolates vectors `(batch, length)` linearly to `wanted` numbers; the first and the last stay in place."""
    if length == wanted:
        return x
    place = np.linspace(0, length - 1, wanted)
    before = np.minimum(place.astype("int32"), max(0, length - 2))
    share = (place - before).astype("float32")
    after = np.minimum(before + 1, length - 1)
    return ops.take(x, before, axis=1) * (1 - share) + ops.take(x, after, axis=1) * share
