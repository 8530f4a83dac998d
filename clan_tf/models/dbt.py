"""DBT-Net with one bilinear transformation, of the last map."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from clan_tf.choices import ResizeMode
from clan_tf.errors import UserError
from clan_tf.layers.group_bilinear import GroupBilinear, IdentityKernel
from clan_tf.layers.relation import Tensor
from clan_tf.models.arguments import as_dict, as_list, check_arguments, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.group_loss import group_loss
from clan_tf.models.heads import branch_head


@keras.saving.register_keras_serializable(package="clan_tf")
class DBT(BranchClassifier):
    """A backbone whose last map gets products of channels within groups added; one head on its means.

    It is DBT-Net with the transformation of the last map alone: those of the paper inside the backbone's blocks need
    weights that were trained with them on ImageNet. A 1x1 convolution, which starts as the identity, sorts the channels
    into groups; `clan-tf train` adds the loss `groups` of `group_loss`, times `group_loss_weight`, and Keras' `fit`
    doesn't. The products are batch-normalised by a gamma that starts at 0, so that the model starts as the plain
    backbone. It has a single branch, `top`. `features` holds `backbone_top`, `grouped`, `products`, `transformed_top`
    and `logits_top`.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        groups: number of groups, which divides the channels of the last map.
        group_loss_weight: weight of the loss over groups.
        dropout: fraction of the head's inputs that is dropped in training.
        loss_weights: weight of the branch's loss; 1 if not given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of the backbone: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone or branch, groups that don't divide its channels, or weights that can't be
            loaded.
        ValueError: if another argument is invalid.

    Reference:
        Zheng, Fu, Zha and Luo, Learning Deep Bilinear Transformation for Fine-grained Image Representation,
        NeurIPS 2019.
    """

    groups: int
    group_loss_weight: float

    HEAD_KIND = "group_bilinear"
    HEAD_ARGUMENTS = ("groups",)
    HEAD_LAYERS = ("grouping", "batch_norm_grouping", "batch_norm_products")
    PUBLISHED = "2,048 features with ResNet-50, and 4,194,304 weights of the grouping layer"
    LOSS_FEATURES = ("grouped",)
    LOSSES_OVER_PHOTOS = ("groups",)

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        groups: int = 32,
        group_loss_weight: float = 1e-4,
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
            "groups": groups,
            "group_loss_weight": group_loss_weight,
            "dropout": dropout,
            "loss_weights": as_dict("loss_weights", loss_weights),
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
        }
        check_arguments(arguments)

        # Layers
        spec = backbone_spec(backbone)
        backbone_model = build_backbone(backbone, image_size, weights=weights)
        channels = backbone_model.output["top"].shape[-1]
        _require_divisor(backbone, channels, groups)
        grouping = keras.layers.Conv2D(
            channels,
            1,
            use_bias=False,
            kernel_initializer=IdentityKernel(),
            data_format="channels_last",
            name="grouping",
        )
        sort = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="batch_norm_grouping")
        multiply = GroupBilinear(groups, name="products")
        normalize = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, gamma_initializer="zeros", name="batch_norm_products"
        )
        pool = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool_top")

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        top = backbone_model(preprocess(inputs, spec.preprocessing))["top"]
        grouped = keras.layers.ReLU(name="relu_grouping")(sort(grouping(top)))
        products = multiply(grouped)
        transformed = keras.layers.Add(name="transformed_top")([top, normalize(products)])
        features = {
            "backbone_top": top,
            "grouped": grouped,
            "products": products,
            "transformed_top": transformed,
            "logits_top": branch_head(pool(transformed), classes, "top", dropout),
        }
        super().__init__(inputs, features, ("top",), arguments, **kwargs)

        # Config
        self.backbone_model = backbone_model

    @property
    def own_loss_weights(self) -> dict[str, float]:
        """The loss over groups, unless its weight is 0."""
        return {"groups": self.group_loss_weight} if self.group_loss_weight else {}

    def own_losses(self, outputs: Mapping[str, Tensor], shares: Tensor) -> dict[str, Tensor]:
        """Computes the loss over the groups of all these photos, which each of them has as its value."""
        grouped = outputs["grouped"]
        return {"groups": ops.broadcast_to(group_loss(grouped, self.groups), ops.shape(grouped)[:1])}


def _require_divisor(backbone: str, channels: int, groups: int) -> None:
    if channels % groups:
        divisors = [str(each) for each in range(1, channels + 1) if channels % each == 0]
        raise UserError(
            f"model.dbt.groups: {groups} doesn't divide the {channels:,} channels of {backbone}'s last map. "
            f"Use one of {', '.join(divisors)}."
        )
