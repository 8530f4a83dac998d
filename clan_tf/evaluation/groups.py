"""Resampling for intervals: of photos or, where photos belong together, of whole groups of them."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from scipy.sparse import csr_array

RESAMPLES, _NUMBERS = 1000, 2**20
"""How often the bootstrap resamples, and how many numbers it draws at a time."""
FEWEST, FEW = 3, 10
"""With fewer groups than the first there is no interval over groups, with fewer than the second a rough one."""


def draws(*strata: int) -> Iterator[np.ndarray]:
    """Draws as many units as there are, with replacement, `RESAMPLES` times and always the same.

    Args:
        strata: numbers of units. The units of one stand behind those of another, and of each as many are drawn as it
            has, so that none is missing in a resample.

    Yields:
        Indices `(resamples, units)`, as many resamples at a time as memory allows.
    """
    rng, at_a_time = np.random.default_rng(0), max(1, _NUMBERS // sum(strata))
    bounds = [0, *accumulate(strata)]
    for first in range(0, RESAMPLES, at_a_time):
        count = min(at_a_time, RESAMPLES - first)
        drawn = [rng.integers(low, high, (count, high - low)) for low, high in pairwise(bounds)]
        yield np.concatenate(drawn, axis=1)


@dataclass(frozen=True)
class Groups:
    """Groups of photos that aren't independent, so that a bootstrap draws them whole (the cluster bootstrap).

    Attributes:
        ids: the group of each photo, counted from 0 in the order of their first photos, int `(photos,)`.
    """

    ids: np.ndarray

    @classmethod
    def of(cls, keys: Iterable[Hashable]) -> "Groups":
        """Returns the groups of photos that have the same key."""
        numbers: dict[Hashable, int] = {}
        return cls(np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype="int64"))

    def __len__(self) -> int:
        return int(self.ids.max()) + 1 if len(self.ids) else 0

    def subset(self, chosen: np.ndarray) -> "Groups":
        """Returns the groups of some of the photos, bool `(photos,)`."""
        return Groups.of(self.ids[chosen].tolist())

    def times(self) -> Iterator[np.ndarray]:
        """Yields how often each group is in each resample, int `(resamples, groups)`, some resamples at a time."""
        groups = len(self)
        for drawn in draws(groups):
            places = drawn + groups * np.arange(len(drawn))[:, None]
            yield np.bincount(places.ravel(), minlength=groups * len(drawn)).reshape(len(drawn), groups)

    def resamples(self) -> Iterator[np.ndarray]:
        """Yields the indices of the photos of each resample, each as often as its group was drawn."""
        photos = np.arange(len(self.ids))
        for times in self.times():
            yield from (np.repeat(photos, row[self.ids]) for row in times)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Returns the sums of each group's photos, `(groups, …)`, of values `(photos, …)`."""
        photos = len(self.ids)
        members = csr_array((np.ones(photos), (self.ids, np.arange(photos))), shape=(len(self), photos))
        return members @ values

    def resampled_sums(self, values: np.ndarray) -> np.ndarray:
        """Returns the sums of each resample's photos, `(RESAMPLES, …)`, of values `(photos, …)`."""
        sums = self.sums(values)
        return np.concatenate([times @ sums for times in self.times()])


def interval_text(groups: int) -> str:
    """Returns a sentence on intervals over groups."""
    return (
        f"95 % intervals are by a bootstrap over {groups:,} groups of photos (data.group); those of single branches, "
        "of classes and of unknown photos take photos as independent."
    )
