"""The `tf.data` pipeline: photos to batches, for training and for everything that looks at a photo once."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from clan_tf.config import Experiment
from clan_tf.data.photos import CheckedPhotos, decode
from clan_tf.errors import UserError

_CROP, _FLIP = 1, 2
"""Keep the random numbers of different uses apart."""


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Full batches in an epoch; the few photos that don't fill one are others in every epoch."""
    if photos < batch_size:
        raise UserError(
            f"training.batch_size: {batch_size} is more than the {photos} train photos. "
            f"Use --set training.batch_size={photos} or less."
        )
    return photos // batch_size


def training_batches(checked: CheckedPhotos, experiment: Experiment, start_step: int = 0) -> tf.data.Dataset:
    """Shuffled, augmented batches of a whole run.

    The photo at a position of the run, and its crop and flip, depend on the seed and that position alone: not on how
    many calls run in parallel, nor on where reading starts.

    Args:
        checked: the train photos.
        experiment: whose `data` and `training` sections say how photos are prepared.
        start_step: the first step that is wanted.

    Returns:
        A dataset of `(photos, labels)`: float32 RGB in 0…255 `(batch_size, image_size, image_size, 3)` and int32
        `(batch_size,)`, for all epochs one after the other.

    Raises:
        UserError: if there are fewer photos than a batch holds.
    """
    training, data = experiment.training, experiment.data
    batch_size, seed, photos = training.batch_size, training.seed, len(checked.photos)
    positions_per_epoch = steps_per_epoch(photos, batch_size) * batch_size
    load = _loader(checked)

    def prepare(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, place = position // positions_per_epoch, position % positions_per_epoch
        order_seed = tf.stack([seed, tf.cast(epoch, tf.int32)])
        index = tf.random.experimental.index_shuffle(tf.cast(place, tf.int32), order_seed, photos - 1)
        image, label = load(index)
        image = _random_crop(resize(image, data.full_size), data.image_size, _seed(seed, position, _CROP))
        if data.flip:
            image = tf.image.stateless_random_flip_left_right(image, _seed(seed, position, _FLIP))
        return image, label

    positions = tf.data.Dataset.range(start_step * batch_size, training.epochs * positions_per_epoch)
    batches = positions.map(prepare, tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)
    return _finish(batches)


def evaluation_batches(checked: CheckedPhotos, image_size: int, full_size: int, batch_size: int) -> tf.data.Dataset:
    """Every photo once, in order, in batches of one size: the last is filled up with photos that weigh nothing.

    Returns:
        A dataset of `(photos, labels, weights)`: float32 RGB in 0…255 `(batch_size, image_size, image_size, 3)`, int32
        and float32 `(batch_size,)`; the weight is 1, or 0 for filling.
    """
    photos = len(checked.photos)
    load = _loader(checked)

    def prepare(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image, label = load(tf.minimum(position, photos - 1))
        return evaluation_view(image, image_size, full_size), label, tf.cast(position < photos, tf.float32)

    positions = tf.data.Dataset.range(-(-photos // batch_size) * batch_size)
    return _finish(positions.map(prepare, tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True))


def evaluation_view(image: tf.Tensor, image_size: int, full_size: int) -> tf.Tensor:
    """What the model sees of a photo outside training: resized, the centre cropped.

    Args:
        image: uint8 RGB `(height, width, 3)`.

    Returns:
        Float32 RGB in 0…255 `(image_size, image_size, 3)`.
    """
    offset = (full_size - image_size) // 2
    return resize(image, full_size)[offset : offset + image_size, offset : offset + image_size]


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Stretched to a square by antialiased bilinear interpolation, float32 in 0…255 `(size, size, 3)`."""
    resized = tf.image.resize(image, (size, size), method="bilinear", antialias=True)
    return tf.ensure_shape(resized, (size, size, 3))


def _loader(checked: CheckedPhotos) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function from an index to the decoded photo and its label, in the graph."""
    names = tf.constant([photo.name for photo in checked.photos])
    labels = tf.constant(np.array([photo.label for photo in checked.photos], dtype="int32"))
    orientations = tf.constant(checked.orientations)
    in_memory = checked.photos[0].content is not None
    contents = tf.constant([photo.content for photo in checked.photos]) if in_memory else None

    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        content = contents[index] if in_memory else tf.io.read_file(names[index])
        return decode(content, orientations[index]), labels[index]

    return load


def _random_crop(image: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    return image if image.shape[0] == size else tf.image.stateless_random_crop(image, (size, size, 3), seed)


def _seed(seed: int, position: tf.Tensor, use: int) -> tf.Tensor:
    return tf.stack([tf.constant(seed * 8 + use, tf.int64), position])


def _finish(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # One process reads everything and a strategy splits each batch among its devices.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
