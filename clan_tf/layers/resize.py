"""Up- and down-sampling of feature maps, as pure functions of `keras.ops`.

Maps are `(batch, height, width, channels)`; sizes are `(height, width)` and must be known when the graph is built.
"""

import numpy as np
from keras import ops

from clan_tf.layers.relation import Tensor


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Up-samples bilinearly with half-pixel centres (eq. 1). Returns `(batch, *size, channels)`."""
    if tuple(x.shape[1:3]) == tuple(size):
        return x
    # Float32: the gradient of the bilinear resize has no bfloat16 kernel under XLA.
    resized = ops.image.resize(ops.cast(x, "float32"), size, interpolation="bilinear", data_format="channels_last")
    return ops.cast(resized, x.dtype)


def downsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Computes `R` of eq. 9, the mean over the positions that a coarse cell covers. Returns `(batch, *size, channels)`.

    If the factor isn't whole, antialiased bilinear interpolation is used, as two products with constant matrices: they
    are the same on every backend and convert to built-in TFLite operators.
    """
    height, width = x.shape[1:3]
    if (height, width) == tuple(size):
        return x
    if height % size[0] == 0 and width % size[1] == 0:
        factors = (height // size[0], width // size[1])
        return ops.average_pool(x, factors, strides=factors, data_format="channels_last")
    rows = ops.cast(interpolation_matrix(height, size[0]), x.dtype)
    columns = ops.cast(interpolation_matrix(width, size[1]), x.dtype)
    return ops.einsum("bhwc,Hh,Ww->bHWc", x, rows, columns)


def interpolation_matrix(size: int, new_size: int) -> np.ndarray:
    """Computes weights of antialiased bilinear resizing along one axis: `(new_size, size)`, rows sum to 1."""
    scale = size / new_size
    centres = (np.arange(new_size) + 0.5) * scale - 0.5
    distances = np.abs(np.arange(size)[None, :] - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distances)
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")
