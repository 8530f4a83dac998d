"""Maps averaged to a grid, so that a dense layer on all their numbers stays small."""

import keras

from clan_tf.layers.relation import Tensor


def to_grid(maps: Tensor, side: int) -> Tensor:
    """Averages a map to `side` x `side` windows of one size, which cover it evenly; coarser maps stay as they are."""
    height, width = maps.shape[1:3]
    strides = [max(1, length // side) for length in (height, width)]
    windows = [max(1, length - (side - 1) * stride) for length, stride in zip((height, width), strides, strict=True)]
    if windows == [1, 1]:
        return maps
    return keras.layers.AveragePooling2D(windows, strides, data_format="channels_last")(maps)
