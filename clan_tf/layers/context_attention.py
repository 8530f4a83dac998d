"""Cross-layer context attention (CLCA)."""

import keras

from clan_tf.layers.non_local import NonLocalBlock, Shape, require_map
from clan_tf.layers.relation import Tensor
from clan_tf.layers.resize import upsample


@keras.saving.register_keras_serializable(package="clan_tf")
class CrossLayerContextAttention(NonLocalBlock):
    """Refines a mid-level map with context that the top-level map helps to relate (eqs. 1-7).

    A `NonLocalBlock` whose relations are computed from `fused = W_l mid + upsample(W_g top)` (eq. 1) instead of `mid`.
    `W_g` runs at the top map's resolution: a 1x1 convolution and bilinear up-sampling commute.

    Args:
        relation: the metric `f`: `"gaussian"` (eq. 5), `"embedded_gaussian"` (eq. 6) or `"dot_product"` (eq. 7).
        embed_dim: `C_int` of eqs. 2, 6 and 7; `None` for `C_s / 2`.
        query_block: as in `NonLocalBlock`.

    Call arguments:
        mid: `L^s`, the mid-level map `(batch, height, width, C_s)`; height and width must be known.
        top: `L^N`, the top-level map `(batch, top_height, top_width, C_g)`.
        training: whether the batch normalisation uses the batch's statistics.

    Returns:
        The refined map `(batch, height, width, C_s)`.

    Raises:
        ValueError: if an argument is invalid, or the inputs aren't maps with known shapes.

    Reference:
        CLAN, section 3.1.
    """

    def build(self, mid_shape: Shape, top_shape: Shape) -> None:
        """Creates the projections of both maps and of the block, from the shapes of `mid` and `top`."""
        require_map("mid", mid_shape, static_size=True)
        require_map("top", top_shape)
        super().build(mid_shape)
        channels = mid_shape[-1]
        self.mid_projection = self._pointwise(channels, mid_shape, "mid_projection")
        self.top_projection = self._pointwise(channels, top_shape, "top_projection")

    def call(self, mid, top, training=None):
        """Refines `mid` with context that `top` helps to relate (eqs. 1-3)."""
        return self.refine(mid, self.fuse(mid, top), training=training)

    def fuse(self, mid: Tensor, top: Tensor) -> Tensor:
        """Computes `fused` (eq. 1), of the shape of `mid`."""
        return self.mid_projection(mid) + upsample(self.top_projection(top), tuple(mid.shape[1:3]))  # eq. 1

    @property
    def sublayers(self) -> list[keras.layers.Layer]:
        """The layers with parameters inside this one, available once it is built."""
        return [self.mid_projection, self.top_projection, *super().sublayers]

    def compute_output_shape(self, mid_shape: Shape, top_shape: Shape) -> Shape:
        """Returns the shape of `mid`."""
        return mid_shape
