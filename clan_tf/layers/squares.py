"""Squares that a network chooses to look at again, cut out of photos and enlarged."""

from typing import Any

import keras
import numpy as np
from keras import ops

from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor
from clan_tf.layers.sampling import Resampler, resample

SMALLEST, LARGEST, USUAL = 1 / 6, 1 / 2, 1 / 4
"""Half the side of a square in sides of the one that it lies in: its bounds, and what a new network proposes."""


@keras.saving.register_keras_serializable(package="clan_tf")
class SquareProposal(keras.layers.Layer):
    """Proposes a square of the part of a photo that a map is of: an attention proposal network (APN).

    The map's numbers, divided by their root mean square, pass a dense layer with tanh and one with three sigmoids `r`.
    In sides of the square that the map is of, half the side of the proposed one is `h = 1/6 + r_3 / 3`, and its centre
    `h + (1 - 2h) (r_1, r_2)`: it lies inside, and has a third of the side at least. All is computed and returned in
    float32, in every precision.

    Args:
        units: length of the dense layer inside.

    Call arguments:
        maps: `(batch, height, width, channels)`, of a known size.
        within: the squares that the maps are of, as returned by this layer; whole photos if `None`.

    Returns:
        The centre's row and column and half the side, each in sides of the photo: `(batch, 3)`.

    Raises:
        ValueError: if `units` isn't positive, or the input isn't a map of a known size.

    Reference:
        Fu, Zheng and Mei, Look Closer to See Better: Recurrent Attention Convolutional Neural Network for Fine-grained
        Image Recognition, CVPR 2017, section 3.1. That the sigmoids are scaled to what is allowed is ours.
    """

    def __init__(self, units: int = 1024, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if units < 1:
            raise ValueError(f"`units` must be a positive number. Received: units={units!r}")
        self.units = units

    def build(self, maps_shape: Shape, within_shape: Shape | None = None) -> None:
        """Creates both dense layers, from the shape of `maps`."""
        require_map("maps", maps_shape, static_size=True)
        # The sigmoid of this is the size of a usual square.
        usual = float(np.log((USUAL - SMALLEST) / (LARGEST - USUAL)))
        numbers = maps_shape[1] * maps_shape[2] * maps_shape[3]
        self.inner = keras.layers.Dense(self.units, activation="tanh", dtype="float32", name="inner")
        self.outer = keras.layers.Dense(
            3,
            "sigmoid",
            kernel_initializer="zeros",
            bias_initializer=ConstantBias((0.0, 0.0, usual)),
            dtype="float32",
            name="outer",
        )
        self.inner.build((maps_shape[0], numbers))
        self.outer.build((maps_shape[0], self.units))

    def call(self, maps, within=None):
        """Proposes a square for each map."""
        share = self.outer(self.inside_units(maps))
        half = SMALLEST + (LARGEST - SMALLEST) * share[:, 2:]
        centre = half + (1 - 2 * half) * share[:, :2]
        proposed = ops.concatenate([centre, half], axis=1)
        if within is not None:
            proposed = inside(ops.cast(within, "float32"), proposed)
        return proposed

    def inside_units(self, maps: Tensor) -> Tensor:
        """Computes what the last layer takes of `maps`, once this layer is built: `(batch, units)`."""
        x = ops.cast(ops.reshape(maps, (-1, self.inner.kernel.shape[0])), "float32")
        return self.inner(x * ops.rsqrt(ops.mean(ops.square(x), axis=1, keepdims=True) + 1e-12))

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The layers with parameters inside this one, available once it is built."""
        return [self.inner, self.outer]

    def compute_output_shape(self, maps_shape: Shape, within_shape: Shape | None = None) -> Shape:
        """Returns `(batch, 3)`."""
        return (maps_shape[0], 3)

    def compute_output_spec(self, maps, within=None):
        """Returns the shape and dtype of the squares."""
        return keras.KerasTensor((maps.shape[0], 3), "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="clan_tf")
class SquareCrop(Resampler):
    """Cuts squares out of photos and resizes them, bilinearly and differentiably with respect to the squares.

    Row `i` of the result lies at the row `(y - h + 2h (i + 1/2) / size) height - 1/2` of the photo, likewise its
    columns. Each is multiplied by `s(k (p - a)) - s(k (p - b))` at its place `p`, where `s` is the sigmoid, `k` is
    `mask_slope`, and `a` and `b` are the square's edges: nearly 1 inside for a steep mask. All is computed in float32.

    Args:
        size: side of the result in pixels.
        mask_slope: how steep the mask's edges are, for each pixel of the photo.

    Call arguments:
        photos: `(batch, height, width, channels)`.
        squares: as returned by `SquareProposal`, `(batch, 3)`.

    Returns:
        The squares `(batch, size, size, channels)` and where their rows and columns lie in the photos, in pixels from
        the first one's centre: `(batch, 2, size)`.

    Raises:
        ValueError: if an argument is invalid, or the input isn't photos of a known size.

    Reference:
        Fu, Zheng and Mei, CVPR 2017, eqs. 5 to 8.
    """

    def __init__(self, size: int, mask_slope: float = 10.0, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        if not mask_slope > 0:
            raise ValueError(f"`mask_slope` must be above 0. Received: mask_slope={mask_slope!r}")
        self.mask_slope = mask_slope

    def build(self, photos_shape: Shape, squares_shape: Shape) -> None:
        """Checks the shape of `photos`."""
        require_map("photos", photos_shape, static_size=True)

    def call(self, photos, squares):
        """Cuts `squares` out of `photos`."""
        x, squares = ops.cast(photos, "float32"), ops.cast(squares, "float32")
        places = [square_positions(squares, axis, self.size, x.shape[1 + axis]) for axis in (0, 1)]
        masks = [
            square_mask(squares, axis, place, x.shape[1 + axis], self.mask_slope) for axis, place in enumerate(places)
        ]
        cut = resample(x, *places) * masks[0][:, :, None, None] * masks[1][:, None, :, None]
        return ops.cast(cut, self.compute_dtype), ops.stack(places, axis=1)

    def compute_output_shape(self, photos_shape: Shape, squares_shape: Shape) -> tuple[Shape, Shape]:
        """Returns the shapes of the squares and of the places of their rows and columns."""
        return self.resampled_shapes(photos_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "mask_slope": self.mask_slope}


@keras.saving.register_keras_serializable(package="clan_tf")
class SquareMap(keras.layers.Layer):
    """Where squares are in their photos, as maps for people to look at: 1 inside, 0 outside, less steep at the edges.

    Args:
        cells: side of the maps.

    Call arguments:
        squares: as returned by `SquareProposal`, `(batch, 3)`.

    Returns:
        `(batch, cells, cells, 1)`.

    Raises:
        ValueError: if `cells` isn't positive.
    """

    def __init__(self, cells: int = 28, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if cells < 1:
            raise ValueError(f"`cells` must be a positive number. Received: cells={cells!r}")
        self.cells = cells

    def call(self, squares):
        """Draws the maps."""
        places = ops.arange(self.cells, dtype="float32")[None]
        rows, columns = (square_mask(ops.cast(squares, "float32"), axis, places, self.cells, 10.0) for axis in (0, 1))
        return ops.cast(rows[:, :, None, None] * columns[:, None, :, None], self.compute_dtype)

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns `(batch, cells, cells, 1)`."""
        return (shape[0], self.cells, self.cells, 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "cells": self.cells}


def inside(outer: Tensor, inner: Tensor) -> Tensor:
    """Returns in sides of the photo what is given in sides of an outer square; all are `(batch, 3)`."""
    half = outer[:, 2:]
    centre = outer[:, :2] + 2 * half * (inner[:, :2] - 0.5)
    return ops.concatenate([centre, 2 * half * inner[:, 2:]], axis=1)


def square_positions(squares: Tensor, axis: int, size: int, length: int) -> Tensor:
    """Returns where the rows or columns of squares of `size` pixels lie in photos, `(batch, size)`.

    Args:
        squares: `(batch, 3)`.
        axis: 0 for rows, 1 for columns.
        size: how many there are.
        length: length of the photo's axis in pixels.

    Returns:
        In pixels from the first one's centre, within the photo.
    """
    centre, half = squares[:, axis : axis + 1], squares[:, 2:]
    share = (np.arange(size, dtype="float32") + 0.5) / size
    return ops.clip((centre - half + 2 * half * share) * length - 0.5, 0.0, length - 1.0)


def square_mask(squares: Tensor, axis: int, places: Tensor, length: int, slope: float) -> Tensor:
    """Returns along one axis the mask `s(k (p - a)) - s(k (p - b))` of squares with the edges `a` and `b`.

    Args:
        squares: `(batch, 3)`.
        axis: 0 for rows, 1 for columns.
        places: `p` in pixels from the first one's centre, `(batch or 1, places)`.
        length: length of the axis in pixels.
        slope: `k`.

    Returns:
        `(batch, places)`.
    """
    centre, half = squares[:, axis : axis + 1], squares[:, 2:]
    first, last = ((centre + sign * half) * length - 0.5 for sign in (-1, 1))
    return ops.sigmoid(slope * (places - first)) - ops.sigmoid(slope * (places - last))


@keras.saving.register_keras_serializable(package="clan_tf")
class ConstantBias(keras.initializers.Initializer):
    """Starts a bias with given numbers."""

    def __init__(self, values: tuple[float, ...]) -> None:
        self.values = values

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Makes the bias."""
        return ops.convert_to_tensor(self.values, dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {"values": self.values}
