"""The operations that a policy draws from for each photo, with the ranges of TrivialAugment and RandAugment."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from clan_tf.config import AugmentationConfig

Operation = Callable[[tf.Tensor], tf.Tensor]
"""From float32 RGB `(1, height, width, 3)` in 0…255 to the same, by a strength that it draws."""

_RANGE = (0, 255)


@dataclass(frozen=True)
class Ranges:
    """The strengths at magnitude 1. Shear, translation, rotation and colour go both ways."""

    shear: float
    """Shift of a row by its height, or of a column by its place."""
    translation: float
    """As a share of the side."""
    rotation: float
    """In degrees."""
    colour: float
    """Of brightness, colour, contrast and sharpness, whose factor is 1 plus or minus this."""
    fewest_bits: int
    """What posterization leaves of the 8 bits of a channel."""


RANGES = {
    # Müller and Hutter, "TrivialAugment" (ICCV 2021), the "wide" ranges. Their 32 pixels are taken as a share of 224.
    "trivial_augment": Ranges(shear=0.99, translation=32 / 224, rotation=135, colour=0.99, fewest_bits=2),
    # Cubuk et al., "RandAugment" (NeurIPS 2020), with the ranges of their AutoAugment (CVPR 2019).
    "rand_augment": Ranges(shear=0.3, translation=150 / 331, rotation=30, colour=0.9, fewest_bits=4),
}


def policy_operations(
    config: AugmentationConfig, image_size: int, seeds: keras.random.SeedGenerator
) -> dict[str, Operation]:
    """Returns the operations of the policy by name, none for `none`.

    Each draws its strength evenly between none and `config.magnitude` times its range. So at 0 photos stay as they are,
    except by `autocontrast` and `equalize`, which have no strength.

    Args:
        config: the policy and the magnitude.
        image_size: height and width of the photos.
        seeds: gives every draw its seed.
    """
    if config.policy == "none":
        return {}
    magnitude, ranges = config.magnitude, RANGES[config.policy]
    layers = _keras_layers(magnitude, ranges)
    for layer in layers.values():
        layer.generator = seeds
        layer.build((1, image_size, image_size, 3))
    colour = magnitude * ranges.colour

    def drawing(change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], lowest: float, highest: float) -> Operation:
        return lambda photos: change(photos, tf.random.stateless_uniform((), seeds.next(), lowest, highest))

    return {
        "identity": tf.identity,
        "brightness": drawing(brightened, 1 - colour, 1 + colour),
        "posterize": drawing(posterized, 8 - magnitude * (8 - ranges.fewest_bits), 8),
        "solarize": drawing(solarized, 256 * (1 - magnitude), 256),
        **{name: _in_training(layer) for name, layer in layers.items()},
    }


def brightened(photos: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the values by a factor. Keras' `RandomBrightness` adds, and so makes photos all white or black."""
    return tf.clip_by_value(photos * factor, *_RANGE)


def posterized(photos: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keeps the upper bits of the values, `bits` of them rounded. Keras' layer draws none of its upper limit."""
    step = 2 ** (8 - tf.round(bits))
    return tf.floor(photos / step) * step


def solarized(photos: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Inverts the values from a threshold on. Keras' layer scales only the upper limit of its thresholds to 255."""
    return tf.where(photos < threshold, photos, 255 - photos)


def _keras_layers(magnitude: float, ranges: Ranges) -> dict[str, keras.layers.Layer]:
    layers = keras.layers
    shear, translation, colour = (magnitude * most for most in (ranges.shear, ranges.translation, ranges.colour))
    return {
        "shear_x": layers.RandomShear(x_factor=shear),
        "shear_y": layers.RandomShear(y_factor=shear),
        "translate_x": layers.RandomTranslation(height_factor=0.0, width_factor=translation),
        "translate_y": layers.RandomTranslation(height_factor=translation, width_factor=0.0),
        "rotate": layers.RandomRotation(magnitude * ranges.rotation / 360),
        # Of colour the layer takes away a share, below 0 it adds; of sharpness 0.5 changes nothing.
        "color": layers.RandomColorDegeneration((-colour, colour), _RANGE),
        "contrast": layers.RandomContrast((colour, colour), _RANGE),
        "sharpness": layers.RandomSharpness((0.5 - colour / 2, 0.5 + colour / 2), _RANGE),
        "autocontrast": layers.AutoContrast(_RANGE),
        "equalize": layers.Equalization(_RANGE),
    }


def _in_training(layer: keras.layers.Layer) -> Operation:
    return lambda photos: layer(photos, training=True)
