"""The `tf.data` pipeline: photos to batches, for training and for everything that reads each photo once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from clan_tf.config import DataConfig, Experiment
from clan_tf.data.pipeline.augmentation import batch_augmentation, photo_augmentation
from clan_tf.data.pipeline.order import photo_order
from clan_tf.data.pipeline.reading import Reader, View, without_autograph
from clan_tf.data.pipeline.resizing import Axis, centre, centre_start, full_lengths, resize_photo, resize_window
from clan_tf.errors import UserError

_CROP, _FLIP, _AUGMENT, _MIX = 1, 2, 3, 4
"""Keep the random numbers of different uses apart."""


@dataclass(frozen=True)
class Worker:
    """Which of several processes this is: each reads only its own part of every batch."""

    index: int = 0
    count: int = 1

    def position(self, number: tf.Tensor, batch_size: int) -> tf.Tensor:
        """Returns where this worker's photo `number` (from 0) stands among the photos of all workers."""
        own_size = batch_size // self.count
        return number // own_size * batch_size + self.index * own_size + number % own_size


ALONE = Worker()


def training_view(data: DataConfig) -> View:
    """Returns what the model sees of a photo by the `data` section."""
    return View(data.image_size, data.full_size, data.resize_mode)


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Counts the full batches in an epoch; the few photos that don't fill one differ from epoch to epoch."""
    if photos < batch_size:
        raise UserError(
            f"training.batch_size: {batch_size} is more than the {photos} train photos. "
            f"Use --set training.batch_size={photos} or less."
        )
    return photos // batch_size


def training_batches(
    reader: Reader,
    labels: np.ndarray,
    classes: int,
    experiment: Experiment,
    start_step: int = 0,
    worker: Worker = ALONE,
) -> tf.data.Dataset:
    """Returns shuffled, augmented batches of a whole run.

    The photo at a position of the run, and what is done to it, depend on the seed and that position alone: not on how
    many calls run in parallel, nor on where reading starts.

    Args:
        reader: the train photos.
        labels: their labels, int32 `(photos,)`.
        classes: number of classes.
        experiment: whose `data` and `training` sections say how photos are prepared.
        start_step: the first step to read.
        worker: whose part of each batch is read.

    Returns:
        A dataset of `(photos, labels)` for all epochs one after the other. Photos are RGB in 0…255
        `(batch, image_size, image_size, 3)`, uint8 or, where the augmentation computes, float32; labels are int32
        `(batch,)` or, with MixUp or CutMix, shares float32 `(batch, classes)`.

    Raises:
        UserError: if there are fewer photos than a batch holds, or the batch can't be divided among the workers.
    """
    training, data = experiment.training, experiment.data
    steps = steps_per_epoch(len(labels), training.batch_size)
    if training.batch_size % worker.count:
        raise UserError(f"training.batch_size: {training.batch_size} can't be divided among {worker.count} workers.")
    own_size, seed = training.batch_size // worker.count, training.seed
    order = photo_order(labels, experiment.sampling, data.repeats, seed)
    augment = photo_augmentation(data.augmentation, data.image_size)
    mix = batch_augmentation(data.augmentation)
    all_labels = tf.constant(labels)

    def index_of(number: tf.Tensor) -> tf.Tensor:
        position, epoch_size = worker.position(number, training.batch_size), steps * training.batch_size
        return order(tf.cast(position // epoch_size, tf.int32), tf.cast(position % epoch_size, tf.int32))

    def prepare(number: tf.Tensor, content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index, position = index_of(number), worker.position(number, training.batch_size)
        mirrored = tf.random.stateless_uniform((), _seed(seed, position, _FLIP)) < (0.5 if data.flip else 0.0)
        photo = _random_window(reader, index, content, mirrored, _seed(seed, position, _CROP))
        if augment:
            photo = augment(photo, _seed(seed, position, _AUGMENT))
        return photo, all_labels[index]

    numbers = tf.data.Dataset.range(start_step * own_size, training.epochs * steps * own_size)
    prepared = reader.encoded(numbers, index_of).map(without_autograph(prepare), tf.data.AUTOTUNE)
    batches = prepared.batch(own_size, drop_remainder=True)
    if mix:

        def mix_batch(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            return mix(batch[0], tf.one_hot(batch[1], classes), _seed(seed, step * worker.count + worker.index, _MIX))

        batches = batches.enumerate(start_step).map(without_autograph(mix_batch), tf.data.AUTOTUNE)
    return finish(batches)


def evaluation_batches(reader: Reader, labels: np.ndarray, batch_size: int, worker: Worker = ALONE) -> tf.data.Dataset:
    """Returns every photo once, in order, in batches of one size: the last is padded with photos of weight 0.

    Returns:
        A dataset of `(photos, labels, weights)`: uint8 RGB `(own_size, image_size, image_size, 3)`, int32 and float32
        `(own_size,)`, where `own_size` is the worker's part of `batch_size`; the weight is 1, or 0 for padding.
    """
    photos, all_labels, own_size = len(labels), tf.constant(labels), batch_size // worker.count

    def index_of(number: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.minimum(worker.position(number, batch_size), photos - 1), tf.int32)

    def prepare(number: tf.Tensor, content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        index, weight = index_of(number), tf.cast(worker.position(number, batch_size) < photos, tf.float32)
        return reader.centre(index, content), all_labels[index], weight

    numbers = tf.data.Dataset.range(-(-photos // batch_size) * own_size)
    prepared = reader.encoded(numbers, index_of).map(without_autograph(prepare), tf.data.AUTOTUNE)
    return finish(prepared.batch(own_size, drop_remainder=True))


def distribute(
    strategy: tf.distribute.Strategy, batches_of: Callable[[Worker], tf.data.Dataset], batch_size: int, parts: int = 1
) -> Iterable:
    """Distributes batches: each process reads its part of the global batch, each device gets its part of that.

    Args:
        strategy: who shares each batch.
        batches_of: gives a worker's part of each batch.
        batch_size: of the global batch.
        parts: into how many elements, one after the other, a device's part is divided.
    """

    def own_batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        worker = Worker(context.input_pipeline_id, context.num_input_pipelines)
        size = batch_size // (context.num_replicas_in_sync * parts)
        batches = batches_of(worker)
        return batches if size * worker.count == batch_size else batches.rebatch(size, drop_remainder=True)

    return strategy.distribute_datasets_from_function(own_batches)


def evaluation_view(image: tf.Tensor, view: View) -> tf.Tensor:
    """Returns what the model sees of a photo outside training: resized, the centre cropped.

    Stretched photos are resized whole, because that is what exported files that cut the centre themselves receive; a
    window alone would occasionally be rounded to the neighbouring level. Where the aspect is kept, only the window is
    computed: a whole panorama whose shorter side is enlarged could fill gigabytes.

    Args:
        image: uint8 RGB `(height, width, 3)`.

    Returns:
        Uint8 RGB `(image_size, image_size, 3)`.
    """
    if view.mode == "stretch":
        return centre(resize_photo(image, view.full_size), view.image_size)
    lengths = tf.unstack(tf.shape(image)[:2])
    full = full_lengths(lengths[0], lengths[1], view.full_size, view.mode)
    rows, columns = (
        Axis(length, whole, centre_start(whole, view.image_size), view.image_size)
        for length, whole in zip(lengths, full, strict=True)
    )
    (first_row, end_row), (first_column, end_column) = rows.source_range(), columns.source_range()
    part = image[first_row:end_row, first_column:end_column]
    return resize_window(part, (first_row, first_column), rows, columns)


def _random_window(
    reader: Reader, index: tf.Tensor, content: tf.Tensor, mirrored: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    places = tf.stack(reader.full_lengths(index)) - reader.view.image_size + 1
    draws = tf.random.stateless_uniform((2,), seed) * tf.cast(places, tf.float32)
    top_left = tf.minimum(tf.cast(draws, tf.int32), places - 1)
    return reader.window(index, content, top_left[0], top_left[1], mirrored)


def _seed(seed: int, position: tf.Tensor, use: int) -> tf.Tensor:
    return tf.stack([tf.constant(seed * 8 + use, tf.int64), position])


def finish(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the dataset of batches with the options of all of them, a few prepared ahead."""
    options = tf.data.Options()
    options.deterministic = True
    # With op determinism, deleting an iterator waits for the end of a tuning period, which grows to a minute.
    options.autotune.enabled = False
    # One process reads everything and a strategy splits each batch among its devices.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(2).with_options(options)
