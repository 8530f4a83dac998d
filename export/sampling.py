"""Representative samples of photos."""

from collections.abc import Sequence

import numpy as np

from clan_tf.data import Photo
from clan_tf.data.sources.source import members_by_label, shuffled_members


def stratified(photos: Sequence[Photo], count: int) -> list[Photo]:
    """Samples `count` photos, or all if there are fewer, in their order; see `stratified_indices`."""
    return [photos[index] for index in stratified_indices([photo.label for photo in photos], count)]


def stratified_indices(labels: Sequence[int], count: int) -> list[int]:
    """Samples the indices of `count` labels, rising: from the classes in turn, at random within each.

    The classes' own order is random, too, so that fewer photos than classes aren't those of the first classes. A
    smaller sample is part of a larger one.
    """
    members = members_by_label(labels)
    names = list(members)
    queues = [shuffled_members(members[names[place]], 0, names[place]) for place in _mixed(len(names))]
    in_turn = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    return sorted(in_turn[:count])


def _mixed(count: int) -> list[int]:
    return np.random.default_rng(0).permutation(count).tolist()
