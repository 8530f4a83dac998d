"""Cross-layer spatial attention (CLSA)."""

from typing import Any, Literal, get_args

import keras
from keras import ops

from clan_tf.layers.non_local import Shape, require_map
from clan_tf.layers.relation import Tensor
from clan_tf.layers.resize import downsample

SpatialPooling = Literal["avg", "max", "avg_max"]
SpatialActivation = Literal["sigmoid", "linear"]
LINEAR_SLOPE, LINEAR_OFFSET = 0.25, 0.5
"""The sigmoid's tangent at 0: a linear map that is normalised starts and learns like a sigmoid one."""
_POOLS = {"avg": (ops.mean,), "max": (ops.max,), "avg_max": (ops.mean, ops.max)}


@keras.saving.register_keras_serializable(package="clan_tf")
class CrossLayerSpatialAttention(keras.layers.Layer):
    """Weights the positions of the top-level map with an attention map drawn from a mid-level map (eqs. 8, 9).

    `attention = K * [mean_c(mid); max_c(mid)]` and `attended = downsample(attention) · top`, where `K` is a convolution
    with one filter. Down-sampling takes the mean over the positions that a top cell covers.

    Args:
        pooling: what is computed over the channels of `mid`: `"avg"`, `"max"` or `"avg_max"`.
        activation: `"sigmoid"` or `"linear"`; the equation as printed has the latter, without `batch_norm`.
        kernel_size: side of the kernel `K`.
        batch_norm: whether the pooled maps are normalised, and the map before its activation, as in CBAM. The map then
            varies over the positions from the first step on, whatever the size of the activations, and the zeros beyond
            the border are the mean. The kernel starts at 1: where activations are high, the map is. A linear map is
            `(map + 2) / 4`, the sigmoid's tangent at 0. `False` is eq. 8 as printed: the kernel starts at 0 and the map
            even, at 0.5 (`"sigmoid"`) or 1 (`"linear"`). Large activations of `mid` can then close or open a sigmoid
            map for good, and a linear map, which has no bounds, can make training diverge.
        return_attention: whether the attention map is returned, too.

    Call arguments:
        mid: the refined mid-level map `(batch, height, width, C_s)`; height and width must be known.
        top: `L^N`, the top-level map `(batch, top_height, top_width, C_g)`; its height and width must be known, too.

    Returns:
        The attended map, of the shape of `top`; with `return_attention`, a pair of it and the attention map
        `(batch, height, width, 1)`.

    Raises:
        ValueError: if an argument is invalid, or the inputs aren't maps with known shapes.

    Reference:
        CLAN, section 3.2; Woo et al., CBAM, ECCV 2018.
    """

    def __init__(
        self,
        pooling: SpatialPooling = "avg_max",
        activation: SpatialActivation = "sigmoid",
        kernel_size: int = 3,
        batch_norm: bool = True,
        return_attention: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, values in (
            ("pooling", pooling, get_args(SpatialPooling)),
            ("activation", activation, get_args(SpatialActivation)),
        ):
            if value not in values:
                raise ValueError(f"`{name}` must be one of {', '.join(values)}. Received: {name}={value!r}")
        if kernel_size < 1:
            raise ValueError(f"`kernel_size` must be a positive number. Received: kernel_size={kernel_size!r}")
        self.pooling = pooling
        self.activation = activation
        self.kernel_size = kernel_size
        self.batch_norm = batch_norm
        self.return_attention = return_attention

    def build(self, mid_shape: Shape, top_shape: Shape) -> None:
        """Creates the convolution `K` of eq. 8 and its batch norm, from the shapes of `mid` and `top`."""
        require_map("mid", mid_shape, static_size=True)
        require_map("top", top_shape, static_size=True)
        pools = len(_POOLS[self.pooling])
        self.convolution = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            kernel_initializer="ones" if self.batch_norm else "zeros",
            use_bias=not self.batch_norm,
            bias_initializer="ones" if self.activation == "linear" else "zeros",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build((*mid_shape[:-1], pools))
        self.pooled_normalization = self.map_normalization = None
        if self.batch_norm:
            # `K` scales and the other normalisation shifts.
            self.pooled_normalization = self._normalization("pooled_batch_norm", scale=False, center=False)
            self.pooled_normalization.build((*mid_shape[:-1], pools))
            self.map_normalization = self._normalization("map_batch_norm")
            self.map_normalization.build((*mid_shape[:-1], 1))

    def _normalization(self, name: str, **arguments: bool) -> keras.layers.BatchNormalization:
        return keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy, name=name, **arguments
        )

    def call(self, mid, top, training=None):
        """Weights the positions of `top` by the attention of `mid` (eqs. 8-10)."""
        attention = self.attention_map(mid, training)
        attended = downsample(attention, tuple(top.shape[1:3])) * top  # eq. 9
        return (attended, attention) if self.return_attention else attended

    def attention_map(self, mid: Tensor, training: bool | None = None) -> Tensor:
        """Computes `M` of eq. 8: `(batch, height, width, 1)`."""
        pooled = self.pooled(mid)
        if self.pooled_normalization is None or self.map_normalization is None:
            return self.activated(self.convolution(pooled))  # eq. 8
        pooled = self.pooled_normalization(pooled, training=training)
        scores = self.map_normalization(self.convolution(pooled), training=training)
        return self.activated(scores if self.activation == "sigmoid" else scores * LINEAR_SLOPE + LINEAR_OFFSET)

    def pooled(self, mid: Tensor) -> Tensor:
        """Computes mean, maximum or both over the channels of `mid`: `(batch, height, width, 1 or 2)`."""
        return ops.concatenate([pool(mid, axis=-1, keepdims=True) for pool in _POOLS[self.pooling]], axis=-1)

    def activated(self, scores: Tensor) -> Tensor:
        """Applies the activation to a map."""
        return ops.sigmoid(scores) if self.activation == "sigmoid" else scores

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The layers with parameters inside this one, available once it is built."""
        candidates = (self.pooled_normalization, self.convolution, self.map_normalization)
        return [layer for layer in candidates if layer is not None]

    def compute_output_shape(self, mid_shape: Shape, top_shape: Shape) -> Shape | tuple[Shape, Shape]:
        """Returns the shape of `top` and, if requested, that of the attention map."""
        return (top_shape, (*mid_shape[:-1], 1)) if self.return_attention else top_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, as plain values."""
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "activation": self.activation,
            "kernel_size": self.kernel_size,
            "batch_norm": self.batch_norm,
            "return_attention": self.return_attention,
        }
