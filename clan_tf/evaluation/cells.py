"""A confusion matrix by its cells that aren't 0: there are no more of them than photos, however many classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWN = 1000
"""Up to this many classes a confusion matrix is written and drawn whole: with more, a table would hold almost only
zeros, and a cell of a picture would be smaller than a pixel."""


@dataclass(frozen=True)
class Cells:
    """The cells of a confusion matrix that aren't 0, row after row.

    Attributes:
        true: the true class of each, int `(cells,)`.
        predicted: the predicted class of each, int `(cells,)`.
        photos: how many photos it counts, int `(cells,)`.
        classes: how many classes there are.
    """

    true: np.ndarray
    predicted: np.ndarray
    photos: np.ndarray
    classes: int

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray, classes: int) -> "Cells":
        """Counts photos by their true and their predicted class, both int `(photos,)`."""
        places, photos = np.unique(labels.astype("int64") * classes + predicted, return_counts=True)
        return cls(places // classes, places % classes, photos, classes)

    @property
    def are_right(self) -> np.ndarray:
        """Which of them are on the diagonal, bool `(cells,)`."""
        return self.true == self.predicted

    def by_class(self) -> np.ndarray:
        """Returns the number of photos of each class, of those taken for it, and of those right, `(3, classes)`."""
        right = self.photos * self.are_right
        parts = ((self.true, self.photos), (self.predicted, self.photos), (self.true, right))
        return np.array([np.bincount(which, counts, self.classes) for which, counts in parts]).astype("int64")

    def mistakes(self) -> list[tuple[int, int, int]]:
        """Lists true label, predicted label and number of photos of the mistakes, most photos first."""
        wrong = ~self.are_right
        pairs = zip(*(each[wrong].tolist() for each in (self.true, self.predicted, self.photos)), strict=True)
        return sorted(pairs, key=lambda pair: -pair[2])

    def dense(self) -> np.ndarray:
        """Returns the whole matrix, int64 `(classes, classes)`; rows are true classes."""
        return self.part(range(self.classes))

    def part(self, labels: Sequence[int]) -> np.ndarray:
        """Returns the rows and columns of some classes, int64 `(labels, labels)`."""
        places = np.full(self.classes, -1)
        places[labels] = np.arange(len(labels))
        inside = (places[self.true] >= 0) & (places[self.predicted] >= 0)
        matrix = np.zeros((len(labels), len(labels)), "int64")
        matrix[places[self.true[inside]], places[self.predicted[inside]]] = self.photos[inside]
        return matrix
