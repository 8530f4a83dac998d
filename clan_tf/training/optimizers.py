"""Optimizers that Keras lacks."""

from collections.abc import Iterable
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="clan_tf")
class CoupledSGD(keras.optimizers.SGD):
    """SGD with momentum whose weight decay is part of the gradient, as in PyTorch and in the paper.

    `velocity = momentum · velocity - learning_rate · (gradient + coupled_weight_decay · weight)`. Keras' own
    `weight_decay` shrinks the weights outside the momentum, which at momentum 0.9 is about ten times weaker.

    As in Keras, pass variables that must not decay to `exclude_from_weight_decay` before `build`.

    Args:
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: between 0 and 1.
        coupled_weight_decay: factor by which the weights are added to the gradient.
        **kwargs: as for `keras.optimizers.SGD`.

    Raises:
        ValueError: if `coupled_weight_decay` is negative.
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, coupled_weight_decay: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, momentum, **kwargs)
        if coupled_weight_decay < 0:
            raise ValueError(
                f"`coupled_weight_decay` must not be negative. Received: coupled_weight_decay={coupled_weight_decay}"
            )
        self.coupled_weight_decay = coupled_weight_decay
        self._rate_factors: dict[Any, float] = {}

    def scale_learning_rate(self, variables: Iterable[keras.Variable], factor: float) -> None:
        """Multiplies the learning rate of some variables; like the exclusions, this isn't part of the config."""
        self._rate_factors |= {self._var_key(variable): factor for variable in variables}

    def update_step(self, gradient, variable, learning_rate):
        """Applies weight decay as part of the gradient, and the variable's own learning rate."""
        if self._use_weight_decay(variable):
            gradient = gradient + keras.ops.cast(self.coupled_weight_decay, gradient.dtype) * variable
        factor = self._rate_factors.get(self._var_key(variable), 1.0)
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "coupled_weight_decay": self.coupled_weight_decay}
