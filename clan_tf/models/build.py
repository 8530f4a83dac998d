"""Building the model of an experiment."""

from collections.abc import Sequence
from typing import Any

from clan_tf.config import Experiment, ModelConfig
from clan_tf.config.methods import OWN_KEYS
from clan_tf.config.section import Section
from clan_tf.models.bilinear import BCNN, CBP, LRBP
from clan_tf.models.clan import CLAN
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.dbt import DBT
from clan_tf.models.filter_bank import DFB
from clan_tf.models.ma_cnn import MACNN
from clan_tf.models.mamc import MAMC
from clan_tf.models.plain import Plain
from clan_tf.models.ra_cnn import RACNN
from clan_tf.models.tasn import TASN
from clan_tf.taxonomy import Taxonomy

MODELS: dict[str, type[BranchClassifier]] = {
    "clan": CLAN,
    "plain": Plain,
    "bcnn": BCNN,
    "cbp": CBP,
    "lrbp": LRBP,
    "dfb": DFB,
    "mamc": MAMC,
    "dbt": DBT,
    "tasn": TASN,
    "ra_cnn": RACNN,
    "ma_cnn": MACNN,
}
"""The classes by `model.architecture`."""


def build_model(
    experiment: Experiment,
    classes: int,
    class_names: Sequence[str] | None = None,
    load_weights: bool = True,
    taxonomy: Taxonomy | None = None,
) -> BranchClassifier:
    """Builds the model of an experiment.

    Args:
        experiment: the experiment, whose `model` section and photo sizes are used.
        classes: number of classes.
        class_names: names of the classes.
        load_weights: whether the backbone's weights are loaded; if not, no files are needed. They never are with
            `model.init`, whose weights `clan_tf.models.transfer` copies.
        taxonomy: groups of the classes, from `data.taxonomy`.

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
        "dropout": config.dropout,
        "loss_weights": config.loss_weights,
        "class_names": class_names,
        "weights": config.weights if load_weights and config.init is None else None,
    }
    shared |= {"taxonomy": taxonomy} if taxonomy else {}
    return MODELS[config.architecture](**shared, **own_arguments(config), name=config.architecture)


def own_arguments(config: ModelConfig) -> dict[str, Any]:
    """Returns the arguments that the architecture's model takes beside those that all take, by its own keys."""
    own: dict[str, Any] = {}
    for key, value in config.model_dump(include=set(OWN_KEYS[config.architecture])).items():
        own |= value if isinstance(getattr(config, key), Section) else {key: value}
    resolved = {"head_batch_norm": config.heads_are_normalised, "scales": config.scales or 2}
    return own | {key: value for key, value in resolved.items() if key in own}
