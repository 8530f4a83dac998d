"""Which photo stands at which position of a training run, as a function of the seed and the position alone.

So reading can begin at any position immediately, and doesn't depend on how many calls run in parallel.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from clan_tf.config.data import Sampling
from clan_tf.data.sources.source import members_by_label

PhotoAt = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""From an epoch and a place in it (int32 scalars) to the index of a photo (int32 scalar)."""


def photo_order(labels: np.ndarray, sampling: Sampling, repeats: int, seed: int) -> PhotoAt:
    """Returns the order of the photos.

    Args:
        labels: int `(photos,)`.
        sampling: `"shuffle"` takes each photo at most once an epoch; `"class_balanced"` takes the classes in turn, in
            an order drawn afresh for every turn, and shuffles the photos of each class; `"pairs"` takes two photos of
            a class at each of its turns, which are one photo twice if it has no other.
        repeats: how many places in a row hold the same photo, each to be augmented in its own way.
        seed: of the whole order.
    """
    together = 2 if sampling == "pairs" else 1
    order = _shuffled(len(labels), seed) if sampling == "shuffle" else _by_class(labels, seed, together)
    return order if repeats == 1 else lambda epoch, place: order(epoch, place // repeats)


def _shuffled(photos: int, seed: int) -> PhotoAt:
    return lambda epoch, place: _shuffle(place, photos, [seed, epoch])


def _by_class(labels: np.ndarray, seed: int, together: int) -> PhotoAt:
    """Takes the classes in turn, and `together` photos of a class at each of its turns."""
    members = list(members_by_label(labels.tolist()).values())
    by_class = tf.constant(np.concatenate(members).astype("int32"))
    counts = np.array([len(photos) for photos in members], dtype="int32")
    starts = tf.constant(np.cumsum(counts, dtype="int32") - counts)
    sizes, classes = tf.constant(counts), len(members)

    def photo_at(epoch: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        turn, place_in_turn = place // together // classes, place // together % classes
        label = _shuffle(place_in_turn, classes, [seed, epoch, turn])
        size, taken = sizes[label], turn * together + place % together
        # After all its photos were taken, a class is shuffled again; those that would be in two rounds are left out.
        whole = tf.maximum(size - size % together, 1)
        member = _shuffle(taken % whole, size, [seed, epoch, -1 - label, taken // whole])
        return by_class[starts[label] + member]

    return photo_at


def _shuffle(place: tf.Tensor, count: tf.Tensor | int, seed: list[tf.Tensor | int]) -> tf.Tensor:
    """Returns where `place` of `0 … count - 1` goes in the permutation that `seed` stands for."""
    key = tf.constant([0, 0])
    for number in seed:
        key = tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int32))
    # `index_shuffle` uses 8 bits of each number, and the last one is folded in unchanged: epoch 256 would repeat 0.
    key = tf.random.stateless_uniform((2,), key, minval=None, maxval=None, dtype=tf.int32)
    return tf.random.experimental.index_shuffle(place, key, count - 1)
