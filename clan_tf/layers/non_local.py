"""The non-local block, and what cross-layer context attention shares with it."""

from typing import Any

import keras
from keras import ops

from clan_tf.layers.relation import (
    RELATIONS,
    Relation,
    Tensor,
    block_of_queries,
    relate,
    relation_bytes,
    relation_macs,
    relation_weights,
)

Shape = tuple[Any, ...]
"""Sizes of axes; `None` for an axis that is known only when the layer is called."""


@keras.saving.register_keras_serializable(package="clan_tf")
class NonLocalBlock(keras.layers.Layer):
    """Refines a map with context from all its positions (eqs. 2, 3), related through the map itself.

    `refined = mid + BN(W_y y)` with `y_i = (1 / C) sum_j f(mid_i, mid_j) W_k mid_j`. The batch normalisation starts
    with gamma 0, so that `refined = mid` before the first step and a pretrained backbone starts undisturbed.

    Args:
        relation: the metric `f`: `"gaussian"` (eq. 5), `"embedded_gaussian"` (eq. 6) or `"dot_product"` (eq. 7).
        embed_dim: `C_int`, the width of `W_θ`, `W_φ` and `W_k`; `None` for half the channels of the map.
        query_block: how many positions the softmax metrics relate at a time in training, which limits memory use;
            `None` relates all at once up to 1,024 positions and blocks of 512 above. Values and gradients don't
            depend on it.

    Call arguments:
        mid: feature map `(batch, height, width, channels)`.
        training: whether the batch normalisation uses the batch's statistics.

    Returns:
        The refined map, of the shape of `mid`.

    Raises:
        ValueError: if an argument is invalid, or `mid` isn't a map with a known number of channels.

    Reference:
        Wang et al., Non-local Neural Networks, CVPR 2018; CLAN, section 3.1.
    """

    def __init__(
        self,
        relation: Relation = "dot_product",
        embed_dim: int | None = None,
        query_block: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if relation not in RELATIONS:
            raise ValueError(f"`relation` must be one of {', '.join(RELATIONS)}. Received: relation={relation!r}")
        for name, value in (("embed_dim", embed_dim), ("query_block", query_block)):
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be a positive number or None. Received: {name}={value!r}")
        self.relation = relation
        self.embed_dim = embed_dim
        self.query_block = query_block

    def build(self, mid_shape: Shape) -> None:
        """Creates the projections and the normalisation, from the shape of `mid`."""
        require_map("mid", mid_shape)
        channels = mid_shape[-1]
        width = self.embed_dim or max(1, channels // 2)
        self.theta = self.phi = None
        if self.relation != "gaussian":
            self.theta = self._pointwise(width, mid_shape, "theta")
            self.phi = self._pointwise(width, mid_shape, "phi")
        self.value_projection = self._pointwise(width, mid_shape, "value_projection")
        self.output_projection = self._pointwise(channels, (*mid_shape[:-1], width), "output_projection")
        # Momentum and epsilon are PyTorch's defaults, as in the paper's implementation.
        self.normalization = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, gamma_initializer="zeros", dtype=self.dtype_policy, name="normalization"
        )
        self.normalization.build(mid_shape)
        if self.relation != "dot_product" and keras.backend.backend() == "tensorflow":
            positions = None if None in mid_shape[1:3] else mid_shape[1] * mid_shape[2]
            # XLA can't differentiate TensorFlow's loop over blocks of queries; Keras then compiles without it.
            self.supports_jit = block_of_queries(positions, self.query_block) is None

    def call(self, mid, training=None):
        """Refines `mid` with context from all its positions (eqs. 2, 3)."""
        return self.refine(mid, self.fuse(mid), training=training)

    def fuse(self, mid: Tensor) -> Tensor:
        """Returns the map whose positions are related."""
        return mid

    def refine(self, mid: Tensor, fused: Tensor, training: bool | None = None) -> Tensor:
        """Gathers `W_k mid` by the relations between the positions of `fused` (eqs. 2, 3)."""
        query, key = self._query_and_key(fused)
        value = self.value_projection(mid)
        query, key, flat = map(_flatten_positions, (query, key, value))
        related = relate(self.relation, query, key, flat, query_block=self.query_block, training=training)
        related = ops.reshape(related, ops.shape(value))  # eq. 2
        return mid + self.normalization(self.output_projection(related), training=training)  # eq. 3

    def weights_of(self, row: int, column: int, *maps: Tensor) -> Tensor:
        """Computes how much each position contributes to `y` at one position (eq. 2): `(batch, height, width)`.

        The softmax metrics' weights sum to 1; those of `dot_product` can be negative.

        Args:
            row: row of the position, from 0 at the top.
            column: column of the position, from 0 at the left.
            maps: the inputs of the layer.
        """
        query, key = self._query_and_key(self.fuse(*maps))
        weights = relation_weights(self.relation, query[:, row, column][:, None], _flatten_positions(key))
        return ops.reshape(weights, ops.shape(key)[:3])

    def product_cost(self, mid_shape: Shape) -> tuple[int, int]:
        """Counts multiply-accumulates and bytes of the relation's products for one photo; needs a built layer."""
        positions = mid_shape[1] * mid_shape[2]
        value_width = self.value_projection.filters
        width = self.theta.filters if self.theta else mid_shape[-1]
        return (
            relation_macs(self.relation, positions, width, value_width),
            relation_bytes(self.relation, positions, width, value_width, self.query_block),
        )

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The layers with parameters inside this one, available once it is built."""
        candidates = (self.theta, self.phi, self.value_projection, self.output_projection, self.normalization)
        return [layer for layer in candidates if layer is not None]

    def compute_output_shape(self, mid_shape: Shape) -> Shape:
        """Returns the shape of `mid`."""
        return mid_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {
            **super().get_config(),
            "relation": self.relation,
            "embed_dim": self.embed_dim,
            "query_block": self.query_block,
        }

    def _query_and_key(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        return self.theta(fused) if self.theta else fused, self.phi(fused) if self.phi else fused

    def _pointwise(self, filters: int, input_shape: Shape, name: str) -> keras.layers.Conv2D:
        layer = keras.layers.Conv2D(filters, 1, data_format="channels_last", dtype=self.dtype_policy, name=name)
        layer.build(input_shape)
        return layer


def require_map(name: str, shape: Shape, static_size: bool = False) -> None:
    """Raises a `ValueError` unless `shape` is a channels-last map with known channels (and size, if requested)."""
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must be a map `(batch, height, width, channels)` with known channels. Received: shape={shape}"
        )
    if static_size and None in shape[1:3]:
        raise ValueError(f"`{name}` must have a known height and width. Received: shape={shape}")


def _flatten_positions(x: Tensor) -> Tensor:
    positions = -1 if None in x.shape[1:3] else x.shape[1] * x.shape[2]
    return ops.reshape(x, (ops.shape(x)[0], positions, x.shape[3]))
