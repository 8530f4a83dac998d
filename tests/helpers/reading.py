"""The table of photo files on disk, and how what readers make of it is compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from clan_tf.data import Photo
from clan_tf.data.pipeline import View, evaluation_batches, evaluation_view
from clan_tf.data.pipeline.reading import Reader
from helpers.photo_table.parts import PhotoFile

VIEWS = {"stretch": View(16, 20), "keep_aspect": View(16, 20, "keep_aspect")}


@dataclass(frozen=True)
class Table:
    """The rows as files.

    Attributes:
        folder: where they lie.
        rows: all of them.
        pixels: what `decode` gives of each that can be decoded, upright, by name.
        sentences: why each other one is refused, by name.
    """

    folder: Path
    rows: Sequence[PhotoFile]
    pixels: dict[str, np.ndarray]
    sentences: dict[str, str]

    @property
    def photos(self) -> list[Photo]:
        """The files as a source gives them."""
        return [Photo(str(self.folder / row.name), 0) for row in self.rows]

    @property
    def good(self) -> list[PhotoFile]:
        """The rows that can be decoded."""
        return [row for row in self.rows if row.name in self.pixels]


def view_of(mode: str) -> Callable[[np.ndarray], np.ndarray]:
    """From upright pixels."""
    photo = tf.TensorSpec((None, None, 3), tf.uint8)
    if mode not in _VIEW_FUNCTIONS:
        traced = tf.function(lambda image: evaluation_view(image, VIEWS[mode]), [photo], autograph=False)
        _VIEW_FUNCTIONS[mode] = traced.get_concrete_function()
    return lambda pixels: _VIEW_FUNCTIONS[mode](tf.constant(pixels)).numpy()


_VIEW_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {}


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The most levels between two pictures; infinite if their sizes differ."""
    return np.abs(one.astype(int) - other).max() if one.shape == other.shape else float("inf")


def seen(reader: Reader, photos: int) -> np.ndarray:
    """What evaluation makes of all photos, in order."""
    batches = evaluation_batches(reader, np.zeros(photos, "int32"), 64)
    return np.concatenate([images.numpy() for images, _, _ in batches])[:photos]


def differing(given: np.ndarray, expected: np.ndarray, names: Sequence[str], allowed: int = 0) -> dict[str, float]:
    """The photos whose views aren't as expected, with the levels between them."""
    pairs = zip(names, given, expected, strict=True)
    return {name: far for name, one, other in pairs if (far := distance(one, other)) > allowed}
