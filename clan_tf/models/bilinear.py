"""Bilinear pooling and its compact form on a backbone's last map."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from clan_tf.choices import ResizeMode
from clan_tf.layers.bilinear import BilinearPooling
from clan_tf.layers.relation import Tensor
from clan_tf.layers.tensor_sketch import CompactBilinearPooling
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier, branch_head, check_arguments

WIDEST = 512
"""Channels up to which bilinear pooling takes a map as it is, by default: those of the paper's VGG-16."""
REDUCED = 128
"""Channels to which it reduces a wider one."""


class BilinearClassifier(BranchClassifier):
    """A backbone, a vector of products of its last map's channels, and one dense layer; subclasses make the vector.

    It has a single branch, `top`, and `combined`, which equals it. `features` holds `backbone_top` (the map), `pooled`
    (the vector, of norm 1) and `logits_top`.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        base: layer or alias of the map that is pooled; `None` for the last convolution's, which is before the last
            pooling of a VGG.
        feature_scale: what the vector is multiplied by before the dense layer, which then learns as fast as with a
            learning rate that is larger by the square of it. The papers' learning rates for this layer are about 1.
        dropout: fraction of the vector that is dropped in training.
        loss_weights: weight of the branch's loss; 1 if not given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of the backbone: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone, layer or branch, or weights that can't be loaded.
        ValueError: if another argument is invalid.
    """

    base: str | None
    feature_scale: float

    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        base: str | None = None,
        feature_scale: float = 10.0,
        dropout: float = 0.0,
        loss_weights: Mapping[str, float] | None = None,
        class_names: Sequence[str] | None = None,
        resize_size: int | None = None,
        resize_mode: ResizeMode = "stretch",
        weights: str | None = None,
        name: str | None = None,
        **own: Any,
    ) -> None:
        arguments = {
            "backbone": backbone,
            "classes": classes,
            "image_size": image_size,
            "base": base,
            "feature_scale": feature_scale,
            "dropout": dropout,
            "loss_weights": dict(loss_weights or {}),
            "class_names": list(class_names) if class_names is not None else None,
            "resize_size": resize_size,
            "resize_mode": resize_mode,
            **own,
        }
        check_arguments(arguments)

        # Layers
        backbone_model = build_backbone(backbone, image_size, weights=weights, top=base or backbone_spec(backbone).last)

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        top = backbone_model(preprocess(inputs, backbone_spec(backbone).preprocessing))["top"]
        pooled = self.pool(top, **own)
        scaled = keras.layers.Rescaling(feature_scale, dtype="float32", name="feature_scale")(pooled)
        logits = branch_head(scaled, classes, "top", dropout)
        features = {"backbone_top": top, "pooled": pooled, "logits_top": logits}
        super().__init__(inputs, features, ("top",), arguments, name=name)

        # Config
        self.backbone_model = backbone_model

    @staticmethod
    def pool(top: Tensor, **own: Any) -> Tensor:
        """Makes the vector of the map, by the subclass's own arguments."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="clan_tf")
class BCNN(BilinearClassifier):
    """B-CNN with one network: the products of all pairs of channels are the features, 262,144 with VGG-16.

    Args:
        reduced_dim: channels to which a 1x1 convolution reduces the map first; `None` for none up to 512 channels, and
            128 above. It starts as an orthogonal matrix, which keeps lengths and angles as far as it can.
        arguments: those of `BilinearClassifier`.

    Reference:
        Lin, RoyChowdhury and Maji, Bilinear CNN Models for Fine-grained Visual Recognition, ICCV 2015.
    """

    PUBLISHED = "262,144 features with VGG-16"

    def __init__(self, *arguments: Any, reduced_dim: int | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, reduced_dim=reduced_dim, **keywords)

    @staticmethod
    def pool(top: Tensor, **own: Any) -> Tensor:
        """Pools the map, reduced first if it is wide."""
        reduced = own["reduced_dim"] or (REDUCED if top.shape[-1] > WIDEST else None)
        if reduced:
            top = keras.layers.Conv2D(
                reduced, 1, kernel_initializer="orthogonal", data_format="channels_last", name="reduction"
            )(top)
        return BilinearPooling(dtype="float32", name="bilinear_pooling")(top)


@keras.saving.register_keras_serializable(package="clan_tf")
class CBP(BilinearClassifier):
    """Compact bilinear pooling: `BCNN`'s features hashed into `sketch_dim` sums.

    Args:
        sketch_dim: number of features.
        sketch_seed: draws the hashes and signs.
        arguments: those of `BilinearClassifier`.

    Reference:
        Gao, Beijbom, Zhang and Darrell, Compact Bilinear Pooling, CVPR 2016.
    """

    PUBLISHED = "8,192 features"

    def __init__(self, *arguments: Any, sketch_dim: int = 8192, sketch_seed: int = 1, **keywords: Any) -> None:
        super().__init__(*arguments, sketch_dim=sketch_dim, sketch_seed=sketch_seed, **keywords)

    @staticmethod
    def pool(top: Tensor, **own: Any) -> Tensor:
        """Pools the map by the sketch."""
        return CompactBilinearPooling(
            own["sketch_dim"], own["sketch_seed"], dtype="float32", name="compact_bilinear_pooling"
        )(top)
