"""What makes a bank of filters one of classes: each class's own filters are averaged, and shown."""

from typing import Any

import keras
from keras import ops

from clan_tf.layers.excitation import as_shown
from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor


class _ByClass(keras.layers.Layer):
    """A layer on channels that are listed class by class: the first `channels / classes` are the first class's."""

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if classes < 1:
            raise ValueError(f"`classes` must be a positive number. Received: classes={classes!r}")
        self.classes = classes

    def require_channels(self, shape: Shape) -> None:
        """Raises a `ValueError` unless every class has the same number of channels."""
        if not shape[-1] or shape[-1] % self.classes:
            raise ValueError(f"The channels must be a multiple of classes={self.classes}. Received: shape {shape}")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="clan_tf")
class ClassAverage(_ByClass):
    """Averages the features of each class: the cross-channel pooling of DFL-CNN, which has no weights.

    Args:
        classes: number of classes.

    Call arguments:
        features: `(batch, classes * filters)`, class by class.

    Returns:
        `(batch, classes)`.

    Raises:
        ValueError: if an argument is invalid, or the features aren't a multiple of the classes.

    Reference:
        Wang, Morariu and Davis, Learning a Discriminative Filter Bank within a CNN, CVPR 2018, section 3.3.
    """

    def build(self, shape: Shape) -> None:
        """Checks the shape of `features`."""
        if len(shape) != 2:
            raise ValueError(f"`features` must be (batch, features). Received: shape {shape}")
        self.require_channels(shape)

    def call(self, features: Tensor) -> Tensor:
        """Averages `features`."""
        return ops.mean(ops.reshape(features, (-1, self.classes, features.shape[-1] // self.classes)), axis=2)

    def compute_output_shape(self, shape: Shape) -> Shape:
        """Returns `(batch, classes)`."""
        return (shape[0], self.classes)


@keras.saving.register_keras_serializable(package="clan_tf")
class FilterAttention(_ByClass):
    """Where the filters of the likely classes respond: a map for people to look at.

    Each class's map is the mean of its filters' responses, of which negative ones count as 0. They are averaged by the
    classes' probabilities, and divided by the largest value.

    Args:
        classes: number of classes.

    Call arguments:
        maps: the filters' responses `(batch, height, width, classes * filters)`, class by class.
        logits: `(batch, classes)`.

    Returns:
        `(batch, height, width, 1)` in 0…1.

    Raises:
        ValueError: if an argument is invalid, or the channels aren't a multiple of the classes.
    """

    def build(self, maps_shape: Shape, logits_shape: Shape) -> None:
        """Checks the shapes of `maps` and `logits`."""
        require_map("maps", maps_shape)
        self.require_channels(maps_shape)
        if logits_shape[-1] != self.classes:
            raise ValueError(f"`logits` must have {self.classes} classes. Received: shape {logits_shape}")

    def call(self, maps: Tensor, logits: Tensor) -> Tensor:
        """Averages `maps` by `logits`."""
        height, width, channels = maps.shape[1:]
        responses = ops.reshape(ops.relu(maps), (-1, height * width, channels))
        probabilities = ops.softmax(ops.cast(logits, responses.dtype), axis=-1)
        weights = ops.repeat(probabilities, channels // self.classes, axis=-1)
        evidence = ops.matmul(responses, ops.expand_dims(weights, -1))
        return as_shown(ops.reshape(evidence, (-1, height, width, 1)))

    def compute_output_shape(self, maps_shape: Shape, logits_shape: Shape) -> Shape:
        """Returns `(batch, height, width, 1)`."""
        return (*maps_shape[:3], 1)
