"""Compact bilinear pooling: a tensor sketch of the products of all pairs of a map's channels."""

from typing import Any

import keras
import numpy as np
from keras import ops

from clan_tf.layers.bilinear import SecondOrderPooling
from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor


@keras.saving.register_keras_serializable(package="clan_tf")
class CompactBilinearPooling(SecondOrderPooling):
    """Pools a map to a tensor sketch: every product of two channels is added, with a random sign, to one of few sums.

    Channel `i` has two random places `h1(i)`, `h2(i)` below `sketch_dim` and two random signs. Feature `d` is the sum
    of `s1(i) s2(j) G_ij` over the pairs with `(h1(i) + h2(j)) mod sketch_dim = d`, where `G` is `BilinearPooling`'s
    matrix; then come its signed square root and the division by the norm. Products of two sketches are, on average over
    the seeds, the products of what they stand for. The usual way to compute it, as a circular convolution by Fourier
    transforms, gives the same numbers, but they aren't available in TFLite, nor in half precision.

    Args:
        sketch_dim: number of features.
        seed: draws the places and signs, by NumPy's `RandomState`, whose stream never changes; they aren't weights.

    Call arguments:
        maps: `(batch, height, width, channels)`.

    Returns:
        `(batch, sketch_dim)`, each of norm 1, or 0 where the map is 0.

    Raises:
        ValueError: if an argument is invalid, or the input isn't a map with a known number of channels.

    Reference:
        Gao, Beijbom, Zhang and Darrell, Compact Bilinear Pooling, CVPR 2016, algorithm 2.
    """

    def __init__(self, sketch_dim: int = 8192, seed: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if sketch_dim < 1:
            raise ValueError(f"`sketch_dim` must be a positive number. Received: sketch_dim={sketch_dim!r}")
        if not 0 <= seed < 2**32:
            raise ValueError(f"`seed` must be from 0 to 2**32 - 1. Received: seed={seed!r}")
        self.sketch_dim = sketch_dim
        self.seed = seed

    def build(self, shape: Shape) -> None:
        """Draws the places and signs, from the shape of `maps`."""
        require_map("maps", shape)
        first, second, self.first_signs, self.second_signs = self.hashes(shape[-1])
        self.members = _members((first[:, None] + second[None, :]) % self.sketch_dim, self.sketch_dim)

    def hashes(self, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns both places, int64, and both signs, float32, of each channel: four arrays `(channels,)`."""
        random = np.random.RandomState(self.seed)
        places, signs = [], []
        for _ in range(2):
            places.append(random.randint(0, self.sketch_dim, channels, "int64"))
            signs.append((2 * random.randint(0, 2, channels, "int64") - 1).astype("float32"))
        return places[0], places[1], signs[0], signs[1]

    def products(self, x: Tensor) -> Tensor:
        """Sums the sketch of the products of all pairs of channels over the positions."""
        channels = x.shape[-1]
        gram = ops.matmul(ops.transpose(x * self.first_signs, (0, 2, 1)), x * self.second_signs)
        flat = ops.pad(ops.reshape(gram, (-1, channels**2)), ((0, 0), (0, 1)))
        return ops.sum(ops.take(flat, self.members, axis=1), axis=2)

    def product_cost(self, shape: Shape) -> tuple[int, int]:
        """Counts multiply-accumulates and float32 bytes of the products of one photo's map and of their sums."""
        macs, size = super().product_cost(shape)
        return macs, size + 4 * self.members.size

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns `(batch, sketch_dim)`."""
        return (shape[0], self.sketch_dim)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "sketch_dim": self.sketch_dim, "seed": self.seed}


def _members(places: np.ndarray, size: int) -> np.ndarray:
    """Lists the pairs of each sum.

    Args:
        places: the sum of each pair of channels `(channels, channels)`.
        size: how many sums there are.

    Returns:
        Flat indices of the pairs, int32 `(size, most)`; the rows of smaller sums end with `channels ** 2`, whose
        product is 0.
    """
    flat = places.ravel()
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=size)
    starts = np.cumsum(counts) - counts
    members = np.full((size, counts.max()), flat.size, "int32")
    members[flat[order], np.arange(flat.size) - np.repeat(starts, counts)] = order
    return members
