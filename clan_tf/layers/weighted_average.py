"""The average of tensors with given weights."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from clan_tf.layers.non_local import Shape
from clan_tf.layers.relation import Tensor


@keras.saving.register_keras_serializable(package="clan_tf")
class WeightedAverage(keras.layers.Layer):
    """Averages tensors of one shape by weights that aren't trained, as `keras.layers.Average` does with equal ones.

    Args:
        weights: of the tensors, finite, not negative and not all 0; they needn't sum to 1.

    Call arguments:
        tensors: as many as there are weights, of one shape.

    Raises:
        ValueError: for other weights, or another number of tensors.
    """

    def __init__(self, weights: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = [float(weight) for weight in weights]
        if not all(math.isfinite(weight) and weight >= 0 for weight in given) or not sum(given):
            raise ValueError(f"`weights` must be finite, not negative and not all 0. Received: weights={list(weights)}")
        self.given_weights = given

    def build(self, shapes: Sequence[Shape]) -> None:
        """Checks the number of the tensors."""
        if len(shapes) != len(self.given_weights):
            raise ValueError(
                f"There must be {len(self.given_weights)} tensors, one per weight. Received: {len(shapes)}"
            )

    def call(self, tensors: Sequence[Tensor]) -> Tensor:
        """Averages `tensors`."""
        total = sum(self.given_weights)
        return sum(tensor * (weight / total) for tensor, weight in zip(tensors, self.given_weights, strict=True))

    def compute_output_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Returns the tensors' shape."""
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "weights": self.given_weights}
