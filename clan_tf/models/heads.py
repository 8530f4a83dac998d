"""The last layers of a branch: pooling, and logits of what is pooled."""

import keras

from clan_tf.layers.relation import Tensor


def mean_pool(branch: str) -> keras.layers.Layer:
    """Makes the layer that averages a branch's map over its positions."""
    return keras.layers.GlobalAveragePooling2D(data_format="channels_last", name=f"pool_{branch}")


def branch_head(x: Tensor, classes: int, branch: str, dropout: float = 0.0, batch_norm: bool = False) -> Tensor:
    """Computes logits of a pooled feature vector by a dense layer, in float32 regardless of the graph's precision.

    The layer starts at 0. With random weights, a spatial attention as printed was observed to collapse to 0 within a
    few steps, and its branch stayed at chance.

    Args:
        x: feature vectors `(batch, features)`.
        classes: number of classes.
        branch: the branch's name, which names the layers.
        dropout: share of the features that is dropped in training.
        batch_norm: whether each feature is normalised over the batch first, so that the dense layer learns as fast from
            features that are small or hardly vary.
    """
    if batch_norm:
        x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype="float32", name=f"batch_norm_{branch}")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"dropout_{branch}")(x)
    return keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32", name=f"logits_{branch}")(x)
