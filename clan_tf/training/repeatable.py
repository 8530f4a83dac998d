"""The same bits from the same input, however the threads of this process take turns.

Besides the operators that TensorFlow's own switch is for, sums must keep their order: `AddN` begins with whichever of
its inputs can be overwritten, which depends on what other threads have finished, so that only sums of two are
repeatable (tensorflow/core/kernels/aggregate_ops.cc).
"""

import tensorflow as tf

from clan_tf.config import TrainingConfig


def must_be_repeatable(training: TrainingConfig) -> bool:
    """Returns whether `training.deterministic` asks for the same bits again; by default on CPUs.

    Without it, two runs on a CPU differ in the last digits. On GPUs, some operations would fail with it.
    """
    on_cpu = not tf.config.get_visible_devices("GPU")
    return on_cpu if training.deterministic is None else training.deterministic


def make_repeatable() -> None:
    """Makes this process compute the same bits again; operators that can't raise an error.

    Grappler's arithmetic optimization is off, because it merges sums of two into longer ones. Sums over three devices
    or more are TensorFlow's own, in one `AddN` on CPUs.
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def ordered_gradients(target: tf.Tensor, variables: list[tf.Variable]) -> list[tf.Tensor | None]:
    """Returns the gradients of a scalar in a graph; those of a tensor that is used several times are added two by two.

    `tf.GradientTape` adds all of them at once.
    """
    handles = [variable.handle for variable in variables]  # On several devices: this device's copies.
    return tf.gradients(target, handles, aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE)
