"""The optimizer, its learning rate and the loss weights of an experiment's `training` section."""

from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay, ExponentialDecay, LearningRateSchedule

from clan_tf.config import TrainingConfig
from clan_tf.errors import UserError, nearest
from clan_tf.models import BranchClassifier
from clan_tf.models.depth import depth_groups
from clan_tf.training.optimizers import CoupledSGD, DecoupledAdam, VariableRates


def make_optimizer(
    training: TrainingConfig, model: BranchClassifier, steps: int, replicas: int = 1, constant_rate: float | None = None
) -> keras.optimizers.Optimizer:
    """Makes the recipe's optimizer for the model's trainable variables; to be called in the strategy's scope.

    Args:
        training: the recipe.
        model: the model to train.
        steps: steps per epoch.
        replicas: how many devices share each batch.
        constant_rate: a learning rate in place of the recipe's schedule, for steps that all train the same.
    """
    # Keras clips each device's gradient, which `TrainStep` makes a share of the whole batch's.
    clipnorm = training.clipnorm and training.clipnorm / replicas
    rate = learning_rate_schedule(training, steps) if constant_rate is None else constant_rate
    backbone = [variable for each in model.backbones for variable in each.trainable_variables]
    inner: VariableRates
    if training.optimizer == "adamw":
        inner = DecoupledAdam(rate, training.weight_decay, global_clipnorm=clipnorm)
        # With a constant rate all steps are of one phase.
        for variables, trained in _trained_epochs(training, model) if constant_rate is None else ():
            inner.skip_epochs(variables, trained, steps)
    else:
        inner = CoupledSGD(rate, training.momentum, training.weight_decay, global_clipnorm=clipnorm)
    if training.weight_decay_on == "kernels":
        # Biases and the scales and shifts of batch norm are vectors.
        inner.exclude_from_weight_decay([v for v in model.trainable_variables if len(v.shape) < 2])
    if training.head_learning_rate_factor != 1:
        of_backbone = {id(variable) for variable in backbone}
        heads = [variable for variable in model.trainable_variables if id(variable) not in of_backbone]
        inner.scale_learning_rate(heads, training.head_learning_rate_factor)
    for layer in model.layers:
        if layer.name in model.ATTENTION_LAYERS:
            inner.scale_learning_rate(layer.trainable_variables, model.attention_rate)
    if training.layer_decay != 1:
        for each in model.backbones:
            for distance, group in enumerate(reversed(depth_groups(each)), start=1):
                inner.scale_learning_rate(group, training.layer_decay**distance)
    optimizer = keras.optimizers.LossScaleOptimizer(inner) if training.precision == "mixed_float16" else inner
    optimizer.build(model.trainable_variables)
    return optimizer


def _trained_epochs(
    training: TrainingConfig, model: BranchClassifier
) -> Iterator[tuple[list[keras.Variable], list[bool]]]:
    """Yields the variables that some epochs don't train, and of each epoch whether it does."""
    phases = [model.phase(epoch) for epoch in range(training.epochs)]
    for layer in model.layers:
        first = training.freeze_epochs if layer in model.backbones else 0
        trained = [epoch >= first and phase.trains(layer) for epoch, phase in enumerate(phases)]
        if not all(trained):
            yield layer.trainable_variables, trained


class WarmUp(LearningRateSchedule):
    """A learning rate that rises linearly during the first steps, and then follows `after` from its start.

    Args:
        steps: the number of warm-up steps; the first step has `1 / steps` of the rate.
        after: a number or a schedule.
    """

    def __init__(self, steps: int, after: float | LearningRateSchedule) -> None:
        self.steps = steps
        self.after = after

    def __call__(self, step):
        """Computes the learning rate at a step, as a float32 scalar."""
        later = tf.maximum(tf.cast(step, tf.float32) - self.steps, 0.0)
        rate = self.after(later) if callable(self.after) else self.after
        return rate * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / self.steps)

    def get_config(self) -> dict[str, object]:
        """Returns the constructor arguments."""
        return {"steps": self.steps, "after": self.after}


def learning_rate_schedule(training: TrainingConfig, steps: int) -> float | LearningRateSchedule:
    """Returns the backbone's learning rate by step, for epochs of `steps` steps."""
    warmup = round(training.warmup_epochs * steps)
    after = _after_warmup(training, steps, warmup)
    return WarmUp(warmup, after) if warmup else after


def learning_rate_at(training: TrainingConfig, steps: int, step: int) -> float:
    """Returns the learning rate of one step, to six digits."""
    (rate,) = learning_rates_at(training, steps, [step])
    return rate


def learning_rates_at(training: TrainingConfig, steps: int, at: Sequence[int]) -> list[float]:
    """Returns the learning rates of many steps, one by one because TensorFlow rounds vectors differently."""
    schedule = learning_rate_schedule(training, steps)
    rates = (float(schedule(step) if callable(schedule) else schedule) for step in at)
    return [float(f"{rate:.6g}") for rate in rates]


def _after_warmup(training: TrainingConfig, steps: int, warmup: int) -> float | LearningRateSchedule:
    schedule, rate = training.schedule, training.learning_rate
    if schedule.kind == "constant":
        return rate
    if schedule.kind == "cosine":
        return CosineDecay(rate, max(1, training.epochs * steps - warmup))
    return ExponentialDecay(
        rate, max(1, round(schedule.every * steps)), schedule.factor, staircase=schedule.kind == "step"
    )


def check_loss_weight_schedules(training: TrainingConfig, branches: Sequence[str]) -> None:
    """Raises a `UserError` for a branch that the model doesn't have."""
    for name in training.loss_weight_schedules:
        if name not in branches:
            raise UserError(
                f"training.loss_weight_schedules: no branch {name!r}.{nearest(name, list(branches))} "
                f"This model's branches: {', '.join(branches)}."
            )


def loss_weights_at(training: TrainingConfig, final: Mapping[str, float], epoch: float) -> np.ndarray:
    """Returns the branches' loss weights after `epoch` epochs, float32 `(branches,)` in the order of `final`."""

    def weight(branch: str) -> float:
        schedule = training.loss_weight_schedules.get(branch)
        if not schedule:
            return final[branch]
        return float(np.interp(epoch, [0, schedule.epochs], [schedule.start, final[branch]]))

    return np.array([weight(branch) for branch in final], dtype="float32")
