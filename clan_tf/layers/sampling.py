"""Photos resampled so that what attention is on gets more pixels."""

from typing import Any

import keras
from keras import ops

from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor

_ITERATIONS = 5
_SMALLEST = 1e-6


class Resampler(keras.layers.Layer):
    """The base of layers that resample photos to a square of another size, by `resample`.

    Inputs aren't cast, and places are float32 in every precision: half precision has no places between whole pixels.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if size < 1:
            raise ValueError(f"`size` must be a positive number. Received: size={size!r}")
        self.size = size

    def multiply_accumulates(self, photos_shape: Shape) -> int:
        """Counts the multiply-accumulates for one photo: those of two matrix products."""
        height, width, channels = photos_shape[1:]
        return self.size * height * width * channels + self.size**2 * width * channels

    def working_bytes(self, photos_shape: Shape) -> int:
        """Counts the float32 bytes of one resampled photo, and of the matrices that make it."""
        height, width, channels = photos_shape[1:]
        return 4 * (self.size**2 * channels + self.size * (width * channels + height + width))

    def resampled_shapes(self, photos_shape: Shape) -> tuple[Shape, Shape]:
        """Returns the shapes of the resampled photos and of the places of their rows and columns."""
        return (photos_shape[0], self.size, self.size, photos_shape[3]), (photos_shape[0], 2, self.size)

    def compute_output_spec(self, photos, *args, **kwargs):
        """Returns the shapes and dtypes of the resampled photos and of the places."""
        resampled, places = self.resampled_shapes(photos.shape)
        return keras.KerasTensor(resampled, self.compute_dtype), keras.KerasTensor(places, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="clan_tf")
class AttentionSampler(Resampler):
    """Resamples photos to a smaller size, densely where attention is high and sparsely where it is low.

    Rows and columns are resampled independently of each other, so that straight lines stay so. The attention's maxima
    over each row are a density of the rows, scaled to sum to `size`; likewise for the columns. Five times, what is
    above a limit, the smaller of the two densities' maxima, is cut off and spread over all cells; the first time the
    limit is at most `dense` times the mean. Row `i` of the result is then the photo's row at which the density's
    integral is `i + 1/2`, interpolated linearly. With an attention that is the same everywhere, this is a bilinear
    resize. All is computed in float32.

    Args:
        size: side of the square photos that are returned, in pixels.
        dense: largest density at first, in multiples of its mean.

    Call arguments:
        photos: `(batch, height, width, channels)`.
        attention: not negative, `(batch, rows, columns, 1)`.

    Returns:
        The photos `(batch, size, size, channels)` and where their rows and columns lie in the given ones, in
        pixels from the first one's centre: `(batch, 2, size)`.

    Raises:
        ValueError: if an argument is invalid, or the inputs aren't maps of known sizes.

    Reference:
        Zheng, Fu, Zha and Luo, Looking for the Devil in the Details, CVPR 2019, section 3.2.
    """

    def __init__(self, size: int, dense: float = 4.0, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        if not dense >= 1:
            raise ValueError(f"`dense` must be at least 1. Received: dense={dense!r}")
        self.dense = dense

    def build(self, photos_shape: Shape, attention_shape: Shape) -> None:
        """Checks the shapes of `photos` and `attention`."""
        require_map("photos", photos_shape, static_size=True)
        require_map("attention", attention_shape, static_size=True)

    def call(self, photos, attention):
        """Resamples `photos`."""
        x = ops.cast(photos, "float32")
        densities = sampling_densities(ops.cast(attention[..., 0], "float32"), self.size, self.dense)
        rows, columns = (
            sample_positions(density, self.size, length)
            for density, length in zip(densities, x.shape[1:3], strict=True)
        )
        resampled = resample(x, rows, columns)
        return ops.cast(resampled, self.compute_dtype), ops.stack([rows, columns], axis=1)

    def compute_output_shape(self, photos_shape: Shape, attention_shape: Shape) -> tuple[Shape, Shape]:
        """Returns the shapes of the photos and of the places of their rows and columns."""
        return self.resampled_shapes(photos_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "dense": self.dense}


def sampling_densities(attention: Tensor, size: int, dense: float) -> tuple[Tensor, Tensor]:
    """Returns how many of `size` samples each row and each column of cells gets.

    Args:
        attention: not negative, `(batch, rows, columns)`; where it is 0 everywhere, the densities are uniform.
        size: what both densities sum to.
        dense: as in `AttentionSampler`.

    Returns:
        `(batch, rows)` and `(batch, columns)`, above 0.
    """
    densities = [ops.max(attention, axis=axis) + _SMALLEST for axis in (2, 1)]
    densities = [size * each / ops.sum(each, axis=1, keepdims=True) for each in densities]
    for iteration in range(_ITERATIONS):
        limit = ops.minimum(*(ops.max(each, axis=1, keepdims=True) for each in densities))
        for index, density in enumerate(densities):
            cells = density.shape[1]
            most = ops.minimum(limit, dense * size / cells) if iteration == 0 else limit
            cut = ops.minimum(density, most)
            densities[index] = cut + (size - ops.sum(cut, axis=1, keepdims=True)) / cells
    return densities[0], densities[1]


def sample_positions(density: Tensor, size: int, length: int) -> Tensor:
    """Returns where the samples lie along an axis: the density's integral is `i + 1/2` at sample `i`.

    Args:
        density: samples in each cell, above 0, `(batch, cells)`.
        size: number of samples.
        length: length of the axis in pixels.

    Returns:
        In pixels from the first one's centre, within the axis, `(batch, size)`.
    """
    cells = density.shape[1]
    after = ops.cumsum(density, axis=1)
    before = after - density
    total = after[:, -1:]
    wanted = (ops.arange(size, dtype="float32") + 0.5) * (total / size)
    # What of each cell is passed when the integral has the wanted value.
    passed = ops.clip((wanted[:, :, None] - before[:, None, :]) / density[:, None, :], 0.0, 1.0)
    position = ops.sum(passed, axis=2) * (length / cells) - 0.5
    return ops.clip(position, 0.0, length - 1.0)


def resample(photos: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolates photos bilinearly at the crossings of some rows and columns, by two matrix products.

    Args:
        photos: float32 `(batch, height, width, channels)`.
        rows: in pixels from the first one's centre, `(batch, new_height)`.
        columns: likewise, `(batch, new_width)`.

    Returns:
        `(batch, new_height, new_width, channels)`.
    """
    height, width, channels = photos.shape[1:]
    new_height, new_width = rows.shape[1], columns.shape[1]
    x = ops.matmul(_hats(rows, height), ops.reshape(photos, (-1, height, width * channels)))
    x = ops.transpose(ops.reshape(x, (-1, new_height, width, channels)), (0, 2, 1, 3))
    x = ops.matmul(_hats(columns, width), ops.reshape(x, (-1, width, new_height * channels)))
    return ops.transpose(ops.reshape(x, (-1, new_width, new_height, channels)), (0, 2, 1, 3))


def _hats(places: Tensor, length: int) -> Tensor:
    """Returns the weight of each pixel at each place, `(batch, places, length)`: 1 at it, 0 a pixel away."""
    return ops.relu(1.0 - ops.abs(places[:, :, None] - ops.arange(length, dtype="float32")))
