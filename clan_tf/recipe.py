"""From an experiment's training section to the optimizer, its learning rate and the precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from clan_tf.config import Experiment, ScheduleConfig
from clan_tf.data.pipeline import steps_per_epoch
from clan_tf.optimizers import CoupledSGD


def make_optimizer(experiment: Experiment, photos: int) -> CoupledSGD:
    """The recipe's optimizer for an epoch of so many train photos."""
    training = experiment.training
    steps = steps_per_epoch(photos, training.batch_size)
    return CoupledSGD(
        learning_rate_schedule(training.schedule, training.learning_rate, steps),
        training.momentum,
        training.weight_decay,
    )


def learning_rate_schedule(
    schedule: ScheduleConfig, learning_rate: float, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate by step, for epochs of `steps` steps."""
    if schedule.kind == "constant":
        return learning_rate
    return keras.optimizers.schedules.ExponentialDecay(
        learning_rate, max(1, round(schedule.every * steps)), schedule.factor, staircase=schedule.kind == "step"
    )


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers made inside compute in `policy`; their weights stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
