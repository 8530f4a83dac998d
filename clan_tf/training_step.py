"""One training step on one device or several, and the numbers that training and validation report."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from clan_tf.models import COMBINED, BranchClassifier, combine

TrainStep = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_train_step(
    model: BranchClassifier,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    batch_size: int,
) -> TrainStep:
    """A compiled function that takes one global batch and makes one step.

    The loss is the branches' weighted sum (eqs. 12-14) of the mean cross-entropies over the global batch.

    Returns:
        A function of `(photos, labels)`, as `training_batches` gives them and the strategy distributes them, that
        returns the batch means of `metric_columns`, float32. The label of a mixed photo counts as its larger share.
    """
    logits_model = model.logits_model()
    cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)
    classes = model.settings["classes"]
    rule = model.settings["combination"]

    def replica_step(photos: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        shares = tf.one_hot(labels, classes) if labels.shape.rank == 1 else labels
        labels = tf.argmax(shares, axis=1, output_type=tf.int32)
        with tf.GradientTape() as tape:
            logits = logits_model(photos, training=True)
            losses = {
                branch: tf.reduce_sum(cross_entropy(shares, logits[branch])) / batch_size for branch in model.branches
            }
            loss = tf.add_n([model.loss_weights[branch] * losses[branch] for branch in model.branches])
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        probabilities = {branch: tf.nn.softmax(logits[branch]) for branch in model.branches}
        probabilities[COMBINED] = combine(list(probabilities.values()), rule)
        accuracies = [_count_correct(labels, probabilities[name]) / batch_size for name in (*model.branches, COMBINED)]
        return tf.stack([loss, *losses.values(), *accuracies])

    # Distribution of the Keras optimizer needs the step as it is written, not rewritten by AutoGraph.
    @tf.function(autograph=False)
    def train_step(photos: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return strategy.reduce("SUM", strategy.run(replica_step, args=(photos, labels)), axis=None)

    return train_step


def metric_columns(branches: Sequence[str]) -> list[str]:
    """Names of a step's numbers: the loss, each branch's loss, each branch's accuracy and the combined one."""
    return [
        "loss",
        *(f"{branch}_loss" for branch in branches),
        *(f"{name}_accuracy" for name in (*branches, COMBINED)),
    ]


def branch_metrics(
    model: BranchClassifier, probabilities: dict[str, np.ndarray], labels: np.ndarray
) -> dict[str, float]:
    """The numbers of `metric_columns` from every photo's probabilities `(photos, classes)` by branch."""
    rows = np.arange(len(labels))
    losses = {
        branch: float(-np.log(np.maximum(probabilities[branch][rows, labels], 1e-30)).mean())
        for branch in model.branches
    }
    accuracies = [float((probabilities[name].argmax(axis=1) == labels).mean()) for name in (*model.branches, COMBINED)]
    loss = sum(model.loss_weights[branch] * value for branch, value in losses.items())
    return dict(zip(metric_columns(model.branches), [loss, *losses.values(), *accuracies], strict=True))


def _count_correct(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    predicted = tf.argmax(probabilities, axis=1, output_type=labels.dtype)
    return tf.reduce_sum(tf.cast(predicted == labels, tf.float32))
