"""The multi-attention multi-class constraint: a loss over pairs of photos' features."""

from keras import ops

from clan_tf.layers.bilinear import l2_normalized
from clan_tf.layers.relation import Tensor

_NOTHING = -1e30
"""Stands for the logarithm of 0."""


def pair_losses(features: Tensor, labels: Tensor, normalize: bool = True) -> Tensor:
    """Computes how far the features of several attentions are from an order by attention and class.

    Each feature is an anchor. The others are of the same attention and class (`sasc`), of the same attention and
    another class (`sadc`), of another attention and the same class (`dasc`; those of the same photo, too), or of other
    ones of both (`dadc`). An anchor should be nearer to `sasc` than to all others, and to `sadc` and `dasc` than to
    `dadc`. Each of these three terms sums `log(1 + sum(exp(n - p)))` over the products `p` of the anchor with the
    nearer features, and inside over the products `n` with those that should be farther. A term without any has the
    value 0.

    Args:
        features: `(photos, attentions, dimension)`.
        labels: int `(photos,)`.
        normalize: whether the features are divided by their norms first.

    Returns:
        Each photo's mean over its anchors, float32 `(photos,)`.

    Reference:
        Sun, Yuan, Zhou and Ding, Multi-Attention Multi-Class Constraint for Fine-grained Image Recognition, ECCV 2018,
        section 3.2.
    """
    photos, attentions, dimension = ops.shape(features)[0], features.shape[1], features.shape[2]
    vectors = ops.reshape(ops.cast(features, "float32"), (-1, dimension))
    if normalize:
        vectors = l2_normalized(vectors)
    products = ops.matmul(vectors, ops.transpose(vectors))
    photo, label = (ops.repeat(each, attentions) for each in (ops.arange(photos), labels))
    attention = ops.tile(ops.arange(attentions), [photos])
    same_photo, same_class, same_attention = (each[:, None] == each[None, :] for each in (photo, label, attention))
    others = [ops.logical_not(each) for each in (same_photo, same_class, same_attention)]
    other_photo, other_class, other_attention = others
    sasc = same_attention & same_class & other_photo
    sadc, dasc, dadc = same_attention & other_class, other_attention & same_class, other_attention & other_class
    losses = 0.0
    for nearer, farther in ((sasc, sadc | other_attention), (sadc, dadc), (dasc, dadc)):
        rest = ops.logsumexp(ops.where(farther, products, _NOTHING), axis=1, keepdims=True)
        losses += ops.sum(ops.where(nearer, ops.softplus(rest - products), 0.0), axis=1)
    return ops.mean(ops.reshape(losses, (photos, attentions)), axis=1)
