"""MAMC: several attentions over channels, whose features are ordered by a loss over pairs of photos."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from clan_tf import limits
from clan_tf.choices import ResizeMode
from clan_tf.layers.excitation import MeanAttention, OneSqueezeMultiExcitation
from clan_tf.layers.relation import Tensor
from clan_tf.models.arguments import as_dict, as_list, check_arguments, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.grid import to_grid
from clan_tf.models.heads import branch_head
from clan_tf.models.pair_loss import pair_losses

FEATURE_DIM, GRID = 1024, 7


@keras.saving.register_keras_serializable(package="clan_tf")
class MAMC(BranchClassifier):
    """A backbone with several attentions over the channels of its last map, each with an embedding; one head.

    It has a single branch, `top`, on the sum of the embeddings. `clan-tf train` adds the loss `pairs` of `pair_losses`,
    times `pair_loss_weight`; Keras' `fit` trains the cross-entropy alone. `features` holds `backbone_top`, the
    `embeddings` `(batch, attentions, feature_dim)`, `attention_1` …, where each attention's map is strong, and
    `logits_top`.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        attentions: how many attentions there are.
        feature_dim: length of each attention's embedding.
        reduction: how many times fewer numbers than channels an attention's gate has inside.
        embedding_grid: side of the grid to which each attention's map is averaged, if it is finer, before the dense
            layer of its embedding, which has a weight for each of its numbers.
        pair_loss_weight: weight of the loss over pairs.
        normalize_features: whether the loss over pairs divides the embeddings by their norms.
        dropout: fraction of the head's inputs that is dropped in training.
        loss_weights: weight of the branch's loss; 1 if not given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of the backbone: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone or branch, or weights that can't be loaded.
        ValueError: if another argument is invalid.

    Reference:
        Sun, Yuan, Zhou and Ding, Multi-Attention Multi-Class Constraint for Fine-grained Image Recognition, ECCV 2018.
    """

    attentions: int
    feature_dim: int
    pair_loss_weight: float
    normalize_features: bool

    HEAD_KIND = "attentions"
    HEAD_ARGUMENTS = ("attentions", "feature_dim", "reduction", "embedding_grid")
    HEAD_LAYERS = ("excitation", *(f"embedding_{number}" for number in range(1, limits.ATTENTIONS + 1)))
    PUBLISHED = "526,464 weights in the gate of each attention with ResNet-50"
    LOSS_FEATURES = ("embeddings",)
    LOSSES_OVER_PHOTOS = ("pairs",)

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        attentions: int = 2,
        feature_dim: int = FEATURE_DIM,
        reduction: int = 16,
        embedding_grid: int = GRID,
        pair_loss_weight: float = 0.5,
        normalize_features: bool = True,
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
            "attentions": attentions,
            "feature_dim": feature_dim,
            "reduction": reduction,
            "embedding_grid": embedding_grid,
            "pair_loss_weight": pair_loss_weight,
            "normalize_features": normalize_features,
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
        excitation = OneSqueezeMultiExcitation(attentions, reduction, name="excitation")
        names = [str(number) for number in range(1, attentions + 1)]
        embed = [keras.layers.Dense(feature_dim, dtype="float32", name=f"embedding_{name}") for name in names]
        show = [MeanAttention(dtype="float32", name=f"attention_{name}") for name in names]
        join = keras.layers.Add if attentions > 1 else keras.layers.Identity
        stack = keras.layers.Concatenate(axis=1, dtype="float32", name="stacked")

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        top = backbone_model(preprocess(inputs, spec.preprocessing))["top"]
        maps = excitation(top)
        flatten = keras.layers.Flatten(data_format="channels_last", name="flatten")
        embeddings = [layer(flatten(to_grid(each, embedding_grid))) for layer, each in zip(embed, maps, strict=True)]
        joined = join(dtype="float32", name="sum")(embeddings if attentions > 1 else embeddings[0])
        features = {
            "backbone_top": top,
            "embeddings": stack([keras.ops.expand_dims(each, 1) for each in embeddings]),
            **{f"attention_{name}": layer(each) for name, layer, each in zip(names, show, maps, strict=True)},
            "logits_top": branch_head(joined, classes, "top", dropout),
        }
        super().__init__(inputs, features, ("top",), arguments, **kwargs)

        # Config
        self.backbone_model = backbone_model

    @classmethod
    def head_inputs(cls, settings: Mapping[str, Any], channels: int) -> int:
        """Returns the length of an embedding."""
        return settings.get("feature_dim", FEATURE_DIM)

    @classmethod
    def fewest_weights(cls, settings: Mapping[str, Any]) -> dict[str, int]:
        """Returns the weights of the embeddings of a last map with 128 channels and a 32nd of the photo's side."""
        grid = min(settings.get("embedding_grid", GRID), max(1, settings.get("image_size", 448) // 32))
        numbers = settings.get("attentions", 2) * settings.get("feature_dim", FEATURE_DIM)
        return {"embedding_grid": 128 * grid**2 * numbers}

    @property
    def own_loss_weights(self) -> dict[str, float]:
        """The loss over pairs, unless its weight is 0."""
        return {"pairs": self.pair_loss_weight} if self.pair_loss_weight else {}

    def own_losses(self, outputs: Mapping[str, Tensor], shares: Tensor) -> dict[str, Tensor]:
        """Computes the loss over all pairs of these photos."""
        labels = keras.ops.argmax(shares, axis=-1)
        return {"pairs": pair_losses(outputs["embeddings"], labels, self.normalize_features)}
