"""TASN: photos resampled by an attention of their own, and a network that learns from one that sees more detail."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from clan_tf.choices import ResizeMode
from clan_tf.layers.relation import Tensor
from clan_tf.layers.sampling import AttentionSampler
from clan_tf.layers.trilinear_attention import TrilinearAttention
from clan_tf.models.arguments import as_dict, as_list, check_arguments, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.heads import branch_head, mean_pool
from clan_tf.models.resampled import resampled_size

BRANCH_LOSS_WEIGHTS = {"attention": 1.0, "detail": 0.5, "structure": 0.5}


@keras.saving.register_keras_serializable(package="clan_tf")
class TASN(BranchClassifier):
    """The trilinear attention sampling network.

    A first backbone, up to a mid-level map, sees the whole photo; `TrilinearAttention` makes two attention maps of it.
    `AttentionSampler` makes two smaller photos by them: one of all channels' attention, which keeps the structure, and
    one of a single channel's, which shows a detail. A second backbone, the same for both, classifies them. Its
    batch norm normalises each kind by its own statistics in training, and averages them for both. The branches
    are `attention`, a head on the first backbone's map, `detail` and `structure`. The prediction is that of `structure`
    alone, and exports compute nothing else; the other branches teach it. `clan-tf train` adds two losses: `auxiliary`,
    the cross-entropies of one head for both resampled photos, and `distillation`, by which `structure` learns from
    `detail`; Keras' `fit` trains the branches' cross-entropies alone. `features` holds `backbone_mid_1` (the first
    backbone's map), `attention_structure`, `attention_detail`, `sampled_structure`, `sampled_detail`, `positions` (of
    the rows and columns of `sampled_structure`), `backbone_top` (the second backbone's map of it), `positions_detail`
    and `backbone_detail` (those of `sampled_detail`), `auxiliary_detail`, `auxiliary_structure` and the logits.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`, of both backbones.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        base: layer or alias of the map from which attention is made; `None` for the backbone's usual mid-level map.
        sampled_size: side of the resampled photos in pixels; `None` for half of `image_size`, down to a multiple of 32,
            but at least 96, or `image_size` if that is less.
        attention_scale: how sharp the attention is, `scale` of `TrilinearAttention`.
        auxiliary_weight: weight of the loss `auxiliary`.
        distillation_weight: weight of the loss `distillation`.
        distillation_temperature: what the logits are divided by in it.
        dropout: fraction of the heads' inputs that is dropped in training.
        loss_weights: weights of the branches' losses; 1 for `attention` and 0.5 for the others, where none is given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of both backbones: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone, layer or branch, a `sampled_size` that is larger than the photos, or weights
            that can't be loaded.
        ValueError: if another argument is invalid.

    Reference:
        Zheng, Fu, Zha and Luo, Looking for the Devil in the Details: Learning Trilinear Attention Sampling Network for
        Fine-grained Image Recognition, CVPR 2019.
    """

    base: str | None
    sampled_size: int | None
    auxiliary_weight: float
    distillation_weight: float
    distillation_temperature: float

    HEAD_KIND = "sampled"
    HEAD_ARGUMENTS = ("base",)
    STAGES = {"attention": ("mid_1",), "structure": ("top",), "detail": ("detail",)}
    WARPED = {"top": "positions", "detail": "positions_detail"}
    PUBLISHED = "224 x 224 pixels, resampled from 448 x 448, on ResNet-50"
    LOSS_FEATURES = ("auxiliary_detail", "auxiliary_structure")

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        base: str | None = None,
        sampled_size: int | None = None,
        attention_scale: float = 7.0,
        auxiliary_weight: float = 0.5,
        distillation_weight: float = 1.0,
        distillation_temperature: float = 10.0,
        dropout: float = 0.0,
        loss_weights: Mapping[str, float] | None = None,
        class_names: Sequence[str] | None = None,
        resize_size: int | None = None,
        resize_mode: ResizeMode = "stretch",
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "backbone": backbone,
            "classes": classes,
            "image_size": image_size,
            "base": base,
            "sampled_size": sampled_size,
            "attention_scale": attention_scale,
            "auxiliary_weight": auxiliary_weight,
            "distillation_weight": distillation_weight,
            "distillation_temperature": distillation_temperature,
            "dropout": dropout,
            "loss_weights": {**BRANCH_LOSS_WEIGHTS, **as_dict("loss_weights", loss_weights)},
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
        }
        check_arguments(arguments)
        size = resampled_size(image_size, sampled_size, "model.tasn.sampled_size")

        # Layers
        spec = backbone_spec(backbone)
        tapped = base or spec.mid[2][0]
        attention_model = build_backbone(
            backbone,
            image_size,
            weights=weights,
            top=tapped,
            top_key="model.tasn.base",
            model_name=f"{backbone}_attention",
        )
        size_key = "data.image_size" if sampled_size is None else "model.tasn.sampled_size"
        backbone_model = build_backbone(backbone, size, weights=weights, size_key=size_key)
        attend = TrilinearAttention(attention_scale, dtype="float32", name="trilinear_attention")
        kinds = ("structure", "detail")
        samplers = {name: AttentionSampler(size, dtype="float32", name=f"sample_{name}") for name in kinds}
        pools = {name: mean_pool(name) for name in ("attention", *kinds)}
        auxiliary = keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32", name="auxiliary")

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        mid = attention_model(preprocess(inputs, spec.preprocessing))["top"]
        attention = dict(zip(kinds, attend(mid), strict=True))
        features: dict[str, Tensor] = {"backbone_mid_1": mid}
        vectors = {"attention": pools["attention"](mid)}
        names = {"structure": ("positions", "backbone_top"), "detail": ("positions_detail", "backbone_detail")}
        for name, sampler in samplers.items():
            sampled, positions = sampler(inputs, attention[name])
            top = backbone_model(preprocess(sampled, spec.preprocessing))["top"]
            vectors[name] = pools[name](top)
            features |= {
                f"attention_{name}": attention[name],
                f"sampled_{name}": sampled,
                f"auxiliary_{name}": auxiliary(vectors[name]),
            }
            features |= dict(zip(names[name], (positions, top), strict=True))
        branches = tuple(BRANCH_LOSS_WEIGHTS)
        features |= {f"logits_{name}": branch_head(vectors[name], classes, name, dropout) for name in branches}
        weights_of_branches = {"attention": 0.0, "detail": 0.0, "structure": 1.0}
        super().__init__(inputs, features, branches, arguments, weights_of_branches, **kwargs)

        # Config
        self.backbone_model = backbone_model
        self.attention_model = attention_model
        self.sampled_size = size
        # No output is made of this layer: the model has it by this attribute alone.
        self.auxiliary = auxiliary

    @classmethod
    def head_arguments(cls, branch: str) -> tuple[str, ...]:
        """Returns `base` for the head on its map, and nothing for those on the second backbone's."""
        return cls.HEAD_ARGUMENTS if branch == "attention" else ()

    @property
    def other_heads(self) -> dict[str, keras.layers.Layer]:
        """The head that both resampled photos share."""
        return {"auxiliary": self.auxiliary}

    @property
    def backbones(self) -> tuple[keras.Model, ...]:
        """The one that classifies, and the one whose map is the attention's."""
        return (self.backbone_model, self.attention_model)

    def calls_in_training(self, layer: keras.layers.Layer) -> int:
        """Returns 2 for the backbone that sees both resampled photos."""
        return 2 if layer is self.backbone_model else 1

    @property
    def own_loss_weights(self) -> dict[str, float]:
        """The losses `auxiliary` and `distillation`."""
        return {"auxiliary": self.auxiliary_weight, "distillation": self.distillation_weight}

    def own_losses(self, outputs: Mapping[str, Tensor], shares: Tensor) -> dict[str, Tensor]:
        """Computes both losses, each photo's on its own."""
        auxiliary = sum(_cross_entropy(outputs[name], shares) for name in self.LOSS_FEATURES)
        teacher = ops.softmax(ops.stop_gradient(outputs["detail"]) / self.distillation_temperature, axis=-1)
        student = outputs["structure"] / self.distillation_temperature
        return {"auxiliary": auxiliary, "distillation": _cross_entropy(student, teacher)}


def _cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    return -ops.sum(shares * ops.log_softmax(logits, axis=-1), axis=-1)
