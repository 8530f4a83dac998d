"""CLAN's own layers as PyTorch modules with the same weights. Maps are `(batch, channels, height, width)`."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from clan_tf.benchmark.torch_layers import Translator
from clan_tf.layers import CrossLayerContextAttention, CrossLayerSpatialAttention, NonLocalBlock
from clan_tf.layers.relation import pairwise_is_cheaper
from clan_tf.layers.resize import interpolation_matrix
from clan_tf.layers.spatial_attention import LINEAR_OFFSET, LINEAR_SLOPE

Size = tuple[int, int]


class TorchRefinement(nn.Module):
    """`NonLocalBlock` or `CrossLayerContextAttention` (eqs. 1-7).

    Args:
        layer: the built Keras layer.
        translator: copies its weights.
        size: height and width of the mid-level map.
        top_size: those of the top-level map, if it is an input.
    """

    def __init__(self, layer: NonLocalBlock, translator: Translator, size: Size, top_size: Size | None) -> None:
        super().__init__()
        self.relation, self.size = layer.relation, size
        self.mid_projection = self.top_projection = self.theta = self.phi = None
        if isinstance(layer, CrossLayerContextAttention):
            self.mid_projection = translator.convolution(layer.mid_projection, size)
            self.top_projection = translator.convolution(layer.top_projection, top_size or size)
        if layer.theta is not None and layer.phi is not None:
            self.theta = translator.convolution(layer.theta, size)
            self.phi = translator.convolution(layer.phi, size)
        self.value_projection = translator.convolution(layer.value_projection, size)
        self.output_projection = translator.convolution(layer.output_projection, size)
        self.normalization = translator.batch_norm(layer.normalization)

    def forward(self, mid: torch.Tensor, top: torch.Tensor | None = None) -> torch.Tensor:
        """Refines `mid` with context that `top` helps to relate."""
        fused = mid
        if self.mid_projection is not None and self.top_projection is not None:
            fused = self.mid_projection(mid) + _upsample(self.top_projection(top), self.size)
        query = self.theta(fused) if self.theta is not None else fused
        key = self.phi(fused) if self.phi is not None else fused
        value = self.value_projection(mid)
        with torch.autocast(mid.device.type, enabled=False):
            flat = (x.float().flatten(2).transpose(1, 2) for x in (query, key, value))
            related = _relate(self.relation, *flat).to(value.dtype)
        related = related.transpose(1, 2).reshape(value.shape)
        return mid + self.normalization(self.output_projection(related))


class TorchSpatialAttention(nn.Module):
    """`CrossLayerSpatialAttention` (eqs. 8, 9).

    Args:
        layer: the built Keras layer.
        translator: copies its weights.
        size: height and width of the mid-level map.
        top_size: those of the top-level map.
    """

    def __init__(self, layer: CrossLayerSpatialAttention, translator: Translator, size: Size, top_size: Size) -> None:
        super().__init__()
        self.pooling, self.activation = layer.pooling, layer.activation
        self.return_attention = layer.return_attention
        self.convolution = translator.convolution(layer.convolution, size)
        self.pooled_normalization, self.map_normalization = (
            None if normalization is None else translator.batch_norm(normalization)
            for normalization in (layer.pooled_normalization, layer.map_normalization)
        )
        self.is_whole = size[0] % top_size[0] == 0 and size[1] % top_size[1] == 0
        self.factors = (size[0] // top_size[0], size[1] // top_size[1])
        for name, axis in (("rows", 0), ("columns", 1)):
            matrix = torch.from_numpy(np.array(interpolation_matrix(size[axis], top_size[axis])))
            self.register_buffer(name, matrix)

    def forward(self, mid: torch.Tensor, top: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Weights the positions of `top` by the attention of `mid`."""
        pooled = []
        if "avg" in self.pooling:
            pooled.append(mid.mean(1, keepdim=True))
        if "max" in self.pooling:
            pooled.append(mid.amax(1, keepdim=True))
        maps = torch.cat(pooled, 1)
        attention = self.convolution(maps if self.pooled_normalization is None else self.pooled_normalization(maps))
        if self.map_normalization is not None:
            attention = self.map_normalization(attention)
            if self.activation == "linear":
                attention = attention * LINEAR_SLOPE + LINEAR_OFFSET
        attention = attention.sigmoid() if self.activation == "sigmoid" else attention
        attended = self._downsample(attention) * top
        return (attended, attention) if self.return_attention else attended

    def _downsample(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_whole:
            return x if self.factors == (1, 1) else F.avg_pool2d(x, self.factors)
        return self.rows.to(x.dtype) @ x @ self.columns.to(x.dtype).T


def _upsample(x: torch.Tensor, size: Size) -> torch.Tensor:
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _relate(relation: str, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Computes eq. 2 on `(batch, n, width)`, the dot product in the order with fewer multiply-accumulates."""
    if relation != "dot_product":
        query, key, value = (x[:, None] for x in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
    positions = key.shape[1]
    if pairwise_is_cheaper(positions, query.shape[2], value.shape[2]):
        return (query @ key.transpose(1, 2) / positions) @ value
    return query @ (key.transpose(1, 2) @ value / positions)
