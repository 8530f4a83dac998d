"""The cross-entropy for classes of unequal numbers of photos: weighted, with adjusted logits, and focal."""

import numpy as np
from keras import ops

from clan_tf.layers.relation import Tensor

_LEAST = 1e-7
"""In place of the 1 - p of smaller ones: a power below 1 has no finite slope at 0, and float32 rounds them to 0."""


def balanced_cross_entropy(
    shares: Tensor,
    logits: Tensor,
    weights: np.ndarray | None = None,
    shift: np.ndarray | None = None,
    gamma: float = 0.0,
) -> Tensor:
    """Computes `sum_c w_c s_c (1 - p_c)^gamma (-log p_c)` of each photo, where `p = softmax(logits + shift)`.

    Without weights, shift and gamma it is the cross-entropy. Each class `c` has its own term also where a photo has
    shares of several, by MixUp, CutMix or label smoothing.

    Args:
        shares: `s`, of each photo's classes, which sum to 1, `(photos, classes)`.
        logits: float, `(photos, classes)`; half precision is computed in float32.
        weights: `w`, of the classes, `(classes,)`; 1 if `None`.
        shift: what is added to the logits, `(classes,)`: tau times the logarithms of the classes' shares of the photos.
        gamma: how much less photos count that are already classified with a high probability.

    Returns:
        `(photos,)`, in float32 or the higher precision of the logits.

    Reference:
        Lin, Goyal, Girshick, He and Dollar, Focal Loss for Dense Object Detection, ICCV 2017, eq. 4. Menon, Jayasumana,
        Rawat, Jain, Veit and Kumar, Long-tail Learning via Logit Adjustment, ICLR 2021, eq. 10.
    """
    dtype = "float64" if logits.dtype == "float64" else "float32"
    shares, logits = ops.cast(shares, dtype), ops.cast(logits, dtype)
    if shift is not None:
        logits = logits + ops.convert_to_tensor(shift, dtype)
    log_probabilities = ops.log_softmax(logits, axis=1)
    terms = -shares * log_probabilities
    if weights is not None:
        terms = terms * ops.convert_to_tensor(weights, dtype)
    if gamma:
        terms = terms * ops.power(ops.maximum(-ops.expm1(log_probabilities), _LEAST), gamma)
    return ops.sum(terms, axis=1)
