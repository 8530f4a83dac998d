"""What a model sees of a photo, without TensorFlow: resized by NumPy to the pixels of training and evaluation."""

import numpy as np


def numpy_evaluation_view(image: np.ndarray, size: int, resize_size: int, mode: str) -> np.ndarray:
    """Returns what a model sees of a photo: resized, the centre cropped.

    The values are those of `clan_tf.data.pipeline.evaluation_view`; where the aspect is kept, a few in ten thousand are
    rounded to the next level, because that resizes only the window.

    Args:
        image: uint8 RGB `(height, width, 3)`.
        size: side of the square, in pixels.
        resize_size: side of the photo resized to a square or, where its aspect is kept, its shorter side.
        mode: `stretch` or `keep_aspect`.

    Returns:
        Uint8 RGB `(size, size, 3)`.
    """
    height, width, _ = image.shape
    shorter = min(height, width)
    full_height, full_width = (_full_length(length, shorter, resize_size, mode) for length in (height, width))
    top, left = (full_height - size) // 2, (full_width - size) // 2
    if (full_height, full_width) == (height, width):
        return image[top : top + size, left : left + size]
    # Only what the crop keeps: a photo of 1 x 6,000 pixels whose aspect is kept would be 1.5 million pixels wide.
    rows = _resample_outer_axis(image.reshape(height, width * 3), full_height, top, size)
    columns = rows.reshape(size, width, 3).transpose(1, 0, 2).reshape(width, size * 3)
    values = _resample_outer_axis(columns, full_width, left, size).reshape(size, size, 3).transpose(1, 0, 2)
    return (values + np.float32(0.5)).astype("uint8")


def _full_length(length: int, shorter: int, resize_size: int, mode: str) -> int:
    return resize_size if mode == "stretch" else int(np.round(np.float32(length * resize_size) / np.float32(shorter)))


def _resample_outer_axis(matrix: np.ndarray, size: int, first: int, count: int) -> np.ndarray:
    """Computes `count` rows, from `first` on, of the antialiased bilinear interpolation of a matrix to `size` rows.

    The steps and the order of the sums are those of TensorFlow's `ScaleAndTranslate`, in float32.
    """
    length, one = len(matrix), np.float32(1)
    inverse_scale = one / (np.float32(size) / np.float32(length))
    kernel_scale = max(inverse_scale, one)
    samples = (np.arange(first, first + count, dtype="float32") + np.float32(0.5)) * inverse_scale
    half = np.float32(0.5)
    starts = np.clip(np.ceil(samples - kernel_scale - half), 0, length - 1).astype(int)
    ends = np.clip(np.floor(samples + kernel_scale - half), 0, length - 1).astype(int)
    places = starts[:, None] + np.arange((ends - starts).max() + 1)
    distances = np.abs((places.astype("float32") + half - samples[:, None]) * (one / kernel_scale))
    weights = np.where(places <= ends[:, None], np.maximum(one - distances, np.float32(0)), np.float32(0))
    weights = weights * (one / np.add.accumulate(weights, axis=1)[:, -1:])
    values = np.zeros((count, matrix.shape[1]), "float32")
    for place, weight in zip(np.minimum(places, length - 1).T, weights.T, strict=True):
        values += weight[:, None] * matrix[place].astype("float32")
    return values
