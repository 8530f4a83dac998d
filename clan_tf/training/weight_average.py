"""The exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from clan_tf.models import BranchClassifier


class WeightAverage:
    """`average = d · average + (1 - d) · weight` after every step, of all trained weights.

    `d` is the smaller of `decay` and `(1 + step) / (10 + step)`, so that untrained weights are soon forgotten.
    Batch norm's statistics are already averages.

    Args:
        model: the model whose weights are averaged; made in the strategy's scope, as this object is.
        decay: between 0 and 1.
        strategy: where the model's variables live.
    """

    def __init__(self, model: BranchClassifier, decay: float, strategy: tf.distribute.Strategy) -> None:
        self._weights = [variable.value for variable in model.trainable_variables]
        self._decay = decay
        self._strategy = strategy
        self.variables = [tf.Variable(weight, trainable=False) for weight in self._weights]

    def update(self, step: tf.Tensor) -> None:
        """Adds the weights after step `step`, counted from 1, to the average; to be called outside the replicas."""
        ramp = tf.cast(1 + step, tf.float32) / tf.cast(10 + step, tf.float32)
        rest = 1.0 - tf.minimum(self._decay, ramp)
        for average, weight in zip(self.variables, self._weights, strict=True):
            self._strategy.extended.update(average, _move, args=(weight, rest))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replaces the model's weights with their averages inside the context."""
        with self._strategy.scope():
            own = [weight.numpy() for weight in self._weights]
            self._assign([average.numpy() for average in self.variables])
            try:
                yield
            finally:
                self._assign(own)

    def _assign(self, values: list) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)


def _move(average: tf.Variable, weight: tf.Tensor, rest: tf.Tensor) -> None:
    average.assign_add(rest * (weight - average))
