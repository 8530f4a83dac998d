"""How the predictions of a model's branches become one."""

from collections.abc import Sequence

import keras
from keras import ops

from clan_tf.choices import COMBINED, Combination
from clan_tf.layers.relation import Tensor
from clan_tf.layers.weighted_average import WeightedAverage

__all__ = ["COMBINED", "branch_output", "combine", "combined_output", "tempered"]
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
    given = temperatures or [1.0] * len(probabilities)
    own = [tempered(values, 1 / each) for values, each in zip(probabilities, given, strict=True)]
    if rule == "probabilities":
        return tempered(_mean(own, weights), temperature)
    mean = _mean([ops.log(ops.maximum(values, _TINY)) for values in own], weights)
    return ops.softmax(mean / temperature, axis=-1)


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Divides the logits of probabilities `(…, classes)` by a temperature (Guo et al., ICML 2017)."""
    if temperature == 1:
        return probabilities
    return ops.softmax(ops.log(ops.maximum(probabilities, _TINY)) / temperature, axis=-1)


def branch_output(logits: Tensor, name: str, temperature: float = 1.0) -> Tensor:
    """Makes a branch's calibrated probabilities as layers of a model, from its logits `(batch, classes)`."""
    return keras.layers.Softmax(dtype="float32", name=name)(_divided(logits, temperature, name))


def combined_output(
    logits: Sequence[Tensor],
    rule: Combination,
    weights: Sequence[float] | None = None,
    name: str | None = None,
    temperature: float = 1.0,
    probabilities: Sequence[Tensor] | None = None,
) -> Tensor:
    """Makes what `combine` computes as layers of a model; branches of weight 0 have no part in its graph.

    Args:
        logits: of each branch, symbolic, `(batch, classes)`.
        rule: as in `combine`.
        weights: as in `combine`.
        name: of the last layer.
        temperature: by which the result is calibrated.
        probabilities: the softmax of the logits, where there is one; it is made if `None`.
    """
    tensors = logits
    if rule == "probabilities":
        tensors = probabilities or [keras.layers.Softmax(dtype="float32")(each) for each in logits]
    if weights is not None:
        tensors = [tensor for tensor, weight in zip(tensors, weights, strict=True) if weight]
        weights = [weight for weight in weights if weight]
    average: keras.layers.Layer
    is_last = rule == "probabilities" and temperature == 1
    own_name = name if is_last else name and f"mean_{rule}"
    if len(tensors) == 1:
        average = keras.layers.Identity(dtype="float32", name=own_name)
    elif weights is None or len(set(weights)) == 1:
        average = keras.layers.Average(dtype="float32", name=own_name)
    else:
        average = WeightedAverage(weights, dtype="float32", name=own_name)
    joined = average(tensors if len(tensors) > 1 else tensors[0])
    if is_last:
        return joined
    if rule == "probabilities":
        joined = Logarithm(dtype="float32", name=name and f"log_{name}")(joined)
    return keras.layers.Softmax(dtype="float32", name=name)(_divided(joined, temperature, name))


@keras.saving.register_keras_serializable(package="clan_tf")
class Logarithm(keras.layers.Layer):
    """The natural logarithm of probabilities of any shape; those below 1e-30 count as that."""

    def call(self, probabilities: Tensor) -> Tensor:
        """Computes the logarithm of `probabilities`."""
        return ops.log(ops.maximum(probabilities, _TINY))


def _divided(logits: Tensor, temperature: float, name: str | None) -> Tensor:
    if temperature == 1:
        return logits
    return keras.layers.Rescaling(1 / temperature, dtype="float32", name=name and f"calibrated_{name}")(logits)


def _mean(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    if weights is None:
        return sum(values) / len(values)
    return sum(weight * value for value, weight in zip(values, weights, strict=True)) / sum(weights)
