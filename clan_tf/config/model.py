"""The `model` section of an experiment: the network."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from clan_tf import limits
from clan_tf.choices import Combination, MidPooling
from clan_tf.config.methods import (
    Architecture,
    BCNNConfig,
    CBPConfig,
    DBTConfig,
    DFBConfig,
    LRBPConfig,
    MACNNConfig,
    MAMCConfig,
    RACNNConfig,
    TASNConfig,
    architectures_with,
    ignored_keys,
)
from clan_tf.config.section import Fraction, Name, Section, Text, require_utf8, up_to
from clan_tf.errors import shown


class ModelConfig(Section):
    """The network; keys have the names of the arguments of `clan_tf.CLAN`."""

    architecture: Architecture = "clan"
    """`clan`; `plain`, the backbone with global average pooling and one dense layer; `bcnn`, bilinear pooling; `cbp`,
    compact, or `lrbp`, low-rank bilinear pooling; `dfb`, a bank of filters; `mamc`, several attentions over channels;
    `dbt`, products of channels within groups; `tasn`, photos resampled by attention; `ra_cnn`, ever smaller squares;
    `ma_cnn`, attention to parts. A key that an architecture ignores is refused."""
    backbone: Name = "resnet50"
    """One of `vgg16`, `vgg19`, `vgg16_bn`, `resnet50`, `resnet101`, `resnet152`, `resnet50_v2`, `resnet101_v2`,
    `resnet152_v2`, `densenet121`, `densenet169`, `densenet201`, `mobilenet`, `mobilenet_v2`, `mobilenet_v3_small`,
    `mobilenet_v3_large`, `efficientnet_lite0`, `efficientnet_lite1`, `efficientnet_lite2`, `efficientnet_v2_b0`,
    `efficientnet_v2_b1`, `efficientnet_v2_b2`, `efficientnet_v2_b3`, `efficientnet_v2_s`, `efficientnet_v2_m`,
    `efficientnet_v2_l`, `convnext_tiny`, `convnext_small`, `convnext_base`, `convnext_large` and `tiny`."""
    weights: Text | None = None
    """Initial weights of the backbone: `imagenet` (from an installed package, or downloaded by Keras), the path of a
    `.weights.h5`, `.h5` or `.keras` file, or `none` for random ones."""
    init: Text | None = None
    """Trained model to start from in place of `weights`: a run directory or a `.keras` file of clan-tf with the same
    backbone, whatever its classes and photo size. Layers of the same name and shape are copied; in the heads the
    classes of the same name, if their features are pooled and normalised alike."""
    scales: Annotated[int, Field(ge=2, le=limits.TAPS + 1)] | None = None
    """Number of feature maps, 2 or 3: the top-level map and the backbone's usual mid-level maps. 2 by default."""
    mid: Annotated[list[Name], Field(min_length=1, max_length=limits.TAPS)] | None = None
    """Mid-level layers, from shallow to deep, in place of `scales`."""
    mid_refinement: Literal["gap", "non_local", "clca"] = "clca"
    """What refines the mid-level maps before they are pooled: cross-layer context attention, a non-local block, or
    nothing (`gap`)."""
    relation: Literal["gaussian", "embedded_gaussian", "dot_product"] = "dot_product"
    """Metric by which positions are related (eqs. 5-7)."""
    embed_dim: Annotated[int, up_to(limits.EMBED_DIM)] | None = None
    """Channels of the embeddings, `C_int`; half those of each mid-level map by default."""
    spatial_attention: bool = True
    """Whether there is cross-layer spatial attention (CLSA), and with it the branch `refined_top`."""
    spatial_pooling: Literal["avg", "max", "avg_max"] = "avg_max"
    """Pooling over the channels in the spatial attention (eq. 8)."""
    spatial_activation: Literal["sigmoid", "linear"] = "sigmoid"
    """Activation of the attention map; eq. 8 as printed is `linear` with `spatial_batch_norm: false`."""
    spatial_kernel_size: Annotated[int, up_to(limits.KERNEL_SIZE)] = 3
    """Side of the convolution's kernel in the spatial attention (eq. 8)."""
    spatial_batch_norm: bool = True
    """Whether the pooled maps and, as in CBAM, the attention map before its activation are normalised; otherwise, which
    is eq. 8 as printed, large activations can close or open it for good."""
    mid_pooling: MidPooling = "max"
    """Pooling over the positions of the refined mid-level maps, before their heads; `avg` is the paper's."""
    head_batch_norm: bool | None = None
    """Whether each head normalises its pooled features over the batch; by default `clan` does and `plain` doesn't. The
    paper's network doesn't."""
    combination: Combination = "logits"
    """What is averaged over the branches to get the combined prediction."""
    dropout: Fraction = 0.0
    """Share of each head's inputs that is dropped in training."""
    loss_weights: dict[Name, Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)]] = {}
    """Weight of each branch's loss (eqs. 12-14); 1 where none is given."""

    bcnn: BCNNConfig = BCNNConfig()
    """The settings of `bcnn`."""
    cbp: CBPConfig = CBPConfig()
    """The settings of `cbp`."""
    lrbp: LRBPConfig = LRBPConfig()
    """The settings of `lrbp`."""
    dfb: DFBConfig = DFBConfig()
    """The settings of `dfb`."""
    mamc: MAMCConfig = MAMCConfig()
    """The settings of `mamc`."""
    dbt: DBTConfig = DBTConfig()
    """The settings of `dbt`."""
    tasn: TASNConfig = TASNConfig()
    """The settings of `tasn`."""
    ra_cnn: RACNNConfig = RACNNConfig()
    """The settings of `ra_cnn`."""
    ma_cnn: MACNNConfig = MACNNConfig()
    """The settings of `ma_cnn`."""

    @field_validator("weights")
    @classmethod
    def _resolve_weights(cls, weights: str | None) -> str | None:
        if weights in (None, "none"):
            return None
        return weights if weights == "imagenet" else _absolute(weights)

    @field_validator("init")
    @classmethod
    def _resolve_init(cls, init: str | None) -> str | None:
        return None if init is None else _absolute(init)

    @property
    def heads_are_normalised(self) -> bool:
        """Whether the heads normalise their features: `head_batch_norm` with its default resolved."""
        return self.architecture == "clan" if self.head_batch_norm is None else self.head_batch_norm

    @property
    def compares_pairs(self) -> bool:
        """Whether there is a loss over pairs of photos."""
        return self.architecture == "mamc" and self.mamc.pair_loss_weight > 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        ignored = list(self._ignored())
        if ignored:
            raise ValueError(
                f"architecture is {self.architecture}, which has no use for {', '.join(ignored)}. "
                f"Leave {'it' if len(ignored) == 1 else 'them'} out, or set the architecture"
            )
        if self.mid is not None and self.scales is not None and self.scales != len(self.mid) + 1:
            raise ValueError(
                f"scales counts the layers in mid and the top-level map: {len(self.mid)} layers make "
                f"{len(self.mid) + 1} scales; received {self.scales}. Leave scales out"
            )
        return self

    def _ignored(self) -> Iterator[str]:
        """Yields the keys that the architecture ignores and that have other values than their defaults, in words."""
        for key in ignored_keys(self.architecture):
            value, usual = getattr(self, key), type(self).model_fields[key].default
            if value == usual:
                continue
            names = {key: value}
            if isinstance(value, Section):
                names = {f"{key}.{name}": each for name, each in value.model_dump(exclude_defaults=True).items()}
            yield from (
                f"{name}={shown(each)} (of {', '.join(architectures_with(key))})" for name, each in names.items()
            )


def _absolute(path: str) -> str:
    return require_utf8(str(Path(os.path.expanduser(path)).absolute()))
