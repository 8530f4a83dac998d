"""Exact folding of chains of linear layers in CLAN's layers into single convolutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import keras
import numpy as np
from keras import ops

from clan_tf.export.batch_norm import rounded, scale_and_offset
from clan_tf.layers import CrossLayerContextAttention, CrossLayerSpatialAttention, NonLocalBlock
from clan_tf.layers.relation import Relation, Tensor, relate
from clan_tf.layers.resize import upsample
from clan_tf.layers.spatial_attention import LINEAR_OFFSET, LINEAR_SLOPE


class FoldedRefinement(keras.layers.Layer):
    """Computes `NonLocalBlock` or `CrossLayerContextAttention` at inference, with fewer convolutions.

    `embedded_gaussian` and `dot_product` use the fused map through `W_θ` and `W_φ` only, so that `W_θ W_l`, `W_θ W_g`,
    `W_φ W_l` and `W_φ W_g` are constants, and the map itself is never computed. Up-sampling is linear and keeps
    constants, so it can follow them. The batch normalisation after `W_y` becomes part of `W_y`.

    Args:
        relation: as in `NonLocalBlock`.
        query: 1x1 convolutions on the mid-level map and, if there is one, on the top-level map; the query is their
            sum, or the mid-level map itself if there are none.
        key: the same for the key; `None` if the key is the query (`gaussian`).
        value: `W_k`.
        output: `W_y` with its batch normalisation.

    Call arguments:
        mid: feature map `(batch, height, width, C_s)`.
        top: the top-level map, for `CrossLayerContextAttention`.

    Returns:
        The refined map, of the shape of `mid`.
    """

    def __init__(
        self,
        relation: Relation,
        query: Sequence[keras.layers.Conv2D],
        key: Sequence[keras.layers.Conv2D] | None,
        value: keras.layers.Conv2D,
        output: keras.layers.Conv2D,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.relation = relation
        self.query = list(query)
        self.key = list(key) if key else None
        self.value = value
        self.output_convolution = output
        self.built = True

    def call(self, mid, top=None):
        """Computes the output of the folded layer."""
        maps = [mid] if top is None else [mid, top]
        query = _project(self.query, maps)
        key = _project(self.key, maps) if self.key else query
        value = self.value(mid)
        positions = mid.shape[1] * mid.shape[2]
        flat = (ops.reshape(x, (-1, positions, x.shape[3])) for x in (query, key, value))
        related = ops.reshape(relate(self.relation, *flat), (-1, *value.shape[1:]))  # eq. 2
        return mid + self.output_convolution(related)  # eq. 3

    def compute_output_shape(self, mid_shape: Any, top_shape: Any = None) -> Any:
        """Returns the shape of `mid`."""
        return mid_shape


def fold(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the folded form of a built layer of CLAN, or the layer itself if there is none, or it would cost more."""
    if isinstance(layer, CrossLayerSpatialAttention):
        return _fold_attention(layer)
    if not isinstance(layer, NonLocalBlock) or convolution_macs(layer) <= folded_convolution_macs(layer):
        return layer
    return FoldedRefinement(
        layer.relation,
        query=_projections(layer, layer.theta, "query"),
        key=_projections(layer, layer.phi, "key") if layer.phi else None,
        value=_Linear.of(layer.value_projection).convolution("value"),
        output=_Linear.of(layer.output_projection).normalized(layer.normalization).convolution("output"),
        name=layer.name,
    )


class FoldedSpatialAttention(CrossLayerSpatialAttention):
    """Computes `CrossLayerSpatialAttention` at inference with the scales of both normalisations in its kernel.

    The means are subtracted before the convolution, so that the zeros beyond the border stay the mean.

    Args:
        means: of the pooled maps, one or two numbers.
        **arguments: as for `CrossLayerSpatialAttention`.
    """

    def __init__(self, means: np.ndarray, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.means = means

    def attention_map(self, mid, training=None):
        """Computes `M` of eq. 8."""
        return self.activated(self.convolution(self.pooled(mid) - self.means))


def _fold_attention(layer: CrossLayerSpatialAttention) -> CrossLayerSpatialAttention:
    if layer.map_normalization is None or layer.pooled_normalization is None:
        return layer
    kernel = np.asarray(layer.convolution.kernel, "float64")
    scales, _ = scale_and_offset(layer.pooled_normalization, kernel.shape[2])
    scale, offset = scale_and_offset(layer.map_normalization, 1)
    if layer.activation == "linear":
        scale, offset = scale * LINEAR_SLOPE, offset * LINEAR_SLOPE + LINEAR_OFFSET
    means = np.asarray(layer.pooled_normalization.moving_mean, "float32")
    folded = FoldedSpatialAttention(means, **layer.get_config() | {"batch_norm": False})
    folded.build(*(tensor.shape for tensor in layer.input))
    folded.convolution.set_weights([rounded(kernel * scales[:, None] * scale), rounded(offset)])
    return folded


def convolution_macs(layer: NonLocalBlock) -> int:
    """Counts multiply-accumulates of a layer's convolutions and batch normalisation for one photo, without biases."""
    mid, top = _positions(layer)
    macs = 0
    for part in layer.sublayers:
        if isinstance(part, keras.layers.Conv2D):
            macs += (top if part is getattr(layer, "top_projection", None) else mid) * prod(part.kernel.shape)
    return macs + mid * layer.normalization.gamma.shape[0]


def folded_convolution_macs(layer: NonLocalBlock) -> int:
    """Counts the multiply-accumulates of the convolutions in a layer's folded form."""
    mid, top = _positions(layer)
    macs = convolution_macs(layer) - mid * layer.normalization.gamma.shape[0]
    if isinstance(layer, CrossLayerContextAttention) and layer.theta and layer.phi:
        inner = (mid * prod(layer.mid_projection.kernel.shape), top * prod(layer.top_projection.kernel.shape))
        from_top = layer.top_projection.kernel.shape[2] * (layer.theta.filters + layer.phi.filters)
        macs += top * from_top - sum(inner)
    return macs


@dataclass(frozen=True)
class _Linear:
    """A 1x1 convolution as a matrix, in float64 so that products are rounded only once.

    Attributes:
        matrix: `(inputs, outputs)`.
        bias: `(outputs,)`.
    """

    matrix: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, layer: keras.layers.Conv2D) -> "_Linear":
        kernel, bias = (np.asarray(weights, dtype="float64") for weights in layer.get_weights())
        return cls(kernel[0, 0], bias)

    def then(self, other: "_Linear") -> "_Linear":
        return _Linear(self.matrix @ other.matrix, self.bias @ other.matrix + other.bias)

    def without_bias(self) -> "_Linear":
        return _Linear(self.matrix, np.zeros_like(self.bias))

    def normalized(self, layer: keras.layers.BatchNormalization) -> "_Linear":
        scale, offset = scale_and_offset(layer, len(self.bias))
        return _Linear(self.matrix * scale, self.bias * scale + offset)

    def convolution(self, name: str) -> keras.layers.Conv2D:
        inputs, outputs = self.matrix.shape
        layer = keras.layers.Conv2D(outputs, 1, data_format="channels_last", dtype="float32", name=name)
        layer.build((None, None, None, inputs))
        layer.set_weights([rounded(self.matrix[None, None]), rounded(self.bias)])
        return layer


def _projections(layer: NonLocalBlock, embedding: keras.layers.Conv2D | None, name: str) -> list[keras.layers.Conv2D]:
    """Makes the convolutions from the maps to the query or key: fusion of the maps, then embedding, if any."""
    chain = [_Linear.of(embedding)] if embedding else []
    if isinstance(layer, CrossLayerContextAttention):
        fusing = [_Linear.of(layer.mid_projection), _Linear.of(layer.top_projection)]
        chain = [fusing[0].then(chain[0]), fusing[1].then(chain[0].without_bias())] if chain else fusing
    return [linear.convolution(f"{name}_{source}") for linear, source in zip(chain, ("mid", "top"), strict=False)]


def _project(convolutions: Sequence[keras.layers.Conv2D], maps: Sequence[Tensor]) -> Tensor:
    if not convolutions:
        return maps[0]
    size = tuple(maps[0].shape[1:3])
    return sum(upsample(convolution(x), size) for convolution, x in zip(convolutions, maps, strict=True))


def _positions(layer: NonLocalBlock) -> tuple[int, int]:
    """Returns the numbers of positions of the mid-level and of the top-level map."""
    shapes = [tensor.shape for tensor in layer.input] if isinstance(layer.input, list | tuple) else [layer.input.shape]
    return prod(shapes[0][1:3]), prod(shapes[-1][1:3])
