"""The Cross-layer Attention Network."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras

from clan_tf.choices import Combination, MidPooling, ResizeMode
from clan_tf.errors import UserError
from clan_tf.layers import CrossLayerContextAttention, CrossLayerSpatialAttention, NonLocalBlock
from clan_tf.layers.relation import Relation, Tensor
from clan_tf.layers.spatial_attention import SpatialActivation, SpatialPooling
from clan_tf.models.arguments import as_dict, as_list, check_arguments, check_choice, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.heads import branch_head

MidRefinement = Literal["gap", "non_local", "clca"]


@keras.saving.register_keras_serializable(package="clan_tf")
class CLAN(BranchClassifier):
    """Cross-layer Attention Network: mid-level maps and the top-level map of a backbone refine each other.

    Branches: `mid_1` … `mid_{N-1}` on the refined mid-level maps (shallow to deep), `top` on the top-level map and,
    with spatial attention, `refined_top` on the top-level map weighted by each mid-level map's attention (eqs. 9-11).
    Each consists of global pooling, batch normalisation and its own dense layer.

    `features` holds `backbone_mid_S` and `backbone_top` (the maps), `refined_mid_S` (eq. 4), `attention_mid_S`
    `(batch, height, width, 1)` (eq. 8), `attended_mid_S` (eq. 9), `logits_BRANCH` and the outputs.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        mid: mid-level layers or their aliases, from shallow to deep; `None` for the backbone's own at `scales`.
        scales: `N`, the number of maps, if `mid` is `None`.
        mid_refinement: what refines the mid-level maps: `"clca"`, `"non_local"`, or `"gap"` for nothing (Table 2).
        relation: metric of the refinement (eqs. 5-7): `"gaussian"`, `"embedded_gaussian"` or `"dot_product"`.
        embed_dim: `C_int`; `None` for half the channels of each mid-level map.
        spatial_attention: whether there is cross-layer spatial attention, and with it the branch `refined_top`.
        spatial_pooling: pooling over the channels in eq. 8: `"avg"`, `"max"` or `"avg_max"` (Table 3).
        spatial_activation: `"sigmoid"` or `"linear"`; eqs. 8 and 9 as printed have the latter, without batch norm.
        spatial_kernel_size: side of the kernel `K` of eq. 8.
        spatial_batch_norm: whether the pooled maps of eq. 8 are normalised, and the map before its activation; `False`
            is eq. 8 as printed.
        mid_pooling: pooling over the positions of the refined mid-level maps: `"max"`, or `"avg"` as in the paper.
        head_batch_norm: whether each head normalises its pooled features over the batch; `False` is the paper's.
        combination: what `combined` averages over the branches: `"logits"` or `"probabilities"`.
        dropout: fraction of each head's inputs that is dropped in training.
        loss_weights: weight of each branch's loss (eqs. 12-14); 1 if not given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; it is saved with the model,
            so that all its users prepare photos alike. `None` for `image_size`.
        resize_mode: whether photos are stretched to a square of `resize_size` (`"stretch"`), or keep their aspect ratio
            with a shorter side of `resize_size` (`"keep_aspect"`).
        weights: weights of the backbone: `"imagenet"`, `None`, or a path. Not part of the saved config, so that loading
            a model never downloads anything.

    Raises:
        UserError: for an unknown backbone, layer or branch, or weights that can't be loaded.
        ValueError: if another argument is invalid.

    Reference:
        Huang, Wang and Yang, Cross-layer Attention Network for Fine-grained Visual Categorization.
    """

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        mid: Sequence[str] | None = None,
        scales: int = 2,
        mid_refinement: MidRefinement = "clca",
        relation: Relation = "dot_product",
        embed_dim: int | None = None,
        spatial_attention: bool = True,
        spatial_pooling: SpatialPooling = "avg_max",
        spatial_activation: SpatialActivation = "sigmoid",
        spatial_kernel_size: int = 3,
        spatial_batch_norm: bool = True,
        mid_pooling: MidPooling = "max",
        head_batch_norm: bool = True,
        combination: Combination = "logits",
        dropout: float = 0.0,
        loss_weights: Mapping[str, float] | None = None,
        class_names: Sequence[str] | None = None,
        resize_size: int | None = None,
        resize_mode: ResizeMode = "stretch",
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        mid = tuple(as_list("mid", mid, "layers") or ()) if mid is not None else default_mid(backbone, scales)
        arguments = {
            "backbone": backbone,
            "classes": classes,
            "image_size": image_size,
            "mid": list(mid),
            "mid_refinement": mid_refinement,
            "relation": relation,
            "embed_dim": embed_dim,
            "spatial_attention": spatial_attention,
            "spatial_pooling": spatial_pooling,
            "spatial_activation": spatial_activation,
            "spatial_kernel_size": spatial_kernel_size,
            "spatial_batch_norm": spatial_batch_norm,
            "mid_pooling": mid_pooling,
            "head_batch_norm": head_batch_norm,
            "combination": combination,
            "dropout": dropout,
            "loss_weights": as_dict("loss_weights", loss_weights),
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
        }
        check_arguments(arguments)
        if not mid:
            raise ValueError(f"`mid` must name at least one layer. Received: mid={mid!r}")

        # Layers
        backbone_model = build_backbone(backbone, image_size, mid, weights)
        scale_names = [f"mid_{index}" for index in range(1, len(mid) + 1)]
        refinements = _refinement_layers(mid_refinement, relation, embed_dim, scale_names)
        attentions = {
            name: CrossLayerSpatialAttention(
                pooling=spatial_pooling,
                activation=spatial_activation,
                kernel_size=spatial_kernel_size,
                batch_norm=spatial_batch_norm,
                return_attention=True,
                name=f"clsa_{name}",
            )
            for name in scale_names
            if spatial_attention
        }

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        maps = backbone_model(preprocess(inputs, backbone_spec(backbone).preprocessing))
        features = {f"backbone_{name}": tensor for name, tensor in maps.items()}
        top = maps["top"]
        pooled = {}
        for name in scale_names:
            features[f"refined_{name}"] = _refine(refinements.get(name), maps[name], top)  # eq. 4
            pooled[name] = _pool(features[f"refined_{name}"], name, mid_pooling)
        pooled["top"] = _pool(top, "top")
        for name, attention in attentions.items():
            attended, attention_map = attention(features[f"refined_{name}"], top)  # eq. 10
            features |= {f"attended_{name}": attended, f"attention_{name}": attention_map}
        if attentions:
            # Pooling and concatenation (eq. 11) commute, so the wide map is never built.
            vectors = [_pool(features[f"attended_{name}"], f"attended_{name}") for name in scale_names]
            pooled["refined_top"] = _concatenate(vectors)
        features |= {
            f"logits_{branch}": branch_head(x, classes, branch, dropout, head_batch_norm)
            for branch, x in pooled.items()
        }
        super().__init__(inputs, features, tuple(pooled), arguments, **kwargs)

        # Config
        self.scales = len(mid) + 1
        self.backbone_model = backbone_model
        self.refinements = refinements
        self.attentions = attentions


def default_mid(backbone: str, scales: int) -> tuple[str, ...]:
    """Returns the mid-level aliases of a backbone at 2 or 3 scales; raises a `UserError` for other numbers."""
    defaults = backbone_spec(backbone).mid
    if scales not in defaults:
        raise UserError(
            f"model.scales: {backbone} has default mid-level maps for {' and '.join(map(str, defaults))} scales, "
            f"not for {scales}. Name the layers: model.mid."
        )
    return tuple(defaults[scales])


def _refinement_layers(
    kind: MidRefinement, relation: Relation, embed_dim: int | None, names: Sequence[str]
) -> dict[str, NonLocalBlock]:
    """Makes the layer that refines each mid-level map; none for `"gap"`."""
    check_choice("mid_refinement", kind, MidRefinement)
    if kind == "gap":
        return {}
    layer = CrossLayerContextAttention if kind == "clca" else NonLocalBlock
    return {name: layer(relation, embed_dim, name=f"{kind}_{name}") for name in names}


def _refine(layer: NonLocalBlock | None, mid: Tensor, top: Tensor) -> Tensor:
    if layer is None:
        return mid
    return layer(mid, top) if isinstance(layer, CrossLayerContextAttention) else layer(mid)


def _pool(x: Tensor, name: str, pooling: MidPooling = "avg") -> Tensor:
    layer = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
    return layer(data_format="channels_last", name=f"pool_{name}")(x)


def _concatenate(vectors: list[Tensor]) -> Tensor:
    return keras.layers.Concatenate(name="pool_refined_top")(vectors) if len(vectors) > 1 else vectors[0]
