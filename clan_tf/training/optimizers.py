"""Optimizers that Keras lacks."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import keras


class VariableRates(keras.optimizers.Optimizer):
    """An optimizer in which some variables have a learning rate of their own.

    What is set here isn't part of the config, like the variables that are excluded from weight decay.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rate_factors: dict[Any, float] = {}

    def scale_learning_rate(self, variables: Iterable[keras.Variable], factor: float) -> None:
        """Multiplies the learning rate of some variables, replacing what was set for them before."""
        self._rate_factors |= {self._var_key(variable): factor for variable in variables}

    def _own_rate(self, variable: Any, learning_rate: Any) -> Any:
        """Returns the learning rate of a variable."""
        return learning_rate * self._rate_factors.get(self._var_key(variable), 1.0)


@keras.saving.register_keras_serializable(package="clan_tf")
class CoupledSGD(VariableRates, keras.optimizers.SGD):
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

    def update_step(self, gradient, variable, learning_rate):
        """Applies weight decay as part of the gradient, and the variable's own learning rate."""
        if self._use_weight_decay(variable):
            gradient = gradient + keras.ops.cast(self.coupled_weight_decay, gradient.dtype) * variable
        super().update_step(gradient, variable, self._own_rate(variable, learning_rate))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "coupled_weight_decay": self.coupled_weight_decay}


@keras.saving.register_keras_serializable(package="clan_tf")
class DecoupledAdam(VariableRates, keras.optimizers.Adam):
    """Adam with decoupled weight decay, AdamW, whose decay follows each variable's own learning rate.

    At step `t`, with `m = beta_1 · m + (1 - beta_1) · gradient` and `v = beta_2 · v + (1 - beta_2) · gradient²`:
    `weight = weight - learning_rate · (m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon) +
    decoupled_weight_decay · weight)`, as in PyTorch. Keras' `weight_decay` knows one learning rate only.

    As in Keras, pass variables that must not decay to `exclude_from_weight_decay` before `build`.

    Args:
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        decoupled_weight_decay: factor on the weights, beside the gradient's part.
        epsilon: added to the root.
        **kwargs: as for `keras.optimizers.Adam`, without `amsgrad`.

    Raises:
        ValueError: if `decoupled_weight_decay` is negative.

    Reference:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """

    def __init__(
        self, learning_rate: Any = 0.001, decoupled_weight_decay: float = 0.0, epsilon: float = 1e-8, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate, epsilon=epsilon, **kwargs)
        if decoupled_weight_decay < 0:
            raise ValueError(
                "`decoupled_weight_decay` must not be negative. "
                f"Received: decoupled_weight_decay={decoupled_weight_decay}"
            )
        self.decoupled_weight_decay = decoupled_weight_decay
        self._skipped: dict[Any, tuple[int, list[int]]] = {}

    def skip_epochs(self, variables: Iterable[keras.Variable], trained: Sequence[bool], steps: int) -> None:
        """Counts as steps `t` of some variables only those of the epochs in which they are trained.

        Otherwise the first of their averages, which start at 0, would be taken for averages of many gradients, and the
        first updates be three times too large.

        Args:
            variables: the variables.
            trained: of each epoch, whether they are trained.
            steps: the number of steps of an epoch.
        """
        skipped = [steps * count for count in accumulate((not each for each in trained[:-1]), initial=0)]
        for epoch in reversed(range(len(trained) - 1)):
            if not trained[epoch]:
                # Steps that mixed_float16 skips aren't iterations, so that the first ones trained may look like these.
                skipped[epoch] = skipped[epoch + 1]
        self._skipped |= {self._var_key(variable): (steps, skipped) for variable in variables}

    def update_step(self, gradient, variable, learning_rate):
        """Applies the gradient's averages and the weight decay, both at the variable's own learning rate."""
        ops, dtype, index = keras.ops, variable.dtype, self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        gradient = ops.cast(gradient, dtype)
        # After steps that mixed_float16 has skipped this could be below 1.
        step = ops.maximum(self.iterations + 1 - self._skipped_steps(variable), 1)
        # 1 - beta^t, without the cancellation that costs half of float32's digits at the first steps.
        m_share, v_share = (-ops.expm1(ops.cast(step, dtype) * math.log(beta)) for beta in (self.beta_1, self.beta_2))
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        update = m / m_share / (ops.sqrt(v / v_share) + self.epsilon)
        if self._use_weight_decay(variable):
            update = update + ops.cast(self.decoupled_weight_decay, dtype) * variable
        self.assign_sub(variable, ops.cast(self._own_rate(variable, learning_rate), dtype) * update)

    def _skipped_steps(self, variable: Any) -> Any:
        """Returns how many of the steps so far didn't train a variable."""
        if self._var_key(variable) not in self._skipped:
            return 0
        steps, skipped = self._skipped[self._var_key(variable)]
        epoch = keras.ops.minimum(self.iterations // steps, len(skipped) - 1)
        return keras.ops.take(keras.ops.convert_to_tensor(skipped, self.iterations.dtype), epoch)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {**super().get_config(), "decoupled_weight_decay": self.decoupled_weight_decay}
