"""CLAN's layers, written in `keras.ops` only: they work in any Keras model and on every Keras backend."""

from clan_tf.layers.bilinear import BilinearPooling
from clan_tf.layers.context_attention import CrossLayerContextAttention
from clan_tf.layers.excitation import MeanAttention, OneSqueezeMultiExcitation
from clan_tf.layers.filter_bank import ClassAverage, FilterAttention
from clan_tf.layers.group_bilinear import GroupBilinear
from clan_tf.layers.low_rank import LowRankBilinear, PowerNormalization
from clan_tf.layers.non_local import NonLocalBlock
from clan_tf.layers.part_attention import PartAttention
from clan_tf.layers.sampling import AttentionSampler
from clan_tf.layers.spatial_attention import CrossLayerSpatialAttention
from clan_tf.layers.squares import SquareCrop, SquareMap, SquareProposal
from clan_tf.layers.tensor_sketch import CompactBilinearPooling
from clan_tf.layers.trilinear_attention import TrilinearAttention
from clan_tf.layers.weighted_average import WeightedAverage

__all__ = [
    "AttentionSampler",
    "BilinearPooling",
    "ClassAverage",
    "CompactBilinearPooling",
    "CrossLayerContextAttention",
    "CrossLayerSpatialAttention",
    "FilterAttention",
    "GroupBilinear",
    "LowRankBilinear",
    "MeanAttention",
    "NonLocalBlock",
    "OneSqueezeMultiExcitation",
    "PartAttention",
    "PowerNormalization",
    "SquareCrop",
    "SquareMap",
    "SquareProposal",
    "TrilinearAttention",
    "WeightedAverage",
]
