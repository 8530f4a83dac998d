"""Building the model of an experiment."""

from collections.abc import Sequence
from typing import Any

from clan_tf.config import Experiment
from clan_tf.models.clan import CLAN
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.plain import Plain


def build_model(
    experiment: Experiment, classes: int, class_names: Sequence[str] | None = None, load_weights: bool = True
) -> BranchClassifier:
    """Builds the model of an experiment.

    Args:
        experiment: the experiment, whose `model` section and photo sizes are used.
        classes: number of classes.
        class_names: names of the classes.
        load_weights: whether the backbone's weights are loaded; if not, no files are needed. They never are with
            `model.init`, whose weights `clan_tf.models.transfer` copies.

    Raises:
        UserError: for an unknown backbone, layer or branch, or weights that can't be loaded.
    """
    config = experiment.model
    shared: dict[str, Any] = {
        "backbone": config.backbone,
        "classes": classes,
        "image_size": experiment.data.image_size,
        "resize_size": experiment.data.full_size,
        "resize_mode": experiment.data.resize_mode,
        "combination": config.combination,
        "dropout": config.dropout,
        "head_batch_norm": config.heads_are_normalised,
        "loss_weights": config.loss_weights,
        "class_names": class_names,
        "weights": config.weights if load_weights and config.init is None else None,
    }
    if config.architecture == "plain":
        return Plain(**shared, name="plain")
    own = config.model_dump(include=CLAN_ONLY)
    return CLAN(**shared, **own, scales=config.scales or 2, name="clan")


CLAN_ONLY = {
    "mid",
    "mid_refinement",
    "relation",
    "embed_dim",
    "spatial_attention",
    "spatial_pooling",
    "spatial_activation",
    "spatial_kernel_size",
    "spatial_batch_norm",
    "mid_pooling",
}
