"""MA-CNN: attention maps of a photo's parts, each with a head, from channels grouped by where they peak."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from clan_tf import limits
from clan_tf.choices import ResizeMode
from clan_tf.errors import CheckFailed, UserError
from clan_tf.layers.excitation import MeanAttention
from clan_tf.layers.part_attention import PartAttention
from clan_tf.layers.relation import Tensor
from clan_tf.models.arguments import (
    as_dict,
    as_list,
    check_arguments,
    check_choice,
    check_whole_numbers,
    takes_numpy_numbers,
)
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.clusters import k_means
from clan_tf.models.heads import branch_head
from clan_tf.models.part_losses import compactness_losses, diversity_losses

GroupInit = Literal["kmeans", "random"]
PARTS = 4
MOST_PHOTOS = 5_000
"""How many photos' peaks are kept, at most, to group the channels."""
_BELONGS = 2.0
"""What a channel's own group starts with before its sigmoid, and the other groups with the negative of it."""


@keras.saving.register_keras_serializable(package="clan_tf")
class MACNN(BranchClassifier):
    """The multi-attention convolutional network, its first stage: it looks at parts, and doesn't cut them out.

    `PartAttention` makes a few attention maps of the last convolution's map, and a feature of each. The branches are
    `part_1` …, a head on each feature, and `joint`, a head on all of them and the pooled map. The prediction is that of
    `joint` alone.

    `clan-tf train` adds the losses `compactness` and `diversity` of the attention maps. In most epochs it trains all
    but the grouping of channels, by the branches; in every `attention_every`-th that alone, by these two. Keras' `fit`
    trains the branches' cross-entropies alone. `features` holds `backbone_top`, `part_maps` `(batch, height, width,
    parts)`, `part_features` `(batch, parts, channels)`, `attention_part_1` …, each map divided by its largest value,
    and the logits.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        base: layer or alias of the map; `None` for the last convolution's.
        parts: how many parts there are, 2 at least.
        normalize_maps: whether what attention maps are made of is normalised; `False` is the published formula.
        group_init: what the grouping starts as in `clan-tf train`, or after `prepare`: `"kmeans"`, clusters of channels
            that peak at the same places in the training photos, as in the paper, or `"random"`.
        compactness_weight: weight of the loss `compactness`.
        diversity_weight: weight of the loss `diversity`.
        attention_every: the last of this many epochs trains the grouping alone, 2 at least.
        attention_rate: what its learning rate is multiplied by.
        dropout: fraction of the heads' inputs that is dropped in training.
        loss_weights: weights of the branches' losses; 1 where none is given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of the backbone: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone, layer or branch, or weights that can't be loaded.
        ValueError: if another argument is invalid.

    Reference:
        Zheng, Fu, Mei and Luo, Learning Multi-Attention Convolutional Neural Network for Fine-Grained Image
        Recognition, ICCV 2017.
    """

    base: str | None
    parts: int
    group_init: GroupInit
    compactness_weight: float
    diversity_weight: float
    attention_rate: float

    HEAD_KIND = "parts"
    HEAD_ARGUMENTS = ("base", "parts", "normalize_maps")
    HEAD_LAYERS = ("part_attention",)
    ATTENTION_LAYERS = HEAD_LAYERS
    STAGES = dict.fromkeys(["joint", *(f"part_{number}" for number in range(1, limits.PHOTO_PARTS + 1))], ("top",))
    PUBLISHED = "525,312 weights in the grouping of each part with VGG-19, 2,101,248 in all four"
    LOSS_FEATURES = ("part_maps",)

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        base: str | None = None,
        parts: int = PARTS,
        normalize_maps: bool = True,
        group_init: GroupInit = "kmeans",
        compactness_weight: float = 1.0,
        diversity_weight: float = 1.0,
        attention_every: int = 4,
        attention_rate: float = 30.0,
        dropout: float = 0.0,
        loss_weights: Mapping[str, float] | None = None,
        class_names: Sequence[str] | None = None,
        resize_size: int | None = None,
        resize_mode: ResizeMode = "stretch",
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_whole_numbers({"parts": parts})
        of_parts = {f"part_{number}": 1 / parts for number in range(1, parts + 1)}
        arguments = {
            "backbone": backbone,
            "classes": classes,
            "image_size": image_size,
            "base": base,
            "parts": parts,
            "normalize_maps": normalize_maps,
            "group_init": group_init,
            "compactness_weight": compactness_weight,
            "diversity_weight": diversity_weight,
            "attention_every": attention_every,
            "attention_rate": attention_rate,
            "dropout": dropout,
            "loss_weights": {**of_parts, **as_dict("loss_weights", loss_weights)},
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
        }
        check_arguments(arguments)
        check_choice("group_init", group_init, GroupInit)

        # Layers
        spec = backbone_spec(backbone)
        tapped = base or spec.last
        backbone_model = build_backbone(backbone, image_size, weights=weights, top=tapped, top_key="model.ma_cnn.base")
        attend = PartAttention(parts, normalize_maps, dtype="float32", name="part_attention")
        names = [f"part_{number}" for number in range(1, parts + 1)]
        show = [MeanAttention(dtype="float32", name=f"attention_{name}") for name in names]
        pool = keras.layers.GlobalAveragePooling2D(data_format="channels_last", dtype="float32", name="pool_top")
        join = keras.layers.Concatenate(dtype="float32", name="joined")
        # The head of all then learns as fast as one on a single feature.
        scale = keras.layers.Rescaling((parts + 1) ** -0.5, dtype="float32", name="scaled")

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        top = backbone_model(preprocess(inputs, spec.preprocessing))["top"]
        if top.shape[1] == 1:
            raise UserError(
                f"data.image_size: {image_size} is too small for MA-CNN on {backbone}, whose map has one position. "
                f"Use {2 * image_size} or more, or a finer map: model.ma_cnn.base."
            )
        maps, pooled = attend(top)
        vectors: dict[str, Tensor] = {name: pooled[:, index] for index, name in enumerate(names)}
        vectors["joint"] = scale(join([*vectors.values(), pool(top)]))
        features = {
            "backbone_top": top,
            "part_maps": maps,
            "part_features": pooled,
            **{
                f"attention_{name}": layer(maps[..., index : index + 1])
                for index, (name, layer) in enumerate(zip(names, show, strict=True))
            },
            **{f"logits_{name}": branch_head(x, classes, name, dropout) for name, x in vectors.items()},
        }
        weights_of_branches = dict.fromkeys(names, 0.0) | {"joint": 1.0}
        super().__init__(inputs, features, tuple(vectors), arguments, weights_of_branches, **kwargs)

        # Config
        self.backbone_model = backbone_model

    @classmethod
    def fewest_weights(cls, settings: Mapping[str, Any]) -> dict[str, int]:
        """Returns the weights that group 128 channels."""
        return {"parts": 2 * 128**2 * settings.get("parts", PARTS)}

    @property
    def own_loss_weights(self) -> dict[str, float]:
        """The losses `compactness` and `diversity`."""
        return {"compactness": self.compactness_weight, "diversity": self.diversity_weight}

    def own_losses(self, outputs: Mapping[str, Tensor], shares: Tensor) -> dict[str, Tensor]:
        """Computes both losses, each photo's on its own."""
        maps = outputs["part_maps"]
        return {"compactness": compactness_losses(maps), "diversity": diversity_losses(maps)}

    @property
    def needs_photos_to_start(self) -> bool:
        """Whether the grouping starts as clusters, and isn't another model's."""
        return self.group_init == "kmeans" and not self.is_prepared

    def prepare(self, batches: Iterable[Any]) -> None:
        """Groups the channels into clusters of those that peak at the same places.

        The clusters are of each channel's peak coordinates in all photos, or, of more than 5,000, in an even choice of
        them. A channel belongs to its cluster's part by 0.88 at first, whatever the photo, and to the others by 0.12.
        """
        network = self.with_outputs(["backbone_top"])
        peaks: list[np.ndarray] = []
        every, seen = 1, 0
        for photos, _, weights in batches:
            maps = np.asarray(keras.ops.cast(network(photos, training=False)["backbone_top"], "float32"))
            if not np.isfinite(maps).all():
                raise CheckFailed(
                    "The features of the train photos aren't finite, so that MA-CNN has no groups to start with. Use "
                    "training.precision=float32, other weights of the backbone, or model.ma_cnn.group_init=random."
                )
            for each in maps[np.asarray(weights) > 0]:
                if seen % every == 0:
                    peaks.append(peak_places(each))
                seen += 1
                if len(peaks) > MOST_PHOTOS:
                    peaks, every = peaks[::2], 2 * every
        if not peaks:
            return
        cluster = k_means(np.concatenate(peaks, axis=1), self.parts).labels_
        layer = self.get_layer("part_attention")
        for number, group in enumerate(layer.outer):
            kernel, _ = group.get_weights()
            group.set_weights([kernel, np.where(cluster == number, _BELONGS, -_BELONGS).astype("float32")])


def peak_places(maps: np.ndarray) -> np.ndarray:
    """Returns where each channel of a map is largest, in sides of the map; the middle for channels of one value.

    Args:
        maps: `(height, width, channels)`.

    Returns:
        Rows and columns, float32 `(channels, 2)`.
    """
    height, width, channels = maps.shape
    flat = maps.reshape(-1, channels)
    peak = flat.argmax(axis=0)
    places = np.stack([(peak // width + 0.5) / height, (peak % width + 0.5) / width], axis=1)
    return np.where((flat.max(axis=0) > flat.min(axis=0))[:, None], places, 0.5).astype("float32")
