"""The loss that makes groups of channels mean something."""

from keras import ops

from clan_tf.layers.relation import Tensor

_OFFSET, _FACTOR, _CHANNELS = 1e-3, 1e-3, 512
"""Added to the maps, factor of the sum, and channels at which it counts as it is, as in the authors' code."""


def group_loss(maps: Tensor, groups: int) -> Tensor:
    """Computes how far channels are from being alike within their groups and unlike between them.

    The cosines between all pairs of channels, each a vector over the positions, are averaged over the photos. They
    should be 1 within a group and 0 otherwise; their squared differences are added up.

    Args:
        maps: not negative, `(photos, height, width, channels)`.
        groups: number of groups of channels that stand side by side.

    Returns:
        Float32 `()`.

    Reference:
        Zheng, Fu, Zha and Luo, Learning Deep Bilinear Transformation for Fine-grained Image Representation,
        NeurIPS 2019, section 3.1.
    """
    channels = maps.shape[-1]
    photos = ops.cast(ops.maximum(ops.shape(maps)[0], 1), "float32")
    vectors = ops.cast(maps, "float32") + _OFFSET
    vectors = vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=(1, 2), keepdims=True))
    flat = ops.reshape(vectors, (-1, channels))
    cosines = ops.matmul(ops.transpose(flat), flat) / photos
    group = ops.arange(channels) // (channels // groups)
    wanted = ops.cast(group[:, None] == group[None, :], "float32")
    return _FACTOR * ops.sum(ops.square(cosines - wanted)) / (channels / _CHANNELS) ** 2
