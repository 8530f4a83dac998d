"""Training by Keras' `fit`: one loss and one list of metrics for all branches, or a dict by branch."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from clan_tf.choices import COMBINED
from clan_tf.errors import nearest, shortened, shown
from clan_tf.models.arguments import as_dict
from clan_tf.models.branch_values import full_loss_weights


class CompiledByBranch(keras.Model):
    """A model with an output for each branch, all of which `fit` trains on one label per photo.

    Attributes:
        branches: the branches' names, which are outputs.
        loss_weights: each branch's weight in the loss.
    """

    branches: tuple[str, ...]
    loss_weights: dict[str, float]

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = "sparse_categorical_crossentropy",
        *,
        loss_weights: Mapping[str, float] | None = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compiles as `keras.Model.compile`; one loss goes to every branch, and one list of metrics to every output.

        Args:
            optimizer: as in Keras.
            loss: one for all branches, or a dict by branch; those left out aren't trained.
            loss_weights: a dict by branch, 1 where none is given; the model's own if there are none.
            metrics: one or several for all outputs, or a dict by output.
            weighted_metrics: as `metrics`, weighted by `sample_weight`.
            **kwargs: as in Keras.

        Raises:
            ValueError: for a branch or output that the model doesn't have, and for lists by output.
        """
        losses = losses_by_branch(loss, self.branches)
        super().compile(
            optimizer=optimizer,
            loss=losses,
            loss_weights=weights_by_branch(loss_weights, self.loss_weights, losses, self.branches),
            metrics=metrics_by_output("metrics", metrics, self.output_names),
            weighted_metrics=metrics_by_output("weighted_metrics", weighted_metrics, self.output_names),
            **kwargs,
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as the saved one was, or warns that it has to be compiled anew."""
        try:
            self.compile(**keras.saving.deserialize_keras_object(config))
        # Keras raises many types of errors, for a function that isn't registered or that safe mode refuses.
        except Exception as error:  # noqa: BLE001
            reason = shortened((str(error) or type(error).__name__).splitlines()[0])
            text = f"The model is loaded, but not compiled: call `compile` before `fit`. Keras says: {reason}"
            warnings.warn(text, stacklevel=2)
            return
        if self.optimizer:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Sums the weighted losses of the branches, each on the same labels."""
        labels = self._labels_by_output(y, self.branches)
        predictions = {branch: y_pred[branch] for branch in self.branches}
        return super().compute_loss(x, labels, predictions, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates and returns the metrics of every output, on the same labels."""
        return super().compute_metrics(x, self._labels_by_output(y, self.output_names), y_pred, sample_weight)

    @staticmethod
    def _labels_by_output(y: Any, names: Iterable[str]) -> Any:
        return y if y is None or isinstance(y, dict) else {name: y for name in names}


def losses_by_branch(loss: Any, branches: Sequence[str]) -> dict[str, Any] | None:
    """Returns each trained branch's loss, `None` without a loss.

    Raises:
        ValueError: for a list, which says of no loss whose it is, and for keys that aren't branches.
    """
    if loss is None:
        return None
    if isinstance(loss, list | tuple):
        raise ValueError(f"`loss` must be one loss for all branches or a dict by branch. Received: loss={shown(loss)}")
    if not isinstance(loss, Mapping):
        return {branch: loss for branch in branches}
    if COMBINED in loss:
        raise ValueError(
            f"`loss` must have branches as keys: {', '.join(branches)}. Received: {COMBINED!r}, which is made of the "
            "branches and has no loss of its own. Leave it out."
        )
    _check_keys("loss", loss, branches, "branches")
    return dict(loss)


def weights_by_branch(
    given: Any, own: Mapping[str, float], losses: Mapping[str, Any] | None, branches: Sequence[str]
) -> dict[str, float] | None:
    """Returns the weight of each branch's loss, as given, or else the model's own; `None` without a loss.

    Raises:
        ValueError: for something else than a dict, and for wrong branches and weights.
    """
    named = as_dict("loss_weights", given)
    _check_keys("loss_weights", named, branches, "branches")
    weights = full_loss_weights(named or own, branches)
    return None if losses is None else {branch: weights[branch] for branch in losses}


def metrics_by_output(name: str, metrics: Any, outputs: Sequence[str]) -> dict[str, Any] | None:
    """Returns each output's metrics, objects of their own; `None` without metrics.

    Args:
        name: that of the argument: `metrics` or `weighted_metrics`.
        metrics: one, or a list of them, for all outputs; or a dict by output.
        outputs: the model's outputs.

    Raises:
        ValueError: for a list of lists, and for keys that aren't outputs.
    """
    if metrics is None:
        return None
    if isinstance(metrics, Mapping):
        _check_keys(name, metrics, outputs, "outputs")
        return dict(metrics)
    metrics = list(metrics) if isinstance(metrics, list | tuple) else [metrics]
    if any(isinstance(each, list | tuple | Mapping) for each in metrics):
        raise ValueError(
            f"`{name}` must be one list of metrics for all outputs or a dict by output. Received: "
            f"{name}={shown(metrics)}"
        )
    return {output: [_clone_metric(metric) for metric in metrics] for output in outputs}


def _check_keys(name: str, given: Mapping[str, Any], known: Sequence[str], kind: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(
                f"`{name}` must have {kind} as keys: {', '.join(known)}. Received: {key!r}."
                f"{nearest(str(key), list(known))}"
            )


def _clone_metric(metric: Any) -> Any:
    return type(metric).from_config(metric.get_config()) if isinstance(metric, keras.Metric) else metric
