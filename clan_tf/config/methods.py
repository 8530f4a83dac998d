"""The sections of `model` that belong to one method each, and which method takes which keys."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from clan_tf import limits
from clan_tf.config.section import Fraction, Name, Section, up_to

Architecture = Literal["clan", "plain", "bcnn", "cbp", "lrbp", "dfb", "mamc", "dbt", "tasn", "ra_cnn", "ma_cnn"]
"""Values of `model.architecture`."""


class BCNNConfig(Section):
    """Bilinear pooling, the settings of `architecture: bcnn`."""

    base: Name | None = None
    """Layer or alias of the map that is pooled; by default the last convolution's."""
    reduced_dim: Annotated[int, up_to(limits.REDUCED_DIM)] | None = None
    """Channels to which a 1x1 convolution reduces the map before its pairs of channels are multiplied. By default it
    stays as it is up to 512 channels, and is reduced to 128 above."""
    feature_scale: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 20.0
    """What the features, of norm 1, are multiplied by before the head. The head then learns as fast as with a learning
    rate that is larger by the square of it."""


class CBPConfig(Section):
    """Compact bilinear pooling, the settings of `architecture: cbp`."""

    base: Name | None = None
    """Layer or alias of the map that is pooled; by default the last convolution's."""
    reduced_dim: Annotated[int, up_to(limits.REDUCED_DIM)] | None = None
    """Channels to which a 1x1 convolution reduces the map first. By default it stays as it is up to 512 channels, and
    is reduced to 512 above."""
    sketch_dim: Annotated[int, up_to(limits.SKETCH_DIM)] = 8192
    """Number of features."""
    sketch_seed: Annotated[int, up_to(limits.SEED)] = 1
    """Draws the sketch's hashes and signs, which aren't trained."""
    feature_scale: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 20.0
    """As in `bcnn`."""


class LRBPConfig(Section):
    """Low-rank bilinear pooling, the settings of `architecture: lrbp`."""

    base: Name | None = None
    """Layer or alias of the map that is pooled; by default the last convolution's."""
    projection_dim: Annotated[int, up_to(limits.REDUCED_DIM)] = 100
    """Channels to which a projection that all classes share reduces the map."""
    projection_init: Literal["pca", "random"] = "pca"
    """What the projection starts as: the principal components of the training photos' features, or an orthogonal
    matrix."""
    rank: Annotated[int, Field(ge=2, le=limits.RANK, multiple_of=2)] = 8
    """Rank of each class's matrix, an even number."""
    sqrt_features: bool = True
    """Whether the map's signed square root is taken first."""
    feature_scale: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 10.0
    """Root mean square of the lengths of the map's vectors before the projection; the head learns the faster the larger
    it is."""


class DFBConfig(Section):
    """A bank of filters, the settings of `architecture: dfb`."""

    base: Name | None = None
    """Layer or alias of the map that the filters look at; by default the backbone's usual mid-level map, or the
    last one of a VGG's fourth block."""
    filters_per_class: Annotated[int, up_to(limits.FILTERS)] = 10
    """Number of filters of each class."""
    filter_activation: Literal["bn_relu", "none"] = "bn_relu"
    """What follows the filters: batch normalisation and a ReLU, or nothing."""
    filter_init: Literal["kmeans", "random"] = "kmeans"
    """What the filters start as: centres of clusters of what is at each class's strongest positions in the training
    photos, or any directions."""
    side_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 0.1
    """Weight of the branch `side`, the mean of each class's own filters, in the loss and in the combination."""


class MAMCConfig(Section):
    """Several attentions over channels, the settings of `architecture: mamc`."""

    attentions: Annotated[int, up_to(limits.ATTENTIONS)] = 2
    """Number of attentions."""
    feature_dim: Annotated[int, up_to(limits.EMBED_DIM)] = 1024
    """Length of each attention's embedding."""
    reduction: Annotated[int, up_to(limits.REDUCED_DIM)] = 16
    """How many times fewer numbers than channels an attention's gate has inside."""
    embedding_grid: Annotated[int, up_to(limits.EMBEDDING_GRID)] = 7
    """Side of the grid to which each attention's map is averaged before its embedding, whose layer has
    `embedding_grid`² · channels · `feature_dim` weights."""
    pair_loss_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 0.5
    """Weight of the loss over pairs of photos."""
    normalize_features: bool = True
    """Whether the loss over pairs divides the embeddings by their norms."""


class DBTConfig(Section):
    """Products of channels within groups, the settings of `architecture: dbt`."""

    groups: Annotated[int, up_to(limits.GROUPS)] = 32
    """Number of groups, which divides the channels of the backbone's last map."""
    group_loss_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 1e-4
    """Weight of the loss that makes channels alike within their groups and unlike between them."""


class TASNConfig(Section):
    """Photos resampled by attention, the settings of `architecture: tasn`."""

    base: Name | None = None
    """Layer or alias of the map from which attention is made; by default the backbone's usual mid-level map."""
    sampled_size: Annotated[int, Field(ge=16, le=limits.IMAGE_SIZE)] | None = None
    """Side of the resampled photos in pixels; by default half of `data.image_size`, down to a multiple of 32, but
    at least 96, or `data.image_size` if that is less."""
    attention_scale: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 7.0
    """How sharp the attention is."""
    auxiliary_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 0.5
    """Weight of the loss of a head that both resampled photos share."""
    distillation_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 1.0
    """Weight of the loss by which the branch `structure` learns from `detail`."""
    distillation_temperature: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 10.0
    """What the logits are divided by in that loss."""


class RACNNConfig(Section):
    """Ever smaller squares of a photo, the settings of `architecture: ra_cnn`."""

    crops: Annotated[int, up_to(limits.CROPS)] = 2
    """Number of squares, one in the other."""
    crop_size: Annotated[int, Field(ge=16, le=limits.IMAGE_SIZE)] | None = None
    """Side of the enlarged squares in pixels; by default half of `data.image_size`, down to a multiple of 32, but
    at least 96, or `data.image_size` if that is less."""
    proposal_grid: Annotated[int, up_to(limits.EMBEDDING_GRID)] = 7
    """Side of the grid to which a map is averaged before a square is proposed from it, by a layer with
    `proposal_grid`² · channels · `proposal_units` weights."""
    proposal_units: Annotated[int, up_to(limits.EMBED_DIM)] = 256
    """Length of the layer inside a proposal; the paper has 1024."""
    mask_slope: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 10.0
    """How steep a square's edges are, for each pixel of the photo."""
    square_init: Literal["peaks", "middle"] = "peaks"
    """Where the squares, of half the side, start: around the peaks of the maps, or in the middle."""
    ranking_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 1.0
    """Weight of the loss by which each square is to make the network surer of the true class."""
    ranking_margin: Fraction = 0.05
    """By how much its probability is to rise."""
    attention_every: Annotated[int, Field(ge=2, le=limits.EPOCHS)] = 4
    """The last of this many epochs trains the squares' proposals alone, the others all else. With more than there are
    epochs, the squares stay where they start."""
    attention_rate: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 3e-4
    """What the learning rate of the squares' proposals is multiplied by."""
    feature_scale: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 20.0
    """What the pooled maps, of norm 1, are multiplied by before the head of `fused`."""


class MACNNConfig(Section):
    """Attention to parts, the settings of `architecture: ma_cnn`."""

    base: Name | None = None
    """Layer or alias of the map that attention is paid to; by default the last convolution's."""
    parts: Annotated[int, Field(ge=2, le=limits.PHOTO_PARTS)] = 4
    """Number of parts."""
    normalize_maps: bool = True
    """Whether what the attention maps are made of is normalised over the positions; the published formula isn't."""
    group_init: Literal["kmeans", "random"] = "kmeans"
    """What the grouping of channels starts as: clusters of those that peak at the same places in the train photos, or
    any."""
    compactness_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 1.0
    """Weight of the loss that makes each attention map compact."""
    diversity_weight: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)] = 1.0
    """Weight of the loss that makes the attention maps unlike each other."""
    attention_every: Annotated[int, Field(ge=2, le=limits.EPOCHS)] = 4
    """The last of this many epochs trains the grouping of channels alone, the others all else. With more than there are
    epochs, the grouping stays as it starts."""
    attention_rate: Annotated[float, Field(gt=0, le=limits.FEATURE_SCALE)] = 30.0
    """What the learning rate of the grouping is multiplied by."""


OWN_KEYS: Mapping[str, tuple[str, ...]] = {
    "clan": (
        "scales",
        "mid",
        "mid_refinement",
        "relation",
        "embed_dim",
        "spatial_attention",
        "spatial_pooling",
        "spatial_activation",
        "spatial_kernel_size",
        "spatial_batch_norm",
        "mid_pooling",
        "head_batch_norm",
        "combination",
    ),
    "plain": ("head_batch_norm",),
    "bcnn": ("bcnn",),
    "cbp": ("cbp",),
    "lrbp": ("lrbp",),
    "dfb": ("combination", "dfb"),
    "mamc": ("mamc",),
    "dbt": ("dbt",),
    "tasn": ("tasn",),
    "ra_cnn": ("ra_cnn",),
    "ma_cnn": ("ma_cnn",),
}
"""Keys of `model` that an architecture takes beside those that all take."""


METHODS = tuple(name for name, keys in OWN_KEYS.items() if name in keys)
"""The architectures whose settings are a section of their own."""


def ignored_keys(architecture: str) -> tuple[str, ...]:
    """Returns the keys of `model` that an architecture has no use for; none if there is no such architecture."""
    own = OWN_KEYS.get(architecture)
    every = dict.fromkeys(key for keys in OWN_KEYS.values() for key in keys)
    return () if own is None else tuple(key for key in every if key not in own)


def architectures_with(key: str) -> list[str]:
    """Returns the architectures that take a key."""
    return [name for name, keys in OWN_KEYS.items() if key in keys]


def drop_ignored(model: dict[str, Any], architecture: Any) -> list[str]:
    """Removes from the values of a `model` section what an architecture ignores; returns the names of these keys.

    Keys of no value, `null` or an empty section, aren't among the names.
    """
    dropped = {key: model.pop(key) for key in ignored_keys(str(architecture)) if key in model}
    return [key for key, value in dropped.items() if value not in (None, {})]
