"""What is done to train photos besides crop and flip, seeded by position; by Keras' own layers where they can."""

from collections.abc import Callable, Iterable
from functools import partial

import keras
import tensorflow as tf

from clan_tf.config import AugmentationConfig
from clan_tf.data.pipeline.policy import Operation, policy_operations

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""From a photo and a seed `(2,)` to float32 RGB in 0…255."""
Mix = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""From photos, labels as shares `(batch, classes)` and a seed `(2,)` to mixed photos and labels, float32."""

_RANGE = (0, 255)


def photo_augmentation(config: AugmentationConfig, image_size: int) -> Augment | None:
    """Returns the operations on one photo of `image_size`; `None` where the config asks for none."""
    seeds = PositionSeeds()
    operations, layers = policy_operations(config, image_size, seeds), _photo_layers(config)
    if not operations and not layers:
        return None
    for layer in layers:
        layer.generator = seeds
        layer.build((1, image_size, image_size, 3))
    times = 0 if not operations else 1 if config.policy == "trivial_augment" else config.operations

    def augment(photo: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seeds.start(seed)
        photos = tf.cast(photo, tf.float32)[None]
        for _ in range(times):
            photos = _apply_one(operations.values(), photos, seeds)
        for layer in layers:
            photos = layer(photos, training=True)
        return tf.ensure_shape(tf.clip_by_value(photos[0], *_RANGE), (image_size, image_size, 3))

    return augment


def batch_augmentation(config: AugmentationConfig) -> Mix | None:
    """Returns MixUp and CutMix, each on its share of the batches; `None` where the config asks for neither."""
    if not config.mixup and not config.cutmix:
        return None
    seeds = PositionSeeds()
    mixup, cutmix = keras.layers.MixUp(alpha=config.mixup_alpha), keras.layers.CutMix()
    mixup.generator = cutmix.generator = seeds

    def mix(photos: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seeds.start(seed)
        batch = {"images": tf.cast(photos, tf.float32), "labels": labels}
        draw = tf.random.stateless_uniform((), seed)
        mixed = tf.case(
            [
                (draw < config.mixup, lambda: mixup(batch, training=True)),
                (draw < config.mixup + config.cutmix, lambda: cutmix(batch, training=True)),
            ],
            default=lambda: batch,
        )
        return tf.ensure_shape(mixed["images"], photos.shape), tf.ensure_shape(mixed["labels"], labels.shape)

    return mix


class PositionSeeds(keras.random.SeedGenerator):
    """Hands Keras' random layers seeds that follow from one seed tensor, not from a counter that parallel calls share.

    `start(seed)` begins the row of seeds while a graph is traced; each layer that draws takes the next one.
    """

    def __init__(self) -> None:
        super().__init__(seed=0)
        self._seed: tf.Tensor | None = None
        self._drawn = 0

    def start(self, seed: tf.Tensor) -> None:
        """Sets the seed `(2,)` that the following ones derive from."""
        self._seed, self._drawn = tf.cast(seed, tf.int32), 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Draws a seed that none of the others equals, int32 `(2,)`."""
        self._drawn += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._drawn)


def _apply_one(operations: Iterable[Operation], photos: tf.Tensor, seeds: PositionSeeds) -> tf.Tensor:
    branches = [partial(operation, photos) for operation in operations]
    changed = tf.switch_case(tf.random.stateless_uniform((), seeds.next(), 0, len(branches), tf.int32), branches)
    return tf.ensure_shape(changed, photos.shape)


def _photo_layers(config: AugmentationConfig) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    if config.color_jitter:
        strength = config.color_jitter
        layers += [
            keras.layers.RandomBrightness(strength, _RANGE),
            # Given one number, Keras' contrast only grows.
            keras.layers.RandomContrast((strength, strength), _RANGE),
            keras.layers.RandomSaturation((0.5 - strength / 2, 0.5 + strength / 2), _RANGE),
            # Hue turns further than the others for the same number.
            keras.layers.RandomHue(strength / 4, _RANGE),
        ]
    if config.random_erasing:
        share = (config.random_erasing, config.random_erasing)
        layers.append(keras.layers.RandomErasing(share, fill_value=127.5, value_range=_RANGE))
    return layers
