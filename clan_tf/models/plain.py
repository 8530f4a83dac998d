"""The baseline: the finetuned backbone with one head."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from clan_tf.choices import Combination, ResizeMode
from clan_tf.models.arguments import as_dict, as_list, check_arguments, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.heads import branch_head


@keras.saving.register_keras_serializable(package="clan_tf")
class Plain(BranchClassifier):
    """A backbone with global average pooling and one dense layer: the baseline for comparisons with CLAN.

    It has a single branch, `top`, and `combined`, which equals it. `features` holds `backbone_top` (the map) and
    `logits_top`.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        head_batch_norm: whether the head normalises its pooled features over the batch.
        combination: accepted for a common interface; a single branch is its own combination.
        dropout: fraction of the head's inputs that is dropped in training.
        loss_weights: weight of the branch's loss; 1 if not given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of the backbone: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone or branch, or weights that can't be loaded.
        ValueError: if another argument is invalid.
    """

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        head_batch_norm: bool = False,
        combination: Combination = "logits",
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
            "head_batch_norm": head_batch_norm,
            "combination": combination,
            "dropout": dropout,
            "loss_weights": as_dict("loss_weights", loss_weights),
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
        }
        check_arguments(arguments)

        # Layers
        backbone_model = build_backbone(backbone, image_size, weights=weights)
        pool = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool_top")

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        top = backbone_model(preprocess(inputs, backbone_spec(backbone).preprocessing))["top"]
        features = {"backbone_top": top, "logits_top": branch_head(pool(top), classes, "top", dropout, head_batch_norm)}
        super().__init__(inputs, features, ("top",), arguments, **kwargs)

        # Config
        self.backbone_model = backbone_model
