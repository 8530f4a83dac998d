"""How the predictions of a model's branches become one."""

from collections.abc import Sequence

import keras
from keras import ops

from clan_tf.choices import Combination
from clan_tf.layers.relation import Tensor
from clan_tf.layers.weighted_average import WeightedAverage

COMBINED = "combined"


def combine(probabilities: Sequence[Tensor], rule: Combination, weights: Sequence[float] | None = None) -> Tensor:
    """Combines the branches by the mean of their probabilities, or the softmax of their mean log-probabilities.

    The latter equals the softmax of the mean logits, because softmax is invariant to a constant added to its logits.

    Args:
        probabilities: one array or tensor `(…, classes)` per branch.
        rule: `"probabilities"` or `"logits"`.
        weights: of the branches in the mean, not negative and not all 0; equal ones if `None`.
    """
    if rule == "probabilities":
        return _mean(probabilities, weights)
    tiny = 1e-30  # the smallest order of magnitude whose logarithm float32 holds
    return ops.softmax(_mean([ops.log(ops.maximum(p, tiny)) for p in probabilities], weights), axis=-1)


def combined_output(
    logits: Sequence[Tensor],
    probabilities: Sequence[Tensor],
    rule: Combination,
    weights: Sequence[float] | None = None,
    name: str | None = None,
) -> Tensor:
    """Makes what `combine` computes as layers of a model; branches of weight 0 have no part in its graph.

    Args:
        logits: of each branch, symbolic, `(batch, classes)`.
        probabilities: their softmax.
        rule: as in `combine`.
        weights: as in `combine`.
        name: of the last layer.
    """
    tensors = probabilities if rule == "probabilities" else logits
    if weights is not None:
        tensors = [tensor for tensor, weight in zip(tensors, weights, strict=True) if weight]
        weights = [weight for weight in weights if weight]
    average: keras.layers.Layer
    own_name = name if rule == "probabilities" else name and "mean_logits"
    if len(tensors) == 1:
        average = keras.layers.Identity(dtype="float32", name=own_name)
    elif weights is None or len(set(weights)) == 1:
        average = keras.layers.Average(dtype="float32", name=own_name)
    else:
        average = WeightedAverage(weights, dtype="float32", name=own_name)
    joined = average(tensors if len(tensors) > 1 else tensors[0])
    return joined if rule == "probabilities" else keras.layers.Softmax(dtype="float32", name=name)(joined)


def _mean(values: Sequence[Tensor], weights: Sequence[float] | None) -> Tensor:
    if weights is None:
        return sum(values) / len(values)
    return sum(weight * value for value, weight in zip(values, weights, strict=True)) / sum(weights)
