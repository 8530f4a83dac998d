"""How the predictions of a model's branches become one."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from clan_tf.choices import COMBINED, Combination
from clan_tf.layers.non_local import Shape
from clan_tf.layers.relation import Tensor
from clan_tf.layers.weighted_average import WeightedAverage

__all__ = [
    "COMBINED",
    "branch_output",
    "combine",
    "combined_logits_output",
    "combined_output",
    "joined_logits",
    "tempered",
]
_TINY = 1e-30
"""The smallest order of magnitude whose logarithm float32 holds."""


def combine(
    probabilities: Sequence[Tensor],
    rule: Combination,
    weights: Sequence[float] | None = None,
    temperatures: Sequence[float] | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Combines the branches by the mean of their probabilities, or the softmax of their mean log-probabilities.

    The latter equals the softmax of the mean logits, because softmax is invariant to a constant added to its logits.

    Args:
        probabilities: one array or tensor `(…, classes)` per branch.
        rule: `"probabilities"` or `"logits"`.
        weights: of the branches in the mean, not negative and not all 0; equal ones if `None`.
        temperatures: by which the branches' probabilities are calibrated, which is undone before they are combined.
        temperature: by which the result is calibrated.
    """
    if rule == "probabilities" and temperatures is None and temperature == 1:
        return _mean(probabilities, weights)
    given = temperatures or [1.0] * len(probabilities)
    # Logits but for a constant, which softmax doesn't see.
    logits = [ops.log(ops.maximum(values, _TINY)) * own for values, own in zip(probabilities, given, strict=True)]
    return ops.softmax(joined_logits(logits, rule, weights) / temperature, axis=-1)


def joined_logits(logits: Sequence[Tensor], rule: Combination, weights: Sequence[float] | None = None) -> Tensor:
    """Computes the logits of the branches' combination, but for a constant, from logits `(…, classes)` of each."""
    return _mean(logits, weights) if rule == "logits" else mean_log_probabilities(logits, weights)


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Divides the logits of probabilities `(…, classes)` by a temperature (Guo et al., ICML 2017)."""
    if temperature == 1:
        return probabilities
    return ops.softmax(ops.log(ops.maximum(probabilities, _TINY)) / temperature, axis=-1)


def mean_log_probabilities(logits: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Computes the logarithm of the mean of the branches' probabilities, from logits `(…, classes)` of each.

    No probability is computed on the way, which would round those near 0 to it, above all in quantized files.
    """
    shares = [1.0] * len(logits) if weights is None else list(weights)
    given = [(values, share / sum(shares)) for values, share in zip(logits, shares, strict=True) if share]
    logs = [ops.log_softmax(values, axis=-1) for values, _ in given]
    largest = logs[0]
    for each in logs[1:]:
        largest = ops.maximum(largest, each)
    return largest + ops.log(sum(share * ops.exp(each - largest) for each, (_, share) in zip(logs, given, strict=True)))


def branch_output(logits: Tensor, name: str, temperature: float | None) -> Tensor:
    """Makes a branch's probabilities as layers of a model, from its logits `(batch, classes)`.

    Args:
        logits: symbolic, `(batch, classes)`.
        name: of the last layer.
        temperature: by which they are calibrated; `None` if the model isn't.
    """
    return keras.layers.Softmax(dtype="float32", name=name)(_divided(logits, temperature, name))


def combined_output(
    logits: Sequence[Tensor],
    rule: Combination,
    weights: Sequence[float] | None = None,
    name: str | None = None,
    temperature: float | None = None,
    probabilities: Sequence[Tensor] | None = None,
) -> Tensor:
    """Makes what `combine` computes as layers of a model; branches of weight 0 have no part in its graph.

    Args:
        logits: of each branch, symbolic, `(batch, classes)`.
        rule: as in `combine`.
        weights: as in `combine`.
        name: of the last layer.
        temperature: by which the result is calibrated; `None` if the model isn't.
        probabilities: the softmax of the logits, where the model has it.
    """
    used = [index for index in range(len(logits)) if weights is None or weights[index]]
    own = None if weights is None else [weights[index] for index in used]
    logits = [logits[index] for index in used]
    if rule == "logits":
        joined = _average(own, len(used), name and "mean_logits")(logits if len(logits) > 1 else logits[0])
    elif temperature is not None:
        joined = MeanLogProbabilities(own, dtype="float32", name=name and "mean_log_probabilities")(logits)
    else:
        given = [probabilities[index] for index in used] if probabilities else None
        tensors = given or [keras.layers.Softmax(dtype="float32")(values) for values in logits]
        return _average(own, len(used), name)(tensors if len(tensors) > 1 else tensors[0])
    return keras.layers.Softmax(dtype="float32", name=name)(_divided(joined, temperature, name))


def combined_logits_output(
    logits: Sequence[Tensor],
    rule: Combination,
    weights: Sequence[float] | None = None,
    temperature: float | None = None,
) -> Tensor:
    """Makes logits of what `combined_output` gives as layers of a model: those whose softmax it is.

    Args:
        logits: of each branch that counts, symbolic, `(batch, classes)`.
        rule: as in `combine`.
        weights: as in `combine`, none of them 0.
        temperature: by which the result is calibrated; `None` if the model isn't.
    """
    joined = logits[0]
    if len(logits) > 1 and rule == "logits":
        joined = _average(weights, len(logits), "mean_logits")(logits)
    elif len(logits) > 1:
        joined = MeanLogProbabilities(weights, dtype="float32", name="mean_log_probabilities")(logits)
    return _divided(joined, temperature, COMBINED)


@keras.saving.register_keras_serializable(package="clan_tf")
class MeanLogProbabilities(keras.layers.Layer):
    """The logarithm of the mean of branches' probabilities.

    Args:
        weights: of the branches in the mean; equal ones if `None`.

    Call arguments:
        logits: of each branch, `(batch, classes)`.

    Returns:
        `(batch, classes)`.
    """

    def __init__(self, weights: Sequence[float] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given_weights = None if weights is None else [float(weight) for weight in weights]

    def call(self, logits: Sequence[Tensor]) -> Tensor:
        """Computes `mean_log_probabilities`."""
        return mean_log_probabilities(logits, self.given_weights)

    def compute_output_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Returns the branches' shape."""
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "weights": self.given_weights}


def _average(weights: Sequence[float] | None, count: int, name: str | None) -> keras.layers.Layer:
    if count == 1:
        return keras.layers.Identity(dtype="float32", name=name)
    if weights is None or len(set(weights)) == 1:
        return keras.layers.Average(dtype="float32", name=name)
    return WeightedAverage(weights, dtype="float32", name=name)


def _divided(logits: Tensor, temperature: float | None, name: str | None) -> Tensor:
    """Divides logits by a temperature. Where one output is divided all are, also by 1: files order weights by depth."""
    if temperature is None:
        return logits
    return keras.layers.Rescaling(1 / temperature, dtype="float32", name=name and f"calibrated_{name}")(logits)


def _mean(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    if weights is None:
        return sum(values) / len(values)
    return sum(weight * value for value, weight in zip(values, weights, strict=True)) / sum(weights)
