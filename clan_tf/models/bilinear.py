"""Bilinear pooling of a backbone's last map, its compact and its low-rank form."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from clan_tf.choices import ResizeMode
from clan_tf.errors import CheckFailed
from clan_tf.layers.bilinear import BilinearPooling
from clan_tf.layers.low_rank import LowRankBilinear, PowerNormalization
from clan_tf.layers.relation import Tensor
from clan_tf.layers.tensor_sketch import CompactBilinearPooling
from clan_tf.models.arguments import as_dict, as_list, check_arguments, check_choice, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import OF_ALL, BranchClassifier, argument_names
from clan_tf.models.heads import branch_head

WIDEST = 512
"""Channels up to which a map is pooled as it is, by default: those of the papers' VGG-16."""
REDUCED = 128
"""Channels to which bilinear pooling reduces a wider one; compact bilinear pooling reduces it to `WIDEST`."""

SKETCH_DIM, PROJECTION_DIM, RANK = 8192, 100, 8
"""The papers' sizes."""
ProjectionInit = Literal["pca", "random"]


class BilinearClassifier(BranchClassifier):
    """A backbone, and one head on the products of its last map's channels; subclasses make the head.

    It has a single branch, `top`, and `combined`, which equals it. `features` holds `backbone_top` (the map), what the
    head makes of it, and `logits_top`.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        base: layer or alias of the map that is pooled; `None` for the last convolution's, which is before the last
            pooling of a VGG.
        feature_scale: what features of norm 1 are multiplied by before the last layer, which then learns as fast as
            with a learning rate that is larger by the square of it. The papers' rates for this layer are about 1. 10 by
            default for `LRBP`, whose score is quadratic in its weights.
        dropout: fraction of the last layer's inputs that is dropped in training.
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

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        base: str | None = None,
        feature_scale: float = 20.0,
        dropout: float = 0.0,
        loss_weights: Mapping[str, float] | None = None,
        class_names: Sequence[str] | None = None,
        resize_size: int | None = None,
        resize_mode: ResizeMode = "stretch",
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        own = {name: kwargs.pop(name) for name in argument_names(type(self)) if name in kwargs and name not in OF_ALL}
        arguments = {
            "backbone": backbone,
            "classes": classes,
            "image_size": image_size,
            "base": base,
            "feature_scale": feature_scale,
            "dropout": dropout,
            "loss_weights": as_dict("loss_weights", loss_weights),
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
            **own,
        }
        check_arguments(arguments)

        # Layers
        top_layer = base or backbone_spec(backbone).last
        key = f"model.{type(self).__name__.lower()}.base"
        backbone_model = build_backbone(backbone, image_size, weights=weights, top=top_layer, top_key=key)

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        top = backbone_model(preprocess(inputs, backbone_spec(backbone).preprocessing))["top"]
        features = {"backbone_top": top, **self.head(top, classes, feature_scale, dropout, **own)}
        super().__init__(inputs, features, ("top",), arguments, **kwargs)

        # Config
        self.backbone_model = backbone_model

    @staticmethod
    def head(top: Tensor, classes: int, feature_scale: float, dropout: float, **own: Any) -> dict[str, Tensor]:
        """Makes the features of the map, by the subclass's own arguments; `logits_top` is the last."""
        raise NotImplementedError


def _reduced(top: Tensor, channels: int | None) -> Tensor:
    """Reduces a map to fewer channels, unless there are none to reduce it to."""
    if channels is None:
        return top
    return keras.layers.Conv2D(
        channels, 1, kernel_initializer="orthogonal", data_format="channels_last", name="reduction"
    )(top)


def vector_head(pooled: Tensor, classes: int, feature_scale: float, dropout: float) -> dict[str, Tensor]:
    """Makes the features of a vector of norm 1: `pooled`, the vector, and `logits_top`."""
    scaled = keras.layers.Rescaling(feature_scale, dtype="float32", name="feature_scale")(pooled)
    return {"pooled": pooled, "logits_top": branch_head(scaled, classes, "top", dropout)}


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

    HEAD_KIND = "bilinear"
    HEAD_ARGUMENTS = ("base", "feature_scale", "reduced_dim")
    HEAD_LAYERS = ("reduction",)
    PUBLISHED = "262,144 features with VGG-16"

    def __init__(self, *arguments: Any, reduced_dim: int | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, reduced_dim=reduced_dim, **keywords)

    @classmethod
    def head_inputs(cls, settings: Mapping[str, Any], channels: int) -> int:
        """Returns the square of the channels that are pooled, or less."""
        return (settings.get("reduced_dim") or min(channels, REDUCED)) ** 2

    @staticmethod
    def head(top: Tensor, classes: int, feature_scale: float, dropout: float, **own: Any) -> dict[str, Tensor]:
        """Pools the map, reduced first if it is wide."""
        reduced = own["reduced_dim"] or (REDUCED if top.shape[-1] > WIDEST else None)
        pooled = BilinearPooling(dtype="float32", name="bilinear_pooling")(_reduced(top, reduced))
        return vector_head(pooled, classes, feature_scale, dropout)


@keras.saving.register_keras_serializable(package="clan_tf")
class CBP(BilinearClassifier):
    """Compact bilinear pooling: `BCNN`'s features hashed into `sketch_dim` sums.

    Args:
        reduced_dim: channels to which a 1x1 convolution reduces the map first; `None` for none up to 512 channels, and
            512 above.
        sketch_dim: number of features.
        sketch_seed: draws the hashes and signs.
        arguments: those of `BilinearClassifier`.

    Reference:
        Gao, Beijbom, Zhang and Darrell, Compact Bilinear Pooling, CVPR 2016.
    """

    HEAD_KIND = "compact_bilinear"
    HEAD_ARGUMENTS = ("base", "feature_scale", "reduced_dim", "sketch_dim", "sketch_seed")
    HEAD_LAYERS = ("reduction",)
    PUBLISHED = "8,192 features"

    def __init__(
        self,
        *arguments: Any,
        reduced_dim: int | None = None,
        sketch_dim: int = SKETCH_DIM,
        sketch_seed: int = 1,
        **keywords: Any,
    ) -> None:
        super().__init__(
            *arguments,
            reduced_dim=reduced_dim,
            sketch_dim=sketch_dim,
            sketch_seed=sketch_seed,
            **keywords,
        )

    @classmethod
    def head_inputs(cls, settings: Mapping[str, Any], channels: int) -> int:
        """Returns the length of the sketch."""
        return settings.get("sketch_dim", SKETCH_DIM)

    @staticmethod
    def head(top: Tensor, classes: int, feature_scale: float, dropout: float, **own: Any) -> dict[str, Tensor]:
        """Pools the map by the sketch, reduced first if it is wide."""
        reduced = own["reduced_dim"] or (WIDEST if top.shape[-1] > WIDEST else None)
        sketch = CompactBilinearPooling(
            own["sketch_dim"], own["sketch_seed"], dtype="float32", name="compact_bilinear_pooling"
        )
        return vector_head(sketch(_reduced(top, reduced)), classes, feature_scale, dropout)


@keras.saving.register_keras_serializable(package="clan_tf")
class LRBP(BilinearClassifier):
    """Low-rank bilinear pooling: each class has a matrix of low rank, and the products aren't formed.

    `features` holds `normalized`, the map that is projected, and `projected`, the map after `P`, too.

    Args:
        projection_dim: channels of the map after the projection `P`, which all classes share.
        projection_init: what `P` starts as in `clan-tf train`, or after `prepare`: `"pca"`, the principal components
            of the training photos' features, as in the paper, or `"random"`, an orthogonal matrix.
        rank: rank of each class's matrix, an even number.
        sqrt_features: whether the map's signed square root is taken first, as in the paper's public training code.
        arguments: those of `BilinearClassifier`.

    Reference:
        Kong and Fowlkes, Low-rank Bilinear Pooling for Fine-grained Classification, CVPR 2017.
    """

    projection_dim: int
    projection_init: ProjectionInit

    HEAD_KIND = "low_rank"
    HEAD_ARGUMENTS = ("base", "feature_scale", "projection_dim", "sqrt_features")
    HEAD_LAYERS = ("projection",)
    PUBLISHED = "211,200 weights after VGG-16's last map for 200 classes, and 10,000 products of the projected channels"

    def __init__(
        self,
        *arguments: Any,
        projection_dim: int = PROJECTION_DIM,
        projection_init: ProjectionInit = "pca",
        rank: int = RANK,
        sqrt_features: bool = True,
        **keywords: Any,
    ) -> None:
        check_choice("projection_init", projection_init, ProjectionInit)
        keywords.setdefault("feature_scale", 10.0)
        super().__init__(
            *arguments,
            projection_dim=projection_dim,
            projection_init=projection_init,
            rank=rank,
            sqrt_features=sqrt_features,
            **keywords,
        )

    @classmethod
    def head_inputs(cls, settings: Mapping[str, Any], channels: int) -> int:
        """Returns the number of entries of a class's `U`."""
        return settings.get("projection_dim", PROJECTION_DIM) * settings.get("rank", RANK)

    @property
    def needs_photos_to_start(self) -> bool:
        """Whether `P` starts with principal components, and isn't another model's."""
        return self.projection_init == "pca" and not self.is_prepared

    def prepare(self, batches: Iterable[Any]) -> None:
        """Sets `P` to the first principal components of the normalised features at all positions of the photos.

        They are the eigenvectors of the features' mean products, from which the scores are made; no mean is subtracted.
        With as many photos in a batch as a training step has, it takes less memory.
        """
        projection = self.get_layer("projection")
        products = sum(x.T @ x for x in self._vectors(batches))
        if not np.isfinite(products).all():
            raise CheckFailed(
                "The features of the train photos aren't finite, so that LRBP has no principal components to start "
                "with. Use training.precision=float32, other weights of the backbone, or "
                "model.lrbp.projection_init=random."
            )
        # The eigenvectors of the largest eigenvalues; `eigh` lists the smallest first.
        components = np.linalg.eigh(products)[1][:, ::-1][:, : self.projection_dim]
        # The sign of each is arbitrary: here its largest entry is positive.
        components *= np.sign(components[np.abs(components).argmax(axis=0), np.arange(components.shape[1])])
        kernel = np.zeros(projection.kernel.shape, "float32")
        kernel[0, 0, :, : components.shape[1]] = components
        projection.kernel.assign(kernel)

    def _vectors(self, batches: Iterable[Any]) -> Iterator[np.ndarray]:
        """Yields the normalised map's vectors at all positions of each batch: float64 `(positions, channels)`."""
        network = self.with_outputs(["normalized"])
        for photos, _, weights in batches:
            maps = keras.ops.convert_to_numpy(network(photos, training=False)["normalized"]).astype("float64")
            maps = maps[keras.ops.convert_to_numpy(weights) > 0]
            yield maps.reshape(-1, maps.shape[-1])

    @staticmethod
    def head(top: Tensor, classes: int, feature_scale: float, dropout: float, **own: Any) -> dict[str, Tensor]:
        """Normalises and projects the map, and scores it."""
        normalized = PowerNormalization(
            own["sqrt_features"], feature_scale, dtype="float32", name="power_normalization"
        )(top)
        # Projected to fewer channels, the vectors are on average as long as before.
        gain = max(1.0, (top.shape[-1] / own["projection_dim"]) ** 0.5)
        projected = keras.layers.Conv2D(
            own["projection_dim"],
            1,
            use_bias=False,
            kernel_initializer=keras.initializers.Orthogonal(gain),
            data_format="channels_last",
            dtype="float32",
            name="projection",
        )(normalized)
        x = keras.layers.Dropout(dropout, name="dropout_top")(projected) if dropout else projected
        return {
            "normalized": normalized,
            "projected": projected,
            "logits_top": LowRankBilinear(classes, own["rank"], dtype="float32", name="logits_top")(x),
        }
