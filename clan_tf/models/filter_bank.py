"""DFL-CNN: a bank of filters, some for each class, on a mid-level map."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from clan_tf.choices import Combination, ResizeMode
from clan_tf.errors import CheckFailed
from clan_tf.layers.filter_bank import ClassAverage, FilterAttention
from clan_tf.models.arguments import as_dict, as_list, check_arguments, check_choice, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.clusters import k_means
from clan_tf.models.heads import branch_head

FilterActivation = Literal["bn_relu", "none"]
FilterInit = Literal["kmeans", "random"]
FILTERS = 10
POSITIONS_OF_A_PHOTO = 5
"""From how many positions of a photo, at most, the filters of its class are made."""
POSITIONS_OF_A_FILTER = 40
"""From how many positions of a class's photos for each of its filters, at most, these are made."""


@keras.saving.register_keras_serializable(package="clan_tf")
class DFB(BranchClassifier):
    """DFL-CNN: each class has a few 1x1 filters, and where they respond most in a photo is a second kind of feature.

    Its branches are `global`, a head on the pooled top-level map; `part`, a head on the maxima of all filters over the
    positions of a mid-level map; and `side`, the mean of each class's own maxima, without weights, which ties the
    filters to their classes. In the loss and in the combination `side` counts less. `features` holds the maps that are
    tapped, `filter_maps`, `part_maxima`, the logits, and `attention_part`, where the likely classes' filters respond.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        base: layer or alias of the filters' map; `None` for the backbone's usual mid-level map, or the last one of a
            VGG's fourth block.
        filters_per_class: how many filters each class has.
        filter_activation: what follows the filters: `"bn_relu"`, batch normalisation and a ReLU, or `"none"`, which is
            the paper's formula.
        filter_init: what the filters start as in `clan-tf train`, or after `prepare`: `"kmeans"`, the centres of
            clusters of each class's strongest positions, as in the paper, or `"random"`, all in any direction.
        side_weight: weight of the branch `side` in the loss and in the combination.
        combination: what is averaged: `"probabilities"` or `"logits"` of the branches.
        dropout: fraction of the inputs of the heads of `global` and `part` that is dropped in training.
        loss_weights: weights of the branches' losses; 1, and `side_weight` for `side`, where none is given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of the backbone: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone, layer or branch, or weights that can't be loaded.
        ValueError: if another argument is invalid.

    Reference:
        Wang, Morariu and Davis, Learning a Discriminative Filter Bank within a CNN for Fine-grained Recognition,
        CVPR 2018.
    """

    base: str | None
    filters_per_class: int
    filter_activation: FilterActivation
    filter_init: FilterInit
    side_weight: float

    HEAD_KIND = "filter_bank"
    HEAD_ARGUMENTS = ("base", "filters_per_class", "filter_activation")
    HEAD_LAYERS = ("filter_bank",)
    CLASS_LAYERS = ("filter_bank", "batch_norm_bank")
    STAGES = {"global": ("top",), "part": ("mid_1",), "side": ("mid_1",)}
    PUBLISHED = "2,000 filters for 200 classes, with VGG-16 1,026,000 weights, and 400,200 in the head on them"

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        base: str | None = None,
        filters_per_class: int = FILTERS,
        filter_activation: FilterActivation = "bn_relu",
        filter_init: FilterInit = "kmeans",
        side_weight: float = 0.1,
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
            "base": base,
            "filters_per_class": filters_per_class,
            "filter_activation": filter_activation,
            "filter_init": filter_init,
            "side_weight": side_weight,
            "combination": combination,
            "dropout": dropout,
            "loss_weights": {"side": side_weight, **as_dict("loss_weights", loss_weights)},
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
        }
        check_arguments(arguments)
        check_choice("filter_activation", filter_activation, FilterActivation)
        check_choice("filter_init", filter_init, FilterInit)

        # Layers
        spec = backbone_spec(backbone)
        tapped = base or spec.parts or spec.mid[2][0]
        backbone_model = build_backbone(backbone, image_size, [tapped], weights, mid_key="model.dfb.base")
        channels = backbone_model.output["mid_1"].shape[-1]
        filters = keras.layers.Conv2D(
            classes * filters_per_class,
            1,
            # Filters of norm 1, and shorter ones where nothing normalises their responses.
            kernel_initializer=keras.initializers.VarianceScaling(
                1.0 if filter_activation == "bn_relu" else 1 / channels, "fan_in", "untruncated_normal"
            ),
            data_format="channels_last",
            name="filter_bank",
        )
        pool = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool_global")
        pool_maxima = keras.layers.GlobalMaxPooling2D(data_format="channels_last", dtype="float32", name="pool_part")

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        maps = backbone_model(preprocess(inputs, spec.preprocessing))
        responses = filters(maps["mid_1"])
        if filter_activation == "bn_relu":
            responses = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="batch_norm_bank")(responses)
            responses = keras.layers.ReLU(name="relu_bank")(responses)
        maxima = pool_maxima(responses)
        part = branch_head(maxima, classes, "part", dropout)
        features = {
            **{f"backbone_{name}": tensor for name, tensor in maps.items()},
            "filter_maps": responses,
            "part_maxima": maxima,
            "attention_part": FilterAttention(classes, dtype="float32", name="attention_part")(responses, part),
            "logits_global": branch_head(pool(maps["top"]), classes, "global", dropout),
            "logits_part": part,
            "logits_side": ClassAverage(classes, dtype="float32", name="logits_side")(maxima),
        }
        branches = ("global", "part", "side")
        super().__init__(inputs, features, branches, arguments, {"side": side_weight}, **kwargs)

        # Config
        self.backbone_model = backbone_model

    @classmethod
    def head_inputs(cls, settings: Mapping[str, Any], channels: int) -> int:
        """Returns the number of all filters, which the head of `part` takes, or the channels if those are more."""
        return max(channels, settings.get("classes", 1) * settings.get("filters_per_class", FILTERS))

    @classmethod
    def head_arguments(cls, branch: str) -> tuple[str, ...]:
        """Returns the bank's arguments, but none for `global`, whose features are the backbone's."""
        return () if branch == "global" else cls.HEAD_ARGUMENTS

    @classmethod
    def head_layers(cls, branch: str) -> tuple[str, ...]:
        """Returns the bank, but nothing for `global`."""
        return () if branch == "global" else cls.HEAD_LAYERS

    @property
    def needs_photos_to_start(self) -> bool:
        """Whether the filters start as centres of clusters, and aren't another model's."""
        return self.filter_init == "kmeans" and not self.is_prepared

    def prepare(self, batches: Iterable[Any]) -> None:
        """Sets each class's filters to the centres of clusters of what is at the strongest positions of its photos.

        A position is strong if the length of the map's vector there is the largest among its neighbours; of each photo
        the longest few count, and of each class so many as its filters need. The vectors have norm 1 when they are
        clustered, and so have the centres, or, without `filter_activation`, the mean length's inverse. A class with
        fewer different vectors than filters keeps the random ones for the others.
        """
        layer = self.get_layer("filter_bank")
        kernel, bias = layer.get_weights()
        vectors = self._strongest(batches)
        lengths = [length for own in vectors for length in np.linalg.norm(own, axis=1)]
        norm = 1.0 if self.filter_activation == "bn_relu" or not lengths else 1 / np.mean(lengths)
        for label, own in enumerate(vectors):
            directions = own / np.linalg.norm(own, axis=1, keepdims=True)
            count = min(self.filters_per_class, len(np.unique(directions, axis=0)))
            if count:
                first = label * self.filters_per_class
                kernel[0, 0, :, first : first + count] = norm * centres(directions, count).T
        layer.set_weights([kernel, bias])

    def _strongest(self, batches: Iterable[Any]) -> list[np.ndarray]:
        """Returns the vectors of each class: float32 `(positions, channels)`."""
        network = self.with_outputs(["backbone_mid_1"])
        empty = np.empty((0, network.output["backbone_mid_1"].shape[-1]), "float32")
        vectors = [[empty] for _ in range(self.classes)]
        for photos, labels, weights in batches:
            maps = keras.ops.convert_to_numpy(network(photos, training=False)["backbone_mid_1"]).astype("float32")
            if not np.isfinite(maps).all():
                raise CheckFailed(
                    "The features of the train photos aren't finite, so that DFB has no clusters to start with. Use "
                    "training.precision=float32, other weights of the backbone, or model.dfb.filter_init=random."
                )
            for each, label, weight in zip(maps, np.asarray(labels), np.asarray(weights), strict=True):
                room = POSITIONS_OF_A_FILTER * self.filters_per_class - sum(map(len, vectors[label]))
                if weight > 0 and room > 0:
                    vectors[label].append(strongest_vectors(each, min(room, POSITIONS_OF_A_PHOTO)))
        return [np.concatenate(own) for own in vectors]


def strongest_vectors(values: np.ndarray, most: int) -> np.ndarray:
    """Returns a map's longest vectors, where their norm isn't 0 and no neighbour's is larger.

    Args:
        values: the map `(height, width, channels)`.
        most: how many, at most.

    Returns:
        `(positions, channels)`, the longest first.
    """
    from scipy.ndimage import maximum_filter

    norm = np.linalg.norm(values, axis=-1)
    strong = (norm == maximum_filter(norm, size=3, mode="nearest")) & (norm > 0)
    longest = np.argsort(-norm[strong], kind="stable")[:most]
    return values[strong][longest]


def centres(vectors: np.ndarray, count: int) -> np.ndarray:
    """Returns the centres of clusters of unit vectors, each divided by its norm: `(count, channels)`."""
    means = k_means(vectors, count).cluster_centers_
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
