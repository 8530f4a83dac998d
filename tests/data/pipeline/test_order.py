"""The order of photos, and what batches depend on."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from clan_tf.data.checked_photos import CheckedPhotos
from clan_tf.data.pipeline import PhotoReader, training_batches, training_view
from clan_tf.data.pipeline.order import photo_order
from clan_tf.data.pipeline.pipeline import Worker
from clan_tf.errors import UserError
from helpers.pipeline import experiment, images


def indices(order: Any, epoch: int, places: int) -> list[int]:
    return [int(order(tf.constant(epoch), tf.constant(place))) for place in range(places)]


def test_repeats_put_the_same_photo_into_neighbouring_places() -> None:
    order = photo_order(np.arange(9), "shuffle", 3, seed=0)
    found = indices(order, 0, 27)
    assert found[::3] == found[1::3] == found[2::3]
    assert sorted(found[::3]) == list(range(9))


def test_class_balanced_order_takes_every_class_equally_and_no_photo_again_before_the_others() -> None:
    labels = np.array([0] * 12 + [1] * 3 + [2] * 5)
    found = indices(photo_order(labels, "class_balanced", 1, seed=0), 1, 36)
    assert Counter(labels[found].tolist()) == {0: 12, 1: 12, 2: 12}
    for start in range(0, 36, 3):
        assert sorted(labels[found[start : start + 3]]) == [0, 1, 2]
    for label, count in ((0, 12), (1, 3), (2, 5)):
        own = [index for index in found if labels[index] == label]
        for start in range(0, len(own) - count + 1, count):
            assert len(set(own[start : start + count])) == count
    assert found != indices(photo_order(labels, "class_balanced", 1, seed=0), 2, 36)


def test_pairs_are_two_photos_of_a_class_side_by_side() -> None:
    labels = np.array([0] * 12 + [1] * 3 + [2] * 5 + [3])
    found = indices(photo_order(labels, "pairs", 1, seed=0), 1, 48)
    pairs = np.array(found).reshape(-1, 2)
    assert (labels[pairs[:, 0]] == labels[pairs[:, 1]]).all()
    for start in range(0, len(pairs), 4):
        assert sorted(labels[pairs[start : start + 4, 0]]) == [0, 1, 2, 3]
    for label, count in ((0, 12), (1, 2), (2, 4)):
        own = [index for index in found if labels[index] == label]
        for start in range(0, len(own) - count + 1, count):
            assert len(set(own[start : start + count])) == count
    # In the long run every photo is shown, and no photo beside itself unless it is the only one.
    many = np.array(indices(photo_order(labels, "pairs", 1, seed=0), 0, 400)).reshape(-1, 2)
    assert set(many.ravel()) == set(range(21))
    assert {int(labels[first]) for first, second in many if first == second} == {3}
    assert {tuple(pair) for pair in pairs if labels[pair[0]] == 3} == {(20, 20)}
    assert found != indices(photo_order(labels, "pairs", 1, seed=0), 2, 48)
    assert found != indices(photo_order(labels, "pairs", 1, seed=1), 1, 48)


EVERYTHING = "data.augmentation={policy: rand_augment, color_jitter: 0.3, random_erasing: 0.5, mixup: 0.5, cutmix: 0.5}"


@pytest.mark.parametrize("augmentation", ["data.augmentation={policy: none}", EVERYTHING])
def test_batches_depend_on_seed_and_position_alone(checked: CheckedPhotos, augmentation: str) -> None:
    whole = images(checked, experiment(augmentation))
    again = images(checked, experiment(augmentation), start_step=2)
    assert len(whole) == 4
    for one, other in zip(whole[2:], again, strict=True):
        np.testing.assert_array_equal(one, other)
    other_seed = images(checked, experiment(augmentation, "training.seed=5"))
    assert not np.array_equal(whole[0], other_seed[0])


def test_batches_do_not_depend_on_how_many_calls_run_in_parallel(checked: CheckedPhotos) -> None:
    setup = experiment(EVERYTHING)
    reader = PhotoReader(checked, training_view(setup.data))

    def with_threads(threads: int) -> list[np.ndarray]:
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        dataset = training_batches(reader, checked.labels, 4, setup).with_options(options)
        return [value.numpy() for batch in dataset for value in batch]

    for one, other in zip(with_threads(1), with_threads(8), strict=True):
        np.testing.assert_array_equal(one, other)


def test_workers_read_the_parts_of_each_batch(checked: CheckedPhotos) -> None:
    whole = images(checked, experiment())
    parts = [images(checked, experiment(), worker=Worker(index, 2)) for index in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(batch, np.concatenate([first, second]))
    with pytest.raises(UserError, match="can't be divided among 3 workers"):
        images(checked, experiment(), worker=Worker(0, 3))


def test_no_epoch_repeats_the_order_of_another() -> None:
    order = tf.function(photo_order(np.arange(3000), "shuffle", 1, seed=0))
    starts = [tuple(int(order(tf.constant(epoch), tf.constant(place))) for place in range(4)) for epoch in range(300)]
    assert len(set(starts)) == 300
