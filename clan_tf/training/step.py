"""One training step on one or several devices, and the metrics that training and validation report."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from clan_tf.choices import chosen_weights
from clan_tf.config import TrainingConfig
from clan_tf.models import COMBINED, BranchClassifier, combine
from clan_tf.models.phases import ALL, Phase
from clan_tf.runtime import are_in_top
from clan_tf.training.balanced_loss import balanced_cross_entropy
from clan_tf.training.class_balance import ClassBalance
from clan_tf.training.operators import training_operators
from clan_tf.training.repeatable import ordered_gradients
from clan_tf.training.weight_average import WeightAverage

Operators = Callable[[keras.Model, tf.distribute.Strategy], AbstractContextManager[None]]


class TrainStep:
    """One step on one global batch: its gradient, and the update of the weights.

    The loss is the branches' weighted sum (eqs. 12-14) of the mean cross-entropies over the global batch, plus the
    model's own losses, which see the photos that are computed at a time. What of it is minimised, and which variables
    learn, depends on the phase. Batch norm takes its statistics over all
    devices, for each part of the batch.

    Args:
        model: the model, made in the strategy's scope.
        optimizer: built for the model's trainable variables.
        strategy: where the step runs.
        training: the recipe; `batch_size` is the global batch, computed in `parts`.
        average: the moving average of the weights, if there is one.
        frozen_backbone: whether the backbone, its batch norm included, is frozen.
        phase: what is trained; that of the first epoch if `None`.
        operators: makes the context in which the step's graph is traced.
        balance: how the branches' cross-entropies treat the classes; all alike if `None`.

    Attributes:
        variables: what the step trains.
    """

    def __init__(
        self,
        model: BranchClassifier,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        training: TrainingConfig,
        average: WeightAverage | None = None,
        frozen_backbone: bool = False,
        phase: Phase | None = None,
        operators: Operators = training_operators,
        balance: ClassBalance | None = None,
    ) -> None:
        self.phase, self._frozen_backbone = phase or model.phase(0), frozen_backbone
        self.model, self.optimizer, self.strategy, self.training = model, optimizer, strategy, training
        self.average, self._operators, self._balance = average, operators, balance
        self._set_trainable()
        self.variables = model.trainable_variables
        self._network = model.training_model()
        self._cross_entropy = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=training.label_smoothing, reduction=None
        )
        self._sums: list[tf.Variable] = []
        if training.parts > 1:
            with strategy.scope():
                self._sums = [self._local_sum(variable) for variable in self.variables]
        # Keras' optimizer must be distributed as it is written, not as AutoGraph rewrites it.
        self._whole_step = tf.function(self._run_whole, autograph=False)
        self._add_part = tf.function(self._run_part, autograph=False)
        self._apply_parts = tf.function(self._run_apply, autograph=False)

    def __call__(self, batches: Iterator, loss_weights: np.ndarray, stop: bool = False) -> tuple[np.ndarray, bool]:
        """Reads one global batch and makes one step.

        Args:
            batches: `(photos, labels)` from `distributed_batches`, one for each part of the batch.
            loss_weights: float32 `(branches,)`.
            stop: whether this process has to stop.

        Returns:
            The batch means of `metric_columns`, float32, and whether any process has to stop. The label of a mixed
            photo is that of its larger share.
        """
        weights, flag = tf.constant(loss_weights), tf.constant(float(stop))
        if not self._sums:
            values = self._whole_step(*next(batches), weights, flag).numpy()
        else:
            parts = [self._add_part(*next(batches), weights, flag).numpy() for _ in range(self.training.parts)]
            values = np.sum(parts, axis=0)
            self._apply_parts()
        return values[:-1], values[-1] > 0

    def _run_whole(self, photos: Any, labels: Any, weights: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        def replica_step(photos: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            gradients, values = self._gradients(photos, labels, weights, stop)
            self._apply(gradients)
            return values

        with self._operators(self.model, self.strategy):
            values = self.strategy.run(replica_step, args=(photos, labels))
        self._update_average()
        return self.strategy.reduce("SUM", values, axis=None)

    def _run_part(self, photos: Any, labels: Any, weights: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        def replica_part(photos: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            gradients, values = self._gradients(photos, labels, weights, stop)
            for total, gradient in zip(self._sums, gradients, strict=True):
                total.assign_add(gradient)
            return values

        with self._operators(self.model, self.strategy):
            values = self.strategy.run(replica_part, args=(photos, labels))
        return self.strategy.reduce("SUM", values, axis=None)

    def _run_apply(self) -> None:
        def replica_apply() -> None:
            gradients = [tf.identity(total) for total in self._sums]
            with tf.control_dependencies(gradients):
                for total in self._sums:
                    total.assign(tf.zeros_like(total))
            self._apply(gradients)

        self.strategy.run(replica_apply)
        self._update_average()

    def _gradients(
        self, photos: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, stop: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Computes one device's part of the gradient and of the step's metrics."""
        self._set_trainable()  # as another phase may have been trained before this one's graph is traced
        classes, batch_size = self.model.classes, self.training.batch_size
        shares = tf.one_hot(labels, classes) if labels.shape.rank == 1 else labels
        labels = tf.argmax(shares, axis=1, output_type=tf.int32)
        # Attention is trained on the answers of the others as they are in inference, without dropout.
        outputs = self._network(photos, training=self.phase.branches)
        losses = [
            tf.reduce_sum(self._branch_losses(shares, outputs[branch])) / batch_size for branch in self.model.branches
        ]
        of_branches = tf.tensordot(weights, tf.stack(losses), axes=1)
        values = self.model.own_losses(outputs, shares)
        own_losses = {name: tf.reduce_sum(values[name]) / batch_size for name in self.model.own_loss_weights}
        weighted = {name: weight * own_losses[name] for name, weight in self.model.own_loss_weights.items()}
        minimized = [loss for name, loss in weighted.items() if self.phase.minimizes(name)]
        objective = _sum([*([of_branches] if self.phase.branches else []), *minimized])
        variables = [variable.value for variable in self.variables]
        gradients = ordered_gradients(self.optimizer.scale_loss(objective), variables)
        probabilities = [tf.nn.softmax(outputs[branch]) for branch in self.model.branches]
        combined_by = chosen_weights(self.model.branches, self.model.branch_weights)
        probabilities.append(combine(probabilities, self.model.combination, combined_by))
        accuracies = [_count_correct(labels, values) / batch_size for values in probabilities]
        loss = _sum([of_branches, *weighted.values()])
        return gradients, tf.stack([loss, *losses, *own_losses.values(), *accuracies, stop])

    def _branch_losses(self, shares: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Computes a branch's loss of each photo, float32 `(photos,)`."""
        if self._balance is None:
            return self._cross_entropy(shares, logits)
        smoothing, balance = self.training.label_smoothing, self._balance
        shares = shares * (1 - smoothing) + smoothing / self.model.classes
        return balanced_cross_entropy(shares, logits, balance.weights, balance.shift, balance.gamma)

    def _set_trainable(self) -> None:
        set_trainable(self.model, not self._frozen_backbone, self.training.freeze_batch_norm, self.phase)

    def _apply(self, gradients: list[tf.Tensor]) -> None:
        replicas = self.strategy.num_replicas_in_sync
        if replicas > 1 and (self.training.clipnorm or self.training.precision == "mixed_float16"):
            # The norm and the check for finite values are the whole batch's. Keras sums the gradients afterwards.
            total = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
            gradients = [gradient / replicas for gradient in total]
        self.optimizer.apply(gradients, self.variables)

    def _update_average(self) -> None:
        if self.average:
            self.average.update(self.optimizer.iterations.value)

    @staticmethod
    def _local_sum(variable: keras.Variable) -> tf.Variable:
        """Makes a variable in which every device adds up its own gradients."""
        return tf.Variable(
            tf.zeros(variable.shape),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )


def set_trainable(model: BranchClassifier, backbone: bool, freeze_batch_norm: bool, phase: Phase = ALL) -> None:
    """Freezes or unfreezes the backbones and what a phase doesn't train.

    The backbones' batch norm is unfrozen only if it isn't frozen for the whole run.
    """
    for layer in (*model.layers, *model.other_heads.values()):
        layer.trainable = phase.trains(layer) and (backbone or layer not in model.backbones)
    for each in model.backbones:
        for layer in each.layers:
            if freeze_batch_norm and isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False


def metric_columns(branches: Sequence[str], own_losses: Iterable[str] = ()) -> list[str]:
    """Returns the names of the metrics: the loss, each branch's and each own loss, and the accuracies.

    Args:
        branches: the model's branches.
        own_losses: names of its own losses, which only training has.
    """
    return [
        "loss",
        *(f"{name}_loss" for name in (*branches, *own_losses)),
        *(f"{name}_accuracy" for name in (*branches, COMBINED)),
    ]


def branch_metrics(
    model: BranchClassifier, probabilities: dict[str, np.ndarray], labels: np.ndarray
) -> dict[str, float]:
    """Computes the branches' metrics from every photo's probabilities `(photos, classes)` by branch."""
    rows = np.arange(len(labels))
    losses = {
        branch: float(-np.log(np.maximum(probabilities[branch][rows, labels], 1e-30)).mean())
        for branch in model.branches
    }
    accuracies = [float(are_in_top(labels, probabilities[name], 1).mean()) for name in (*model.branches, COMBINED)]
    loss = sum(model.loss_weights[branch] * value for branch, value in losses.items())
    return dict(zip(metric_columns(model.branches), [loss, *losses.values(), *accuracies], strict=True))


def minimized_loss(model: BranchClassifier, phase: Phase, values: np.ndarray, loss_weights: np.ndarray) -> float:
    """Returns what a step minimises, from what it returns: the column `loss` holds all losses, whatever is minimised.

    Args:
        model: the model.
        phase: what the step trains.
        values: the values of `metric_columns`.
        loss_weights: weights of the branches, float32 `(branches,)`.
    """
    found = dict(zip(metric_columns(model.branches, model.own_loss_weights), values, strict=True))
    branches = zip(model.branches, loss_weights, strict=True)
    total = sum(weight * found[f"{name}_loss"] for name, weight in branches) if phase.branches else 0.0
    own = {name: weight for name, weight in model.own_loss_weights.items() if phase.minimizes(name)}
    return float(total + sum(weight * found[f"{name}_loss"] for name, weight in own.items()))


def _sum(losses: Sequence[tf.Tensor]) -> tf.Tensor:
    """Adds two at a time, in order: `tf.add_n` of three isn't repeatable."""
    return reduce(operator.add, losses)


def _count_correct(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Counts the photos with no class ahead of their label, as in `are_in_top`; `tf.argmax` guarantees no order."""
    own = tf.gather(probabilities, labels, axis=1, batch_dims=1)[:, None]
    before = tf.range(tf.shape(probabilities)[1], dtype=labels.dtype) < labels[:, None]
    ahead = ~(probabilities <= own) | ((probabilities == own) & before)
    return tf.reduce_sum(tf.cast(~tf.reduce_any(ahead, axis=1), tf.float32))
